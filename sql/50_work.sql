-- Working: what a worker calls.  The hot verbs are C and only declared here.

CREATE FUNCTION job_queue.claim(
	queue		text,
	max_jobs	int DEFAULT 1,
	worker		text DEFAULT NULL,
	lease		interval DEFAULT NULL)
RETURNS SETOF job_queue.claimed_job
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'job_queue_claim';
COMMENT ON FUNCTION job_queue.claim(text, int, text, interval) IS
	'Takes up to max_jobs (1; at most 10000) ready jobs, by priority, then age; nobody else can claim them '
	'until the lease ends.  worker (application_name): who; lease (the queue''s): how long without a heartbeat.';

CREATE PROCEDURE job_queue.wait_for_jobs(
	queue			text,
	timeout			interval DEFAULT '30 s',
	INOUT available	boolean DEFAULT NULL)
LANGUAGE c
AS 'MODULE_PATHNAME', 'job_queue_wait_for_jobs';
COMMENT ON PROCEDURE job_queue.wait_for_jobs(text, interval, boolean) IS
	'Waits until a job of the queue can be claimed (available is true) or timeout (30 s) has passed (false).  '
	'Outside a transaction block it holds no snapshot.';

CREATE FUNCTION job_queue.heartbeat(job_id bigint, lease_token bigint, lease interval DEFAULT NULL)
RETURNS job_queue.lease_status
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'job_queue_heartbeat';
COMMENT ON FUNCTION job_queue.heartbeat(bigint, bigint, interval) IS
	'Prolongs a lease: it ends lease (the length it was claimed for) from now.  Returns held or cancel_requested.';

CREATE FUNCTION job_queue.heartbeat_many(
	job_ids			bigint[],
	lease_tokens	bigint[],
	lease			interval DEFAULT NULL)
RETURNS TABLE (job_id bigint, status job_queue.lease_status)
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'job_queue_heartbeat_many';
COMMENT ON FUNCTION job_queue.heartbeat_many(bigint[], bigint[], interval) IS
	'heartbeat() for many jobs: a row for each, in order; status lost where heartbeat() would raise JQ001.';

CREATE FUNCTION job_queue.report_progress(
	job_id		bigint,
	lease_token	bigint,
	progress	double precision,
	message		text DEFAULT NULL,
	bytes_done	bigint DEFAULT NULL,
	bytes_total	bigint DEFAULT NULL)
RETURNS job_queue.lease_status
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'job_queue_report_progress';
COMMENT ON FUNCTION job_queue.report_progress(bigint, bigint, double precision, text, bigint, bigint) IS
	'Shows how far a job is: progress in percent (0 to 100); message, bytes_done, bytes_total (unchanged).  '
	'Seen by others at once, without a write to the disk; counts as a heartbeat.';

CREATE FUNCTION job_queue.complete(job_id bigint, lease_token bigint, result jsonb DEFAULT NULL)
RETURNS boolean
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'job_queue_complete';
COMMENT ON FUNCTION job_queue.complete(bigint, bigint, jsonb) IS
	'Completes a job with a result (none).  Returns true; false if this very lease had completed it already.';

CREATE FUNCTION job_queue.complete_many(
	job_ids			bigint[],
	lease_tokens	bigint[],
	results			jsonb[] DEFAULT NULL)
RETURNS TABLE (job_id bigint, completed boolean)
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'job_queue_complete_many';
COMMENT ON FUNCTION job_queue.complete_many(bigint[], bigint[], jsonb[]) IS
	'complete() for many jobs: a row for each, in order; completed is false where the lease was lost, '
	'the others take effect.';

CREATE FUNCTION job_queue.complete_and_claim(
	queue			text,
	job_ids			bigint[],
	lease_tokens	bigint[],
	results			jsonb[] DEFAULT NULL,
	max_jobs		int DEFAULT 1,
	worker			text DEFAULT NULL,
	lease			interval DEFAULT NULL)
RETURNS SETOF job_queue.claimed_job
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'job_queue_complete_and_claim';
COMMENT ON FUNCTION job_queue.complete_and_claim(text, bigint[], bigint[], jsonb[], int, text, interval) IS
	'Completes jobs and claims new ones in one transaction: all or nothing (JQ001 if one lease is lost).  '
	'Empty arrays: claims only.  The rest as in complete_many() and claim().';

CREATE FUNCTION job_queue.assert_lease(job_id bigint, lease_token bigint)
RETURNS void
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'job_queue_assert_lease';
COMMENT ON FUNCTION job_queue.assert_lease(bigint, bigint) IS
	'Raises JQ001 if the lease is lost; else nobody can take the job before this transaction ends.';

/*
 * The other verbs are plain SQL on the tables; the trigger on job tells shared
 * memory at commit.
 */

CREATE FUNCTION job_queue._lease_lost(job_id bigint)
RETURNS void
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	RAISE EXCEPTION 'the lease of job % is lost', job_id
		USING ERRCODE = 'JQ001',
			DETAIL = 'The job was given to another worker, or is finished.',
			HINT = 'Stop working on it; nothing was changed.';
END
$$;
COMMENT ON FUNCTION job_queue._lease_lost(bigint) IS 'Internal: raises JQ001.';

CREATE FUNCTION job_queue._lock_lease(job_id bigint, lease_token bigint)
RETURNS job_queue.job
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	j job_queue.job;
BEGIN
	PERFORM job_queue._check_not_null('job_id', job_id);
	PERFORM job_queue._check_not_null('lease_token', lease_token);

	-- The token is in the condition, so that a waiting job is never locked.
	SELECT held.* INTO j
	  FROM job_queue.job held
	 WHERE held.id = _lock_lease.job_id
	   AND held.lease_token = _lock_lease.lease_token
	   AND held.state = 'r'
	   FOR UPDATE;
	IF NOT FOUND THEN
		PERFORM job_queue._lease_lost(job_id);
	END IF;
	RETURN j;
END
$$;
COMMENT ON FUNCTION job_queue._lock_lease(bigint, bigint) IS
	'Internal: the row of a running job, locked; raises JQ001 unless the lease is held.';

-- What shared memory shows of a running job goes with it into history.
CREATE FUNCTION job_queue._finish(
	job_ids			bigint[],
	lease_token		bigint,
	status			"char",
	error_code		text DEFAULT NULL,
	error_message	text DEFAULT NULL,
	error_retryable	boolean DEFAULT NULL,
	error_details	jsonb DEFAULT NULL,
	result			jsonb DEFAULT NULL,
	reason			text DEFAULT NULL)
RETURNS bigint
LANGUAGE sql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
	WITH gone AS (
		DELETE FROM job_queue.job j
		 WHERE j.id = ANY (_finish.job_ids)
		   AND j.lease_token IS NOT DISTINCT FROM _finish.lease_token
		RETURNING j.*
	), finished AS (
		INSERT INTO job_queue.job_history (id, enqueued_at, finished_at, queue_id, enqueued_by, max_attempts,
			attempt, priority, status, cancel_requested, lease_token, started_at, worker, progress,
			bytes_done, bytes_total, stage, message, run_at, job_timeout, session_id, job_type,
			unique_key, user_id, pipeline, cancel_reason, error_code, error_message, error_retryable,
			error_details, result, metadata, payload)
		SELECT g.id, g.enqueued_at, job_queue.clock(), g.queue_id, g.enqueued_by, g.max_attempts,
			g.attempt, g.priority, _finish.status, g.cancel_requested, g.lease_token, g.started_at, g.worker,
			coalesce(live.progress, g.progress), coalesce(live.bytes_done, g.bytes_done),
			coalesce(live.bytes_total, g.bytes_total), coalesce(live.stage, g.stage),
			coalesce(live.message, g.message), g.run_at, g.job_timeout, g.session_id, g.job_type,
			g.unique_key, g.user_id, g.pipeline, coalesce(g.cancel_reason, _finish.reason),
			_finish.error_code, _finish.error_message, _finish.error_retryable, _finish.error_details,
			_finish.result, g.metadata, g.payload
		  FROM gone g
		  LEFT JOIN LATERAL job_queue._live(g.id, g.lease_token) live ON true
		RETURNING 1
	)
	SELECT count(*) FROM finished
$$;
COMMENT ON FUNCTION job_queue._finish(bigint[], bigint, "char", text, text, boolean, jsonb, jsonb, text) IS
	'Internal: moves jobs to history: the running one with this lease, or the waiting ones if lease_token is '
	'null; returns how many.';

CREATE FUNCTION job_queue._pipeline_progress(job_id bigint, pipeline text)
RETURNS double precision
LANGUAGE sql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT 100 * coalesce(sum(s.weight) FILTER (WHERE c.job_id IS NOT NULL), 0) / sum(s.weight)
	  FROM job_queue.pipeline p
	 CROSS JOIN LATERAL unnest(p.stages, p.weights) s (stage, weight)
	  LEFT JOIN job_queue.checkpoint c ON c.job_id = _pipeline_progress.job_id AND c.stage = s.stage
	 WHERE p.name = _pipeline_progress.pipeline
$$;
COMMENT ON FUNCTION job_queue._pipeline_progress(bigint, text) IS
	'Internal: share of the completed stages in percent; null without a pipeline.';

CREATE FUNCTION job_queue._make_waiting(j job_queue.job, attempt int, run_at timestamptz, message text)
RETURNS void
LANGUAGE sql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
	-- Of the progress only completed stages remain; a job without a stage has none.
	WITH last AS (
		SELECT c.stage, coalesce(job_queue._pipeline_progress(j.id, j.pipeline), j.progress) AS progress
		  FROM job_queue.checkpoint c
		 WHERE c.job_id = j.id AND j.stage IS NOT NULL
		 ORDER BY c.position DESC
		 LIMIT 1
	)
	UPDATE job_queue.job
	   SET state = 'w', lease_token = NULL, started_at = NULL, lease_expires_at = NULL, lease = NULL, worker = NULL,
		   attempt = _make_waiting.attempt, run_at = _make_waiting.run_at, message = _make_waiting.message,
		   bytes_done = NULL, bytes_total = NULL,
		   stage = (SELECT last.stage FROM last), progress = (SELECT last.progress FROM last)
	 WHERE id = j.id
$$;
COMMENT ON FUNCTION job_queue._make_waiting(job_queue.job, int, timestamptz, text) IS
	'Internal: a running job, locked by the caller, waits again.';

CREATE FUNCTION job_queue._record_attempt(
	j				job_queue.job,
	error_code		text,
	error_message	text,
	retryable		boolean,
	details			jsonb)
RETURNS void
LANGUAGE sql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
	INSERT INTO job_queue.attempt (job_id, attempt, worker, started_at, ended_at, error_code, error_message,
			retryable, details)
	VALUES (j.id, j.attempt, j.worker, j.started_at, job_queue.clock(), _record_attempt.error_code,
			_record_attempt.error_message, _record_attempt.retryable, _record_attempt.details)
$$;
COMMENT ON FUNCTION job_queue._record_attempt(job_queue.job, text, text, boolean, jsonb) IS
	'Internal: records a failed attempt of a running job.';

CREATE FUNCTION job_queue._forgive_attempts(job_id bigint)
RETURNS void
LANGUAGE sql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
	UPDATE job_queue.attempt a SET counted = false
	 WHERE a.job_id = _forgive_attempts.job_id AND a.counted
$$;
COMMENT ON FUNCTION job_queue._forgive_attempts(bigint) IS
	'Internal: the attempts recorded so far count no longer.';

CREATE FUNCTION job_queue.fail(
	job_id			bigint,
	lease_token		bigint,
	error_message	text,
	error_code		text DEFAULT NULL,
	retryable		boolean DEFAULT true,
	retry_in		interval DEFAULT NULL,
	details			jsonb DEFAULT NULL)
RETURNS text
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	short_message text := left(error_message, 10000);
	j job_queue.job;
	q job_queue.queue;
	delay interval;
BEGIN
	PERFORM job_queue._check_not_null('error_message', error_message);
	PERFORM job_queue._check_not_null('retryable', retryable);
	PERFORM job_queue._check_text('error_message', short_message, 40000);
	PERFORM job_queue._check_text('error_code', error_code, 255);
	PERFORM job_queue._check_interval('retry_in', retry_in, true);
	PERFORM job_queue._check_size('details', details, 1);
	j := job_queue._lock_lease(job_id, lease_token);

	PERFORM job_queue._record_attempt(j, error_code, short_message, retryable, details);
	IF retryable AND j.attempt < j.max_attempts AND NOT j.cancel_requested THEN
		SELECT mine.* INTO STRICT q FROM job_queue.queue mine WHERE mine.id = j.queue_id;
		delay := coalesce(retry_in, job_queue._backoff(j.attempt, q.backoff_base, q.backoff_factor,
			q.backoff_max, q.backoff_jitter));
		PERFORM job_queue._make_waiting(j, j.attempt, job_queue.clock() + delay, NULL);
		RETURN 'scheduled';
	END IF;

	PERFORM job_queue._finish(ARRAY[j.id], j.lease_token,
		CASE WHEN j.cancel_requested THEN 'x'::"char" ELSE 'f'::"char" END,
		error_code, short_message, retryable, details);
	RETURN CASE WHEN j.cancel_requested THEN 'cancelled' ELSE 'failed' END;
END
$$;
COMMENT ON FUNCTION job_queue.fail(bigint, bigint, text, text, boolean, interval, jsonb) IS
	'Ends an attempt that went wrong.  Returns scheduled if the job waits for its next attempt, failed if it has '
	'none left or retryable (true) is false, cancelled if its cancellation was requested.  error_message is cut '
	'after 10000 characters; error_code (none); retry_in (the queue''s backoff): delay before the next attempt; '
	'details (none): any JSON, up to job_queue.max_payload_bytes.';

CREATE FUNCTION job_queue.snooze(
	job_id			bigint,
	lease_token		bigint,
	delay			interval,
	reason			text DEFAULT NULL,
	reset_attempts	boolean DEFAULT false)
RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	j job_queue.job;
BEGIN
	PERFORM job_queue._check_not_null('delay', delay);
	PERFORM job_queue._check_not_null('reset_attempts', reset_attempts);
	PERFORM job_queue._check_interval('delay', delay, true);
	PERFORM job_queue._check_text('reason', reason, 40000);
	j := job_queue._lock_lease(job_id, lease_token);

	IF j.cancel_requested THEN
		PERFORM job_queue._finish(ARRAY[j.id], j.lease_token, 'x');
		RETURN;
	END IF;
	IF reset_attempts THEN
		PERFORM job_queue._forgive_attempts(j.id);
	END IF;
	PERFORM job_queue._make_waiting(j, CASE WHEN reset_attempts THEN 0 ELSE j.attempt - 1 END,
		job_queue.clock() + delay, reason);
END
$$;
COMMENT ON FUNCTION job_queue.snooze(bigint, bigint, interval, text, boolean) IS
	'Ends an attempt for now: the job waits for delay, and the attempt is not counted; for jobs that look again '
	'later.  reason (none): shown as the job''s message; reset_attempts (false): forget the failed attempts '
	'before it too.  A job whose cancellation was requested ends as cancelled.';

CREATE FUNCTION job_queue.release(job_id bigint, lease_token bigint)
RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	j job_queue.job := job_queue._lock_lease(job_id, lease_token);
BEGIN
	IF j.cancel_requested THEN
		PERFORM job_queue._finish(ARRAY[j.id], j.lease_token, 'x');
	ELSE
		PERFORM job_queue._make_waiting(j, j.attempt - 1, j.run_at, NULL);
	END IF;
END
$$;
COMMENT ON FUNCTION job_queue.release(bigint, bigint) IS
	'Gives a job back: others can claim it at once, and the attempt is not counted.  A job whose cancellation '
	'was requested ends as cancelled.';

CREATE FUNCTION job_queue.attach_resource(
	job_id		bigint,
	lease_token	bigint,
	uri			text,
	kind		text DEFAULT NULL)
RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	PERFORM job_queue._check_not_null('uri', uri);
	PERFORM job_queue._check_text('uri', uri, 4096);
	PERFORM job_queue._check_text('kind', kind, 255);
	PERFORM job_queue._lock_lease(job_id, lease_token);
	INSERT INTO job_queue.resource (job_id, uri, kind, attached_at)
	VALUES (attach_resource.job_id, attach_resource.uri, attach_resource.kind, job_queue.clock());
END
$$;
COMMENT ON FUNCTION job_queue.attach_resource(bigint, bigint, text, text) IS
	'Notes an external file or object that the job made, up to 4096 bytes; kind (none): what it is.';
