-- Maintenance: what the worker does by itself, and anyone may ask for.

CREATE FUNCTION job_queue._backoff(
	attempt	int,
	base	interval,
	factor	double precision,
	max		interval,
	jitter	double precision)
RETURNS interval
LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'job_queue_backoff';
COMMENT ON FUNCTION job_queue._backoff(int, interval, double precision, interval, double precision) IS
	'Internal: delay after this attempt: least(base * factor^(attempt-1), max) plus or minus jitter.';

/*
 * Stalled jobs.
 */

CREATE FUNCTION job_queue._recover_job(j job_queue.job, lease_end timestamptz)
RETURNS text
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	allowed interval := coalesce(j.job_timeout,
		(SELECT q.job_timeout FROM job_queue.queue q WHERE q.id = j.queue_id));
	timed_out boolean := coalesce(j.started_at + allowed <= job_queue.clock(), false);
	code text := CASE WHEN timed_out THEN 'job_timeout' ELSE 'lease_expired' END;
	holder text := format('worker %s', coalesce('"' || j.worker || '"', 'without a name'));
	message text := CASE WHEN timed_out
		THEN format('%s took longer than %s, from %s on', holder, allowed, j.started_at)
		ELSE format('%s was not heard of before its lease from %s ended at %s', holder, j.started_at, lease_end)
	END;
BEGIN
	PERFORM job_queue._record_attempt(j, code, message, true, NULL);
	IF j.cancel_requested THEN
		PERFORM job_queue._finish(ARRAY[j.id], j.lease_token, 'x', code, message, true);
		RETURN 'cancelled';
	ELSIF j.attempt >= j.max_attempts THEN
		PERFORM job_queue._finish(ARRAY[j.id], j.lease_token, 'f', code, message, true);
		RETURN 'failed';
	END IF;
	PERFORM job_queue._make_waiting(j, j.attempt, j.run_at, NULL);
	RETURN 'ready';
END
$$;
COMMENT ON FUNCTION job_queue._recover_job(job_queue.job, timestamptz) IS
	'Internal: takes a running job, locked by the caller, from a worker whose lease has ended; returns its '
	'new status.';

CREATE FUNCTION job_queue._recover(job_id bigint, lease_token bigint, only_queue int)
RETURNS text
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	j job_queue.job;
	lease_end timestamptz;
BEGIN
	-- A locked row is in use by somebody who is alive.
	SELECT held.* INTO j
	  FROM job_queue.job held
	 WHERE held.id = _recover.job_id
	   AND held.lease_token = _recover.lease_token
	   AND held.state = 'r'
	   AND (_recover.only_queue IS NULL OR held.queue_id = _recover.only_queue)
	   FOR UPDATE SKIP LOCKED;
	IF NOT FOUND THEN
		-- Not locked but gone, by TRUNCATE for example: then there is nothing to recover, ever.
		IF NOT EXISTS (SELECT FROM job_queue.job gone
						WHERE gone.id = _recover.job_id AND gone.lease_token = _recover.lease_token) THEN
			PERFORM job_queue._forget_lease(_recover.job_id, _recover.lease_token);
		END IF;
		RETURN NULL;
	END IF;

	-- From here on its worker is refused, unless the lease is valid after all.
	lease_end := job_queue._end_lease(j.id, j.lease_token, j.lease_expires_at,
			coalesce(j.lease_expires_at - j.lease, j.started_at));
	IF lease_end IS NULL THEN
		RETURN NULL;
	END IF;
	RETURN job_queue._recover_job(j, lease_end);
EXCEPTION WHEN OTHERS THEN
	-- One bad row must not keep the others from being recovered.
	RAISE WARNING 'job % cannot be recovered: %', job_id, SQLERRM USING ERRCODE = SQLSTATE;
	RETURN NULL;
END
$$;
COMMENT ON FUNCTION job_queue._recover(bigint, bigint, int) IS
	'Internal: recovers a job if its lease has ended; returns its new status, null if there was nothing to do.';

CREATE FUNCTION job_queue.recover_stalled(queue text DEFAULT NULL)
RETURNS TABLE (job_id bigint, new_status text)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	only_queue int := CASE WHEN queue IS NOT NULL THEN job_queue._queue_id(queue) END;
	lease record;
BEGIN
	FOR lease IN SELECT e.job_id, e.lease_token FROM job_queue._expired_leases(100000, only_queue) e ORDER BY e.job_id LOOP
		job_id := lease.job_id;
		new_status := job_queue._recover(lease.job_id, lease.lease_token, only_queue);
		IF new_status IS NOT NULL THEN
			RETURN NEXT;
		END IF;
	END LOOP;
END
$$;
COMMENT ON FUNCTION job_queue.recover_stalled(text) IS
	'Takes the jobs whose lease has ended from their workers, of one queue or (null, the default) of all: ready '
	'again, failed if that was the last attempt, cancelled if that was requested.  The worker does it by itself.';

CREATE FUNCTION job_queue._recover_unknown()
RETURNS int
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	ended record;
	recovered int := 0;
BEGIN
	FOR ended IN
		SELECT j.id, j.lease_token
		  FROM job_queue.job j
		 WHERE j.state = 'r'
		   AND job_queue._effective_lease_end(j.id, j.lease_token, j.lease_expires_at,
			coalesce(j.lease_expires_at - j.lease, j.started_at))
			   <= (SELECT job_queue.clock())
		 ORDER BY j.id
	LOOP
		recovered := recovered
			+ (job_queue._recover(ended.id, ended.lease_token, NULL) IS NOT NULL)::int;
	END LOOP;
	RETURN recovered;
END
$$;
COMMENT ON FUNCTION job_queue._recover_unknown() IS
	'Internal: recovers what shared memory does not know, by a look at every unfinished job; returns how many.';

/*
 * Progress, from shared memory to the rows.
 */

CREATE FUNCTION job_queue._save_progress()
RETURNS void
LANGUAGE sql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
	-- Not of rows that somebody is changing: he need not wait for us, nor we for him.
	WITH running AS MATERIALIZED (
		SELECT j.id, j.lease_token FROM job_queue.job j WHERE j.state = 'r' FOR UPDATE SKIP LOCKED
	)
	UPDATE job_queue.job j
	   SET progress = coalesce(live.progress, j.progress), stage = coalesce(live.stage, j.stage),
		   message = coalesce(live.message, j.message), bytes_done = coalesce(live.bytes_done, j.bytes_done),
		   bytes_total = coalesce(live.bytes_total, j.bytes_total)
	  FROM running r
	 CROSS JOIN LATERAL job_queue._live(r.id, r.lease_token) live
	 WHERE j.id = r.id
	   AND (coalesce(live.progress, j.progress), coalesce(live.stage, j.stage),
			coalesce(live.message, j.message), coalesce(live.bytes_done, j.bytes_done),
			coalesce(live.bytes_total, j.bytes_total))
		   IS DISTINCT FROM (j.progress, j.stage, j.message, j.bytes_done, j.bytes_total)
$$;
COMMENT ON FUNCTION job_queue._save_progress() IS
	'Internal: writes to the rows what shared memory knows of running jobs.';

/*
 * History: deletion at the end of retention.
 */

CREATE FUNCTION job_queue._cleanup_queue(queue_id int, finished_before timestamptz, max_jobs int)
RETURNS int
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
	ids bigint[];
BEGIN
	-- Jobs with resources stay until these have been handed over.
	WITH old AS MATERIALIZED (
		SELECT h.id, h.finished_at
		  FROM job_queue.job_history h
		 WHERE h.queue_id = _cleanup_queue.queue_id
		   AND h.finished_at < _cleanup_queue.finished_before
		   AND NOT EXISTS (SELECT FROM job_queue.resource r WHERE r.job_id = h.id)
		 LIMIT max_jobs
		   FOR UPDATE OF h SKIP LOCKED
	), deleted AS (
		DELETE FROM job_queue.job_history h
		 USING old
		 WHERE h.id = old.id AND h.finished_at = old.finished_at
		RETURNING h.id
	)
	SELECT array_agg(d.id) INTO ids FROM deleted d;

	PERFORM job_queue._forget_jobs(ids);
	RETURN coalesce(cardinality(ids), 0);
END
$$;
COMMENT ON FUNCTION job_queue._cleanup_queue(int, timestamptz, int) IS
	'Internal: deletes finished jobs of a queue, max_jobs of them at most; returns how many.';

CREATE FUNCTION job_queue._cleanup(only_queue text, older_than interval, max_jobs int)
RETURNS TABLE (queue_name text, deleted bigint)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	only_id int := CASE WHEN only_queue IS NOT NULL THEN job_queue._queue_id(only_queue) END;
	q record;
	remaining int := max_jobs;
	deleted_here int;
BEGIN
	PERFORM job_queue._check_not_null('max_jobs', max_jobs);
	PERFORM job_queue._check_interval('older_than', older_than, true);
	PERFORM job_queue._check_range('max_jobs', max_jobs, 1, 1000000);

	FOR q IN SELECT k.id, k.name, k.retention FROM job_queue.queue k WHERE only_id IS NULL OR k.id = only_id LOOP
		queue_name := q.name;
		deleted_here := job_queue._cleanup_queue(q.id,
			job_queue.clock() - coalesce(older_than, q.retention), remaining);
		deleted := deleted_here::bigint;
		remaining := remaining - deleted_here;
		IF deleted_here > 0 THEN
			RETURN NEXT;
		END IF;
		EXIT WHEN remaining = 0;
	END LOOP;
END
$$;
COMMENT ON FUNCTION job_queue._cleanup(text, interval, int) IS 'Internal: cleanup().';

CREATE FUNCTION job_queue.cleanup(
	queue		text DEFAULT NULL,
	older_than	interval DEFAULT NULL,
	max_jobs	int DEFAULT 10000)
RETURNS TABLE (queue text, deleted bigint)
LANGUAGE sql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT c.queue_name, c.deleted FROM job_queue._cleanup(cleanup.queue, cleanup.older_than, cleanup.max_jobs) c
$$;
COMMENT ON FUNCTION job_queue.cleanup(text, interval, int) IS
	'Deletes finished jobs, with their attempts and stages: of one queue or (null, the default) of all, those '
	'that finished longer ago than older_than (each queue''s retention), max_jobs (10000) of them at most.  '
	'Returns how many by queue.  Jobs with attached resources stay.  The worker does it by itself.';

/*
 * History: partitions, one per day (UTC).
 *
 * They are no members of the extension, or pg_dump would leave them out.  None
 * is made before there is a queue: a restore brings its partitions before its
 * queues, and must not find them there already.
 */

CREATE FUNCTION job_queue._history_partition(day date)
RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT to_char(_history_partition.day, '"job_history_p"YYYYMMDD')
$$;
COMMENT ON FUNCTION job_queue._history_partition(date) IS
	'Internal: name of the partition of job_history for a day.';

CREATE FUNCTION job_queue._partition_ahead()
RETURNS int
LANGUAGE sql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
	-- Unknown where the library is not loaded.
	SELECT coalesce(nullif(current_setting('job_queue.history_partition_ahead', true), ''), '7')::int
$$;
COMMENT ON FUNCTION job_queue._partition_ahead() IS 'Internal: the setting job_queue.history_partition_ahead.';

CREATE FUNCTION job_queue._days_without_partition()
RETURNS SETOF date
LANGUAGE sql STABLE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT w.day
	  FROM (SELECT (job_queue.clock() AT TIME ZONE 'UTC')::date + ahead AS day
			  FROM generate_series(0, job_queue._partition_ahead()) ahead) w
	 WHERE to_regclass('job_queue.' || job_queue._history_partition(w.day)) IS NULL
	   AND EXISTS (SELECT FROM job_queue.queue)
	   -- Moved rows would be invisible to who planned before the partition was there.
	   AND NOT EXISTS (SELECT FROM job_queue.job_history_default d
						WHERE (d.finished_at AT TIME ZONE 'UTC')::date = w.day)
	 ORDER BY w.day
$$;
COMMENT ON FUNCTION job_queue._days_without_partition() IS
	'Internal: days that should have a partition of job_history, have none, and have no jobs in the default one.';

CREATE FUNCTION job_queue._create_history_partition(day date)
RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
SET default_tablespace = ''
AS $$
DECLARE
	partition text := job_queue._history_partition(day);
	first_instant text := to_char(day, 'YYYY-MM-DD 00:00:00+00');
	next_instant text := to_char(day + 1, 'YYYY-MM-DD 00:00:00+00');
BEGIN
	-- Rows are inserted and never updated: nothing to vacuum but to freeze them once.
	EXECUTE format('CREATE TABLE job_queue.%I (LIKE job_queue.job_history INCLUDING CONSTRAINTS) USING heap'
		' WITH (autovacuum_vacuum_insert_threshold = 100000, autovacuum_vacuum_insert_scale_factor = 0,'
		' autovacuum_freeze_min_age = 0, autovacuum_analyze_scale_factor = 0.5)', partition);
	EXECUTE format('COMMENT ON TABLE job_queue.%I IS %L', partition,
		format('Jobs that finished on %s (UTC).', to_char(day, 'YYYY-MM-DD')));

	-- Only what C can maintain: plain columns, and predicates of the form "column IS NOT NULL".
	EXECUTE format('CREATE INDEX %I ON job_queue.%I (id)', partition || '_id_idx', partition);
	EXECUTE format('CREATE INDEX %I ON job_queue.%I (user_id) WHERE user_id IS NOT NULL',
		partition || '_user_idx', partition);
	EXECUTE format('CREATE INDEX %I ON job_queue.%I (finished_at) WHERE error_message IS NOT NULL',
		partition || '_error_idx', partition);

	EXECUTE format('ALTER TABLE job_queue.job_history ATTACH PARTITION job_queue.%I FOR VALUES FROM (%L) TO (%L)',
		partition, first_instant, next_instant);
END
$$;
COMMENT ON FUNCTION job_queue._create_history_partition(date) IS
	'Internal: makes the partition of a day.';

CREATE FUNCTION job_queue.ensure_history_partitions()
RETURNS int
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '500ms'
AS $$
DECLARE
	day date;
	created int := 0;
BEGIN
	-- Nearly always there is nothing to do, and no lock to take.
	IF NOT EXISTS (SELECT FROM job_queue._days_without_partition()) THEN
		RETURN 0;
	END IF;

	-- One at a time, and nobody may be on his way into the default partition, by SQL (the first
	-- lock) or by C (the second).  A deadlock ends by the timeout, before anyone is told of it.
	LOCK TABLE ONLY job_queue.job_history IN SHARE ROW EXCLUSIVE MODE;
	LOCK TABLE job_queue.job_history_default IN ACCESS EXCLUSIVE MODE;

	FOR day IN SELECT d FROM job_queue._days_without_partition() d LOOP
		PERFORM job_queue._create_history_partition(day);
		created := created + 1;
	END LOOP;
	RETURN created;
END
$$;
COMMENT ON FUNCTION job_queue.ensure_history_partitions() IS
	'Makes the partitions of job_history for today (UTC) and the next job_queue.history_partition_ahead (7) days, '
	'but for days that have jobs in the default partition already; returns how many it made.  55P03 if '
	'the history cannot be locked within half a second: try again.  The worker does it by itself.';

CREATE FUNCTION job_queue._drop_partition_if_empty(partition regclass)
RETURNS boolean
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '100ms'
AS $$
DECLARE
	has_rows boolean;
BEGIN
	EXECUTE format('SELECT EXISTS (SELECT FROM %s)', partition) INTO has_rows;
	IF has_rows THEN
		RETURN false;
	END IF;

	-- The parent first, as everybody else does.
	LOCK TABLE ONLY job_queue.job_history IN ACCESS EXCLUSIVE MODE;
	EXECUTE format('LOCK TABLE %s IN ACCESS EXCLUSIVE MODE', partition);
	EXECUTE format('SELECT EXISTS (SELECT FROM %s)', partition) INTO has_rows;
	IF NOT has_rows THEN
		EXECUTE format('DROP TABLE %s', partition);
	END IF;
	RETURN NOT has_rows;
EXCEPTION WHEN lock_not_available OR deadlock_detected THEN
	-- It can wait.
	RETURN false;
END
$$;
COMMENT ON FUNCTION job_queue._drop_partition_if_empty(regclass) IS
	'Internal: drops a partition that has no rows, unless somebody uses the history just now; returns '
	'whether it did.';

CREATE FUNCTION job_queue._drop_empty_partitions()
RETURNS bigint
LANGUAGE sql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
	-- Yesterday's may still be needed by a transaction that took the time before midnight.
	SELECT count(*) FILTER (WHERE job_queue._drop_partition_if_empty(old.partition))
	  FROM (SELECT i.inhrelid::regclass AS partition
			  FROM pg_inherits i
			  JOIN pg_class c ON c.oid = i.inhrelid
			 WHERE i.inhparent = 'job_queue.job_history'::regclass
			   AND c.relname < job_queue._history_partition((job_queue.clock() AT TIME ZONE 'UTC')::date - 1)
			   AND c.relname ~ '^job_history_p\d+$'
			 ORDER BY c.relname) old
$$;
COMMENT ON FUNCTION job_queue._drop_empty_partitions() IS
	'Internal: drops the partitions of past days that retention has emptied; returns how many.';

/*
 * All of it.
 */

CREATE FUNCTION job_queue._maintenance_step(step text)
RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	CASE step
		WHEN 'ensure_history_partitions' THEN
			PERFORM job_queue.ensure_history_partitions();
		WHEN 'recover_stalled' THEN
			PERFORM job_queue.recover_stalled();
		WHEN 'recover_unknown' THEN
			PERFORM job_queue._recover_unknown();
		WHEN 'save_progress' THEN
			PERFORM job_queue._save_progress();
		WHEN 'cleanup' THEN
			PERFORM job_queue.cleanup();
		WHEN 'drop_empty_partitions' THEN
			PERFORM job_queue._drop_empty_partitions();
	END CASE;
EXCEPTION WHEN OTHERS THEN
	RAISE WARNING 'maintenance step %: %', step, SQLERRM USING ERRCODE = SQLSTATE;
END
$$;
COMMENT ON FUNCTION job_queue._maintenance_step(text) IS
	'Internal: a step of run_maintenance(); a failure is a warning.';

CREATE FUNCTION job_queue.run_maintenance()
RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	-- First, because it locks the history more strongly than the others, which would deadlock.
	PERFORM job_queue._maintenance_step('ensure_history_partitions');
	PERFORM job_queue._maintenance_step('recover_stalled');
	PERFORM job_queue._maintenance_step('recover_unknown');
	PERFORM job_queue._maintenance_step('save_progress');
	PERFORM job_queue._maintenance_step('cleanup');
	-- Last, because everybody waits for its lock until the commit.
	PERFORM job_queue._maintenance_step('drop_empty_partitions');
END
$$;
COMMENT ON FUNCTION job_queue.run_maintenance() IS
	'One full round of what the worker does by itself: recovers stalled jobs, saves progress, deletes '
	'old jobs, makes and drops partitions.  A step that fails is a warning and does not stop the others.';
