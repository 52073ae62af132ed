-- The invariants, as a query: one row per broken one.

CREATE FUNCTION job_queue._verify_jobs()
RETURNS TABLE (check_name text, object text, detail text)
LANGUAGE sql STABLE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT 'job_wellformed', format('job %s', j.id),
		format('state %s, lease_token %s, started_at %s, lease_expires_at %s', j.state,
			coalesce(j.lease_token::text, 'null'), coalesce(j.started_at::text, 'null'),
			coalesce(j.lease_expires_at::text, 'null'))
	  FROM job_queue.job j
	 WHERE j.state NOT IN ('w', 'r')
		OR (j.state = 'r') <> (j.lease_token IS NOT NULL)
		OR (j.state = 'r') <> (j.started_at IS NOT NULL)
		OR (j.state = 'r') <> (j.lease_expires_at IS NOT NULL)
		OR j.lease_token NOT BETWEEN 1 AND 9007199254740991
		OR (j.state = 'w' AND j.worker IS NOT NULL)
	UNION ALL
	SELECT 'job_attempt', format('job %s', j.id),
		format('state %s, attempt %s of %s', j.state, j.attempt, j.max_attempts)
	  FROM job_queue.job j
	 WHERE j.attempt NOT BETWEEN CASE j.state WHEN 'r' THEN 1 ELSE 0 END AND j.max_attempts
	UNION ALL
	SELECT 'job_progress', format('job %s', j.id), format('progress %s', j.progress)
	  FROM job_queue.job j
	 WHERE j.progress NOT BETWEEN 0 AND 100
	UNION ALL
	SELECT 'job_queue', format('job %s', j.id), format('queue %s does not exist', j.queue_id)
	  FROM job_queue.job j
	 WHERE NOT EXISTS (SELECT FROM job_queue.queue q WHERE q.id = j.queue_id)
	UNION ALL
	SELECT 'job_pipeline', format('job %s', j.id), format('pipeline "%s" does not exist', j.pipeline)
	  FROM job_queue.job j
	 WHERE j.pipeline IS NOT NULL
	   AND NOT EXISTS (SELECT FROM job_queue.pipeline p WHERE p.name = j.pipeline)
	UNION ALL
	SELECT 'job_unique_key', format('queue %s', j.queue_id),
		format('jobs %s have the unique key "%s"', array_agg(j.id), j.unique_key)
	  FROM job_queue.job j
	 WHERE j.unique_key IS NOT NULL
	 GROUP BY j.queue_id, j.unique_key
	HAVING count(*) > 1
	UNION ALL
	SELECT 'job_times', format('job %s', j.id),
		format('enqueued_at %s, started_at %s', j.enqueued_at, j.started_at)
	  FROM job_queue.job j
	 WHERE j.started_at < j.enqueued_at - interval '1 s'
$$;
COMMENT ON FUNCTION job_queue._verify_jobs() IS 'Internal: the part of verify() about unfinished jobs.';

CREATE FUNCTION job_queue._verify_history()
RETURNS TABLE (check_name text, object text, detail text)
LANGUAGE sql STABLE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT 'finished_once', format('job %s', h.id), 'is unfinished and in history'
	  FROM job_queue.job_history h
	  JOIN job_queue.job j ON j.id = h.id
	UNION ALL
	SELECT 'finished_once', format('job %s', h.id), format('is %s times in history', count(*))
	  FROM job_queue.job_history h
	 GROUP BY h.id
	HAVING count(*) > 1
	UNION ALL
	SELECT 'history_attempt', format('job %s', h.id), format('attempt %s of %s', h.attempt, h.max_attempts)
	  FROM job_queue.job_history h
	 WHERE h.attempt NOT BETWEEN CASE h.status WHEN 'c' THEN 1 ELSE 0 END AND h.max_attempts
	UNION ALL
	SELECT 'history_outcome', format('job %s', h.id),
		format('status %s, lease_token %s, error_message %s', h.status,
			coalesce(h.lease_token::text, 'null'), coalesce(h.error_message, 'null'))
	  FROM job_queue.job_history h
	 WHERE (h.status = 'c' AND (h.lease_token IS NULL OR h.started_at IS NULL))
		OR (h.status = 'c' AND h.error_message IS NOT NULL)
		OR (h.status = 'f' AND h.error_message IS NULL)
	UNION ALL
	-- A second for clocks that were set.
	SELECT 'history_times', format('job %s', h.id),
		format('enqueued_at %s, started_at %s, finished_at %s', h.enqueued_at, h.started_at, h.finished_at)
	  FROM job_queue.job_history h
	 WHERE h.started_at < h.enqueued_at - interval '1 s'
		OR h.finished_at < coalesce(h.started_at, h.enqueued_at) - interval '1 s'
	UNION ALL
	SELECT 'history_queue', format('job %s', h.id), format('queue %s does not exist', h.queue_id)
	  FROM job_queue.job_history h
	 WHERE NOT EXISTS (SELECT FROM job_queue.queue q WHERE q.id = h.queue_id)
$$;
COMMENT ON FUNCTION job_queue._verify_history() IS 'Internal: the part of verify() about finished jobs.';

CREATE FUNCTION job_queue._verify_details()
RETURNS TABLE (check_name text, object text, detail text)
LANGUAGE sql STABLE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
	WITH known AS MATERIALIZED (
		SELECT j.id, j.attempt, j.max_attempts, j.state FROM job_queue.job j
		UNION ALL
		SELECT h.id, h.attempt, h.max_attempts, h.status FROM job_queue.job_history h
	), recorded AS (
		SELECT a.job_id, max(a.attempt) AS attempt, count(*) AS times
		  FROM job_queue.attempt a
		 WHERE a.counted
		 GROUP BY a.job_id
	)
	-- What runs, or was completed, has one attempt more than failed before.
	SELECT 'attempts_recorded', format('job %s', k.id),
		format('%s failed attempts recorded, the last is number %s; state %s, attempt %s',
			r.times, r.attempt, k.state, k.attempt)
	  FROM recorded r
	  JOIN known k ON k.id = r.job_id
	 WHERE greatest(r.times, r.attempt) > k.attempt - CASE WHEN k.state IN ('r', 'c') THEN 1 ELSE 0 END
	UNION ALL
	SELECT 'orphan', format('%s of job %s', d.kind, d.job_id), 'there is no such job'
	  FROM (SELECT 'attempt' AS kind, a.job_id FROM job_queue.attempt a
			UNION
			SELECT 'checkpoint', c.job_id FROM job_queue.checkpoint c
			UNION
			SELECT 'resource', r.job_id FROM job_queue.resource r) d
	 WHERE NOT EXISTS (SELECT FROM known k WHERE k.id = d.job_id)
	UNION ALL
	SELECT 'checkpoint_order', format('job %s', c.job_id),
		format('stages %s have the positions %s', array_agg(c.stage), array_agg(c.position))
	  FROM job_queue.checkpoint c
	 GROUP BY c.job_id
	HAVING min(c.position) <> 1 OR max(c.position) <> count(*) OR count(DISTINCT c.position) <> count(*)
	UNION ALL
	SELECT 'checkpoint_stage', format('job %s', j.id), 'has completed stages, but its stage is null'
	  FROM job_queue.job j
	 WHERE j.stage IS NULL AND EXISTS (SELECT FROM job_queue.checkpoint c WHERE c.job_id = j.id)
$$;
COMMENT ON FUNCTION job_queue._verify_details() IS
	'Internal: the part of verify() about attempts, checkpoints and resources.';

-- Bounds are shown in the session's time zone and date style.
CREATE FUNCTION job_queue._verify_partitions()
RETURNS TABLE (check_name text, object text, detail text)
LANGUAGE sql STABLE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
SET timezone = 'UTC'
SET datestyle = 'ISO'
AS $$
	SELECT 'partition_bounds', c.oid::regclass::text, pg_get_expr(c.relpartbound, c.oid)
	  FROM pg_inherits i
	  JOIN pg_class c ON c.oid = i.inhrelid
	 WHERE i.inhparent = 'job_queue.job_history'::regclass
	   AND pg_get_expr(c.relpartbound, c.oid) <> CASE
			WHEN c.relname = 'job_history_default' THEN 'DEFAULT'
			WHEN c.relname ~ '^job_history_p\d{8}$' THEN (
				SELECT format('FOR VALUES FROM (''%s 00:00:00+00'') TO (''%s 00:00:00+00'')', d.day, d.day + 1)
				  FROM (SELECT to_date(right(c.relname, 8), 'YYYYMMDD') AS day) d)
			ELSE ''
		END
$$;
COMMENT ON FUNCTION job_queue._verify_partitions() IS
	'Internal: the part of verify() about the partitions of the history.';

/*
 * Shared memory.
 */

CREATE FUNCTION job_queue._ready_jobs(queue_id int)
RETURNS bigint[]
LANGUAGE sql STABLE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
	-- Without those that a transaction has taken, and those due just now.
	SELECT coalesce(array_agg(j.id), '{}')
	  FROM job_queue.job j
	 WHERE j.queue_id = _ready_jobs.queue_id
	   AND j.state = 'w'
	   AND j.xmax::text = '0'
	   AND (j.run_at IS NULL OR j.run_at < (SELECT job_queue.clock()) - interval '1 s')
$$;
COMMENT ON FUNCTION job_queue._ready_jobs(int) IS
	'Internal: jobs of a queue that anyone could claim now.';

CREATE FUNCTION job_queue._missing_in_ready_index(queue_id int)
RETURNS int
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	before bigint[];
	entries int;
	ready int;
	missing int := 0;
BEGIN
	-- A claim takes the entry first and the row a moment later, an enqueue the other
	-- way round: only jobs that were ready before and after the look at the index
	-- must be in it.  Three looks must agree.
	FOR look IN 1..3 LOOP
		before := job_queue._ready_jobs(queue_id);
		SELECT i.entries::int INTO entries
		  FROM job_queue._ready_index() i
		 WHERE i.queue_id = _missing_in_ready_index.queue_id AND i.complete AND NOT i.scanning;
		IF NOT FOUND OR entries >= cardinality(before) THEN
			RETURN 0;
		END IF;

		PERFORM pg_sleep(0.05);
		SELECT count(*)::int INTO ready
		  FROM unnest(before) was
		  JOIN unnest(job_queue._ready_jobs(queue_id)) still ON still = was;
		missing := ready - entries;
		IF missing <= 0 THEN
			RETURN 0;
		END IF;
	END LOOP;
	RETURN missing;
END
$$;
COMMENT ON FUNCTION job_queue._missing_in_ready_index(int) IS
	'Internal: how many ready jobs of a queue its ready index has lost, if it claims to have all; '
	'takes up to 0.2 s.';

CREATE FUNCTION job_queue._verify_memory()
RETURNS TABLE (check_name text, object text, detail text)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	i record;
	missing int;
BEGIN
	RETURN QUERY
	SELECT 'lease_end', format('job %s', j.id), 'is running, but its lease has no end'
	  FROM job_queue.job j
	 WHERE j.state = 'r'
	   AND job_queue._effective_lease_end(j.id, j.lease_token, j.lease_expires_at,
			coalesce(j.lease_expires_at - j.lease, j.started_at)) IS NULL;

	-- With one snapshot for all looks there is nothing to compare.
	IF current_setting('transaction_isolation') <> 'read committed' THEN
		RETURN;
	END IF;
	FOR i IN SELECT q.id, q.name FROM job_queue.queue q ORDER BY q.id LOOP
		missing := job_queue._missing_in_ready_index(i.id);
		IF missing > 0 THEN
			RETURN QUERY SELECT 'ready_index', format('queue "%s"', i.name),
				format('the index of ready jobs says that it has all, but %s are missing', missing);
		END IF;
	END LOOP;
END
$$;
COMMENT ON FUNCTION job_queue._verify_memory() IS 'Internal: the part of verify() about shared memory.';

CREATE FUNCTION job_queue.verify()
RETURNS TABLE (check_name text, object text, detail text)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	RETURN QUERY SELECT v.check_name, v.object, v.detail FROM job_queue._verify_jobs() v;
	RETURN QUERY SELECT v.check_name, v.object, v.detail FROM job_queue._verify_history() v;
	RETURN QUERY SELECT v.check_name, v.object, v.detail FROM job_queue._verify_details() v;
	RETURN QUERY SELECT v.check_name, v.object, v.detail FROM job_queue._verify_partitions() v;
	IF job_queue._preloaded() THEN
		RETURN QUERY SELECT v.check_name, v.object, v.detail FROM job_queue._verify_memory() v;
	END IF;
END
$$;
COMMENT ON FUNCTION job_queue.verify() IS
	'Checks what must always hold; one row per broken invariant, empty is good.  Reads every job.';
