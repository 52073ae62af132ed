-- Queues: create, alter, drop, pause, resume, purge.

CREATE FUNCTION job_queue._check_queue(q job_queue.queue)
RETURNS void
LANGUAGE plpgsql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	PERFORM job_queue._check_not_null(setting.key, nullif(setting.value, 'null'))
	   FROM jsonb_each(to_jsonb(q)) setting
	  WHERE setting.key NOT IN ('id', 'created_at', 'job_timeout', 'max_depth', 'cleanup_queue');

	PERFORM job_queue._check_text('name', q.name, 255);
	PERFORM job_queue._check_text('cleanup_queue', q.cleanup_queue, 255);
	PERFORM job_queue._check_interval('lease', q.lease, false);
	PERFORM job_queue._check_interval('backoff_base', q.backoff_base, true);
	PERFORM job_queue._check_interval('backoff_max', q.backoff_max, true);
	PERFORM job_queue._check_interval('job_timeout', q.job_timeout, false);
	PERFORM job_queue._check_interval('retention', q.retention, true);

	PERFORM job_queue._check_range('max_attempts', q.max_attempts, 1, 1000000);
	PERFORM job_queue._check_range('backoff_factor', q.backoff_factor, 1, 1000000);
	PERFORM job_queue._check_range('backoff_jitter', q.backoff_jitter, 0, 1);
	PERFORM job_queue._check_range('max_depth', q.max_depth, 1, 1000000000000);
	IF q.claim_durability NOT IN ('durable', 'relaxed') THEN
		RAISE EXCEPTION 'argument "claim_durability" must not be "%"', q.claim_durability
			USING ERRCODE = '22023', HINT = 'Use durable or relaxed.';
	END IF;
END
$$;
COMMENT ON FUNCTION job_queue._check_queue(job_queue.queue) IS
	'Internal: raises 22004 or 22023 unless these are valid settings of a queue.';

CREATE FUNCTION job_queue.create_queue(
	name				text,
	max_attempts		int DEFAULT 3,
	lease				interval DEFAULT '5 min',
	backoff_base		interval DEFAULT '1 s',
	backoff_factor		double precision DEFAULT 2,
	backoff_max			interval DEFAULT '60 s',
	backoff_jitter		double precision DEFAULT 0.1,
	job_timeout			interval DEFAULT NULL,
	retention			interval DEFAULT '7 days',
	max_depth			bigint DEFAULT NULL,
	cleanup_queue		text DEFAULT NULL,
	if_not_exists		boolean DEFAULT false,
	claim_durability	text DEFAULT 'durable',
	notify				boolean DEFAULT true)
RETURNS boolean
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	q job_queue.queue;
BEGIN
	q.name := name;
	q.max_attempts := max_attempts;
	q.lease := lease;
	q.backoff_base := backoff_base;
	q.backoff_factor := backoff_factor;
	q.backoff_max := backoff_max;
	q.backoff_jitter := backoff_jitter;
	q.job_timeout := job_timeout;
	q.retention := retention;
	q.max_depth := max_depth;
	q.cleanup_queue := cleanup_queue;
	q.claim_durability := claim_durability;
	q.notify := notify;
	q.paused := false;
	PERFORM job_queue._check_not_null('if_not_exists', if_not_exists);
	PERFORM job_queue._check_queue(q);

	INSERT INTO job_queue.queue (name, max_attempts, lease, backoff_base, backoff_factor, backoff_max,
			backoff_jitter, job_timeout, retention, max_depth, cleanup_queue, claim_durability, notify,
			paused, created_at)
	VALUES (q.name, q.max_attempts, q.lease, q.backoff_base, q.backoff_factor, q.backoff_max,
			q.backoff_jitter, q.job_timeout, q.retention, q.max_depth, q.cleanup_queue, q.claim_durability,
			q.notify, q.paused, job_queue.clock())
	ON CONFLICT ON CONSTRAINT queue_name_key DO NOTHING;

	IF NOT FOUND AND NOT if_not_exists THEN
		RAISE EXCEPTION 'queue "%" already exists', name
			USING ERRCODE = '42710',
				HINT = 'Change it with job_queue.alter_queue(), or pass if_not_exists => true.';
	END IF;
	RETURN FOUND;
END
$$;
COMMENT ON FUNCTION job_queue.create_queue(text, int, interval, interval, double precision, interval,
	double precision, interval, interval, bigint, text, boolean, text, boolean) IS
	'Creates a queue; returns whether it did.  max_attempts (3): claims a job gets before it fails; '
	'lease (5 min): how long a claim holds without a heartbeat; backoff_base (1 s), backoff_factor (2), '
	'backoff_max (60 s), backoff_jitter (0.1, a fraction): the delay before attempt n+1 is '
	'least(base * factor^(n-1), max) plus or minus jitter; job_timeout (none): longest run of one attempt; '
	'retention (7 days): how long finished jobs stay; max_depth (none): waiting jobs allowed; '
	'cleanup_queue (none): who gets the resources of deleted jobs; if_not_exists (false): no error if it exists; '
	'claim_durability (durable): relaxed claims do not wait for the disk; notify (true): send notifications.';

CREATE FUNCTION job_queue._auto_create_queue(name text)
RETURNS void
LANGUAGE sql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
	INSERT INTO job_queue.queue (name, created_at) VALUES (_auto_create_queue.name, job_queue.clock())
	ON CONFLICT ON CONSTRAINT queue_name_key DO NOTHING
$$;
COMMENT ON FUNCTION job_queue._auto_create_queue(text) IS
	'Internal: creates a queue with the defaults, for an enqueue to one that does not exist.';

CREATE FUNCTION job_queue.alter_queue(
	name				text,
	max_attempts		int DEFAULT NULL,
	lease				interval DEFAULT NULL,
	backoff_base		interval DEFAULT NULL,
	backoff_factor		double precision DEFAULT NULL,
	backoff_max			interval DEFAULT NULL,
	backoff_jitter		double precision DEFAULT NULL,
	job_timeout			interval DEFAULT NULL,
	retention			interval DEFAULT NULL,
	max_depth			bigint DEFAULT NULL,
	cleanup_queue		text DEFAULT NULL,
	claim_durability	text DEFAULT NULL,
	notify				boolean DEFAULT NULL,
	unset				text[] DEFAULT NULL)
RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	target int := job_queue._queue_id(name);
	q job_queue.queue;
BEGIN
	IF NOT coalesce(unset, '{}') <@ ARRAY['job_timeout', 'max_depth', 'cleanup_queue'] THEN
		RAISE EXCEPTION 'argument "unset" may name job_timeout, max_depth and cleanup_queue only'
			USING ERRCODE = '22023';
	END IF;

	SELECT old.* INTO q FROM job_queue.queue old WHERE old.id = target FOR UPDATE;
	q.max_attempts := coalesce(max_attempts, q.max_attempts);
	q.lease := coalesce(lease, q.lease);
	q.backoff_base := coalesce(backoff_base, q.backoff_base);
	q.backoff_factor := coalesce(backoff_factor, q.backoff_factor);
	q.backoff_max := coalesce(backoff_max, q.backoff_max);
	q.backoff_jitter := coalesce(backoff_jitter, q.backoff_jitter);
	q.retention := coalesce(retention, q.retention);
	q.claim_durability := coalesce(claim_durability, q.claim_durability);
	q.notify := coalesce(notify, q.notify);
	q.job_timeout := coalesce(job_timeout, CASE WHEN 'job_timeout' = ANY (unset) THEN NULL ELSE q.job_timeout END);
	q.max_depth := coalesce(max_depth, CASE WHEN 'max_depth' = ANY (unset) THEN NULL ELSE q.max_depth END);
	q.cleanup_queue := coalesce(cleanup_queue,
		CASE WHEN 'cleanup_queue' = ANY (unset) THEN NULL ELSE q.cleanup_queue END);
	PERFORM job_queue._check_queue(q);

	UPDATE job_queue.queue changed
	   SET max_attempts = q.max_attempts, lease = q.lease, backoff_base = q.backoff_base,
		   backoff_factor = q.backoff_factor, backoff_max = q.backoff_max,
		   backoff_jitter = q.backoff_jitter, job_timeout = q.job_timeout, retention = q.retention,
		   max_depth = q.max_depth, cleanup_queue = q.cleanup_queue,
		   claim_durability = q.claim_durability, notify = q.notify
	 WHERE changed.id = target;
END
$$;
COMMENT ON FUNCTION job_queue.alter_queue(text, int, interval, interval, double precision, interval,
	double precision, interval, interval, bigint, text, text, boolean, text[]) IS
	'Changes settings of a queue, named and measured as in create_queue(); null (the default): unchanged.  '
	'unset (none): names of settings to set back to null: job_timeout, max_depth, cleanup_queue.  '
	'Jobs enqueued before keep the max_attempts they were enqueued with.';

CREATE FUNCTION job_queue.drop_queue(name text, force boolean DEFAULT false)
RETURNS boolean
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	target int;
	unfinished bigint;
BEGIN
	PERFORM job_queue._check_not_null('name', name);
	PERFORM job_queue._check_not_null('force', force);
	SELECT q.id INTO target FROM job_queue.queue q WHERE q.name = drop_queue.name;
	IF NOT FOUND THEN
		RETURN false;
	END IF;

	-- Nobody can enqueue to it from here on, so what is counted stays counted.
	PERFORM job_queue._lock_queue(target);
	SELECT count(*) INTO unfinished FROM job_queue.job j WHERE j.queue_id = target;
	IF unfinished > 0 AND NOT force THEN
		RAISE EXCEPTION 'queue "%" has unfinished jobs', name
			USING ERRCODE = 'JQ008', DETAIL = format('Unfinished jobs: %s.', unfinished),
				HINT = 'Let them finish, or pass force => true to delete them too.';
	END IF;

	PERFORM job_queue._delete_jobs_of_queue(target);
	DELETE FROM job_queue.queue q WHERE q.id = target;
	RETURN true;
END
$$;
COMMENT ON FUNCTION job_queue.drop_queue(text, boolean) IS
	'Drops a queue with its finished jobs; returns false if there was none.  Refuses (JQ008) while it has '
	'unfinished jobs, unless force (false) is true: then they are deleted too, the running ones as well.';

CREATE FUNCTION job_queue._delete_jobs_of_queue(queue_id int)
RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
	ids bigint[];
BEGIN
	WITH unfinished AS (
		DELETE FROM job_queue.job j WHERE j.queue_id = _delete_jobs_of_queue.queue_id RETURNING j.id
	)
	SELECT array_agg(u.id) INTO ids FROM unfinished u;
	PERFORM job_queue._forget_jobs(ids);

	-- A new snapshot: some may have finished while the statement above waited for them.
	WITH finished AS (
		DELETE FROM job_queue.job_history h WHERE h.queue_id = _delete_jobs_of_queue.queue_id RETURNING h.id
	)
	SELECT array_agg(f.id) INTO ids FROM finished f;
	PERFORM job_queue._forget_jobs(ids);
END
$$;
COMMENT ON FUNCTION job_queue._delete_jobs_of_queue(int) IS
	'Internal: deletes the jobs of a queue, finished ones too, with all that hangs on them.';

CREATE FUNCTION job_queue._forget_jobs(job_ids bigint[])
RETURNS void
LANGUAGE sql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
	DELETE FROM job_queue.attempt a WHERE a.job_id = ANY (_forget_jobs.job_ids);
	DELETE FROM job_queue.checkpoint c WHERE c.job_id = ANY (_forget_jobs.job_ids);
	DELETE FROM job_queue.resource r WHERE r.job_id = ANY (_forget_jobs.job_ids);
$$;
COMMENT ON FUNCTION job_queue._forget_jobs(bigint[]) IS
	'Internal: deletes the attempts, checkpoints and resources of jobs.';

CREATE FUNCTION job_queue._set_paused(name text, paused boolean)
RETURNS boolean
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
	target int := job_queue._queue_id(_set_paused.name);
BEGIN
	UPDATE job_queue.queue q SET paused = _set_paused.paused
	 WHERE q.id = target AND q.paused <> _set_paused.paused;
	RETURN FOUND;
END
$$;
COMMENT ON FUNCTION job_queue._set_paused(text, boolean) IS 'Internal: pauses or resumes a queue.';

CREATE FUNCTION job_queue.pause_queue(name text)
RETURNS boolean
LANGUAGE sql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT job_queue._set_paused(pause_queue.name, true)
$$;
COMMENT ON FUNCTION job_queue.pause_queue(text) IS
	'Stops claims from a queue: nothing new starts, running jobs go on, jobs can be enqueued.  '
	'Returns false if it was paused already.';

CREATE FUNCTION job_queue.resume_queue(name text)
RETURNS boolean
LANGUAGE sql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT job_queue._set_paused(resume_queue.name, false)
$$;
COMMENT ON FUNCTION job_queue.resume_queue(text) IS
	'Allows claims from a paused queue again.  Returns false if it was not paused.';

CREATE FUNCTION job_queue.purge_queue(name text)
RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	target int := job_queue._queue_id(name);
	ids bigint[];
BEGIN
	-- Jobs claimed meanwhile have a lease by the time _finish() sees them, and stay.
	SELECT array_agg(j.id) INTO ids
	  FROM job_queue.job j
	 WHERE j.queue_id = target AND j.state = 'w';
	RETURN job_queue._finish(ids, NULL, 'x', reason => 'queue purged');
END
$$;
COMMENT ON FUNCTION job_queue.purge_queue(text) IS
	'Cancels all waiting jobs of a queue, scheduled ones too; returns how many.';
