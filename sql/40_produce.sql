-- Producing: enqueue and its forms.

CREATE FUNCTION job_queue.enqueue(
	queue			text,
	payload			jsonb DEFAULT '{}',
	job_type		text DEFAULT NULL,
	priority		int DEFAULT 0,
	delay			interval DEFAULT NULL,
	run_at			timestamptz DEFAULT NULL,
	max_attempts	int DEFAULT NULL,
	unique_key		text DEFAULT NULL,
	on_duplicate	text DEFAULT 'return',
	session_id		bigint DEFAULT NULL,
	pipeline		text DEFAULT NULL,
	job_timeout		interval DEFAULT NULL,
	user_id			text DEFAULT NULL,
	metadata		jsonb DEFAULT NULL)
RETURNS bigint
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'job_queue_enqueue';
COMMENT ON FUNCTION job_queue.enqueue(text, jsonb, text, int, interval, timestamptz, int, text, text, bigint,
	text, interval, text, jsonb) IS
	'Enqueues a job, claimable once the transaction commits; returns its id.  payload ({}): any JSON, up to '
	'job_queue.max_payload_bytes; job_type (none): for the worker; priority (0): lower first, -32768 to 32767; '
	'delay or run_at (at once): not before; max_attempts (the queue''s); unique_key (none): unique among the '
	'queue''s unfinished jobs; on_duplicate (return): return the existing job''s id, replace payload, priority '
	'and run time of a waiting one, or error (JQ004); session_id, pipeline (none); job_timeout (the queue''s): '
	'longest run of one attempt; user_id (setting job_queue.user_id); metadata (none): any JSON.';

CREATE FUNCTION job_queue.enqueue_many(
	queue			text,
	payloads		jsonb[],
	job_type		text DEFAULT NULL,
	priority		int DEFAULT 0,
	delay			interval DEFAULT NULL,
	run_at			timestamptz DEFAULT NULL,
	max_attempts	int DEFAULT NULL,
	session_id		bigint DEFAULT NULL,
	pipeline		text DEFAULT NULL,
	job_timeout		interval DEFAULT NULL,
	user_id			text DEFAULT NULL,
	metadata		jsonb DEFAULT NULL)
RETURNS SETOF bigint
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'job_queue_enqueue_many';
COMMENT ON FUNCTION job_queue.enqueue_many(text, jsonb[], text, int, interval, timestamptz, int, bigint, text,
	interval, text, jsonb) IS
	'Enqueues one job per payload, alike but for it; returns their ids in order.  The fast path.  '
	'Options as in enqueue().';

CREATE FUNCTION job_queue._enqueue(
	queue			text,
	payload			jsonb,
	job_type		text,
	priority		int,
	delay			interval,
	run_at			timestamptz,
	max_attempts	int,
	unique_key		text,
	on_duplicate	text,
	session_id		bigint,
	pipeline		text,
	job_timeout		interval,
	user_id			text,
	metadata		jsonb,
	OUT job_id		bigint,
	OUT created		boolean)
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'job_queue_enqueue_row';
COMMENT ON FUNCTION job_queue._enqueue(text, jsonb, text, int, interval, timestamptz, int, text, text, bigint,
	text, interval, text, jsonb) IS
	'Internal: enqueue(), which also tells whether the job is new.';

CREATE FUNCTION job_queue._enqueue_unique(
	queue_id		int,
	payload			jsonb,
	job_type		text,
	priority		int,
	run_at			timestamptz,
	max_attempts	int,
	unique_key		text,
	on_duplicate	text,
	session_id		bigint,
	pipeline		text,
	job_timeout		interval,
	user_id			text,
	metadata		jsonb,
	enqueued_by		regrole,
	OUT job_id		bigint,
	OUT created		boolean)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
	new_payload ALIAS FOR payload;
	new_priority ALIAS FOR priority;
	new_run_at ALIAS FOR run_at;
	my_queue ALIAS FOR queue_id;
	my_key ALIAS FOR unique_key;
BEGIN
	created := false;

	-- Once more whenever the job in the way has finished since it was in the way.
	LOOP
		INSERT INTO job_queue.job (enqueued_at, queue_id, enqueued_by, max_attempts, priority, run_at,
				job_timeout, session_id, job_type, unique_key, user_id, pipeline, metadata, payload)
		VALUES (job_queue.clock(), my_queue, _enqueue_unique.enqueued_by, _enqueue_unique.max_attempts,
				new_priority, new_run_at, _enqueue_unique.job_timeout, _enqueue_unique.session_id,
				_enqueue_unique.job_type, my_key, _enqueue_unique.user_id, _enqueue_unique.pipeline,
				_enqueue_unique.metadata, new_payload)
		ON CONFLICT (queue_id, unique_key) WHERE unique_key IS NOT NULL DO NOTHING
		RETURNING id INTO job_id;
		IF FOUND THEN
			created := true;
			RETURN;
		END IF;

		IF on_duplicate = 'replace' THEN
			UPDATE job_queue.job j
			   SET payload = new_payload, priority = new_priority, run_at = new_run_at
			 WHERE j.queue_id = my_queue AND j.unique_key = my_key AND j.state = 'w'
			RETURNING j.id INTO job_id;
			EXIT WHEN FOUND;
		END IF;

		SELECT j.id INTO job_id FROM job_queue.job j WHERE j.queue_id = my_queue AND j.unique_key = my_key;
		EXIT WHEN FOUND;
	END LOOP;

	IF on_duplicate = 'error' THEN
		RAISE EXCEPTION 'unique key "%" is taken by the unfinished job %', my_key, job_id
			USING ERRCODE = 'JQ004', HINT = 'Wait until it has finished, or pass on_duplicate => ''return''.';
	END IF;
END
$$;
COMMENT ON FUNCTION job_queue._enqueue_unique(int, jsonb, text, int, timestamptz, int, text, text, bigint, text,
	interval, text, jsonb, regrole) IS
	'Internal: enqueues a job with a unique key; all arguments are valid already.';

/*
 * enqueue_jobs: the arguments of enqueue() as JSON.
 */

CREATE FUNCTION job_queue._check_job(job jsonb)
RETURNS void
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	-- Empty: any JSON; JSON null stands for the SQL null.
	types CONSTANT jsonb := jsonb '{"queue": "string", "payload": "", "job_type": "string", "priority": "number",
		"delay": "string", "run_at": "string", "max_attempts": "number", "unique_key": "string",
		"on_duplicate": "string", "session_id": "number", "pipeline": "string", "job_timeout": "string",
		"user_id": "string", "metadata": ""}';
	argument record;
BEGIN
	IF jsonb_typeof(job) <> 'object' THEN
		RAISE EXCEPTION 'a job must be an object, not %', jsonb_typeof(job)
			USING ERRCODE = '22023', HINT = 'Its keys are the argument names of job_queue.enqueue().';
	END IF;

	FOR argument IN SELECT a.key, jsonb_typeof(a.value) AS type, a.value FROM jsonb_each(job) a LOOP
		IF NOT types ? argument.key THEN
			RAISE EXCEPTION 'unknown key "%"', argument.key
				USING ERRCODE = '22023', HINT = 'Keys are the argument names of job_queue.enqueue().';
		END IF;
		IF argument.type NOT IN (types ->> argument.key, 'null') AND types ->> argument.key <> '' THEN
			RAISE EXCEPTION 'key "%" must be a %, not %', argument.key, types ->> argument.key, argument.type
				USING ERRCODE = '22023';
		END IF;
		IF argument.type = 'number' AND types ->> argument.key = 'number'
			AND argument.value::numeric % 1 <> 0
		THEN
			RAISE EXCEPTION 'key "%" must be an integer, not %', argument.key, argument.value
				USING ERRCODE = '22023';
		END IF;
	END LOOP;
END
$$;
COMMENT ON FUNCTION job_queue._check_job(jsonb) IS
	'Internal: raises 22023 unless the JSON is an object of arguments of enqueue(), each of its type.';

CREATE FUNCTION job_queue._enqueue_json(job jsonb, OUT job_id bigint, OUT created boolean)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	SELECT e.job_id, e.created
	  INTO _enqueue_json.job_id, _enqueue_json.created
	  FROM job_queue._enqueue(
			job ->> 'queue',
			coalesce(job -> 'payload', '{}'),
			job ->> 'job_type',
			CASE WHEN job ? 'priority' THEN (job ->> 'priority')::numeric::int ELSE 0 END,
			(job ->> 'delay')::interval,
			(job ->> 'run_at')::timestamptz,
			(job ->> 'max_attempts')::numeric::int,
			job ->> 'unique_key',
			CASE WHEN job ? 'on_duplicate' THEN job ->> 'on_duplicate' ELSE 'return' END,
			(job ->> 'session_id')::numeric::bigint,
			job ->> 'pipeline',
			(job ->> 'job_timeout')::interval,
			job ->> 'user_id',
			nullif(job -> 'metadata', 'null')) e;
END
$$;
COMMENT ON FUNCTION job_queue._enqueue_json(jsonb) IS
	'Internal: enqueues one job of enqueue_jobs(), checked already.';

CREATE FUNCTION job_queue.enqueue_jobs(jobs jsonb)
RETURNS TABLE (ordinal int, job_id bigint, created boolean)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	job jsonb;
	detail text;
	hint text;
BEGIN
	PERFORM job_queue._check_not_null('jobs', jobs);
	IF jsonb_typeof(jobs) <> 'array' THEN
		RAISE EXCEPTION 'argument "jobs" must be an array of objects, not %', jsonb_typeof(jobs)
			USING ERRCODE = '22023';
	END IF;

	-- One block around the loop, not in it: one subtransaction, however many jobs.
	BEGIN
		ordinal := 0;
		FOR job IN SELECT e.value FROM jsonb_array_elements(jobs) WITH ORDINALITY e ORDER BY e.ordinality LOOP
			ordinal := ordinal + 1;
			PERFORM job_queue._check_job(job);
			SELECT e.job_id, e.created INTO job_id, created FROM job_queue._enqueue_json(job) e;
			RETURN NEXT;
		END LOOP;
	EXCEPTION WHEN OTHERS THEN
		GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
		RAISE EXCEPTION 'job % of the array: %', ordinal, SQLERRM
			USING ERRCODE = SQLSTATE,
				DETAIL = concat_ws(' ', nullif(detail, ''), 'No job of the array was enqueued.'),
				HINT = coalesce(nullif(hint, ''), 'Correct this job and pass the whole array again.');
	END;
END
$$;
COMMENT ON FUNCTION job_queue.enqueue_jobs(jsonb) IS
	'Enqueues an array of jobs, objects whose keys are the argument names of enqueue(): all of them or, if one '
	'is wrong, none.  Returns each one''s place in the array from 1, its id, and whether it is new.';
