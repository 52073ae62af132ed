-- Functions for the extension's own use; their names begin with an underscore.

-- The extension's time comes first: everything else takes its time from here.
CREATE FUNCTION job_queue.clock()
RETURNS timestamptz
LANGUAGE c STABLE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'job_queue_clock';
COMMENT ON FUNCTION job_queue.clock() IS
	'The extension''s time: the wall clock, moved by advance_clock() in tests.';

CREATE FUNCTION job_queue._preloaded()
RETURNS boolean
LANGUAGE c STABLE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'job_queue_preloaded';
COMMENT ON FUNCTION job_queue._preloaded() IS
	'Internal: whether the library is in shared_preload_libraries.';

/*
 * What shared memory knows.
 */

CREATE FUNCTION job_queue._live(job_id bigint, lease_token bigint)
RETURNS TABLE (
	lease_expires_at	timestamptz,
	progress			double precision,
	stage				text,
	message				text,
	bytes_done			bigint,
	bytes_total			bigint,
	cancel_requested	boolean,
	last_heartbeat		timestamptz,
	version				bigint)
LANGUAGE c STABLE STRICT PARALLEL UNSAFE ROWS 1
AS 'MODULE_PATHNAME', 'job_queue_live';
COMMENT ON FUNCTION job_queue._live(bigint, bigint) IS
	'Internal: what shared memory knows of a running job; no row if nothing.';

CREATE FUNCTION job_queue._set_live(
	job_id		bigint,
	lease_token	bigint,
	stage		text,
	message		text,
	progress	double precision)
RETURNS void
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'job_queue_set_live';
COMMENT ON FUNCTION job_queue._set_live(bigint, bigint, text, text, double precision) IS
	'Internal: stores stage, message and progress (null: unchanged) of a running job in shared memory; '
	'counts as a heartbeat.';

CREATE FUNCTION job_queue._expired_leases(max_leases int, only_queue int)
RETURNS TABLE (job_id bigint, lease_token bigint)
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'job_queue_expired_leases';
COMMENT ON FUNCTION job_queue._expired_leases(int, int) IS
	'Internal: leases of this database that have ended, of one queue or (null) all, max_leases of them at most.';

CREATE FUNCTION job_queue._effective_lease_end(
	job_id		bigint,
	lease_token	bigint,
	row_end		timestamptz,
	started_at	timestamptz)
RETURNS timestamptz
LANGUAGE c STABLE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'job_queue_effective_lease_end';
COMMENT ON FUNCTION job_queue._effective_lease_end(bigint, bigint, timestamptz, timestamptz) IS
	'Internal: the true end of a lease: as shared memory has it, else the row''s, prolonged after a restart.';

CREATE FUNCTION job_queue._end_lease(
	job_id		bigint,
	lease_token	bigint,
	row_end		timestamptz,
	started_at	timestamptz)
RETURNS timestamptz
LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'job_queue_end_lease';
COMMENT ON FUNCTION job_queue._end_lease(bigint, bigint, timestamptz, timestamptz) IS
	'Internal: refuses the worker of a lease that has run out until the transaction ends, and returns when it ran out; '
	'null if it is valid.  The caller holds the row''s lock.';

CREATE FUNCTION job_queue._forget_lease(job_id bigint, lease_token bigint)
RETURNS void
LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'job_queue_forget_lease';
COMMENT ON FUNCTION job_queue._forget_lease(bigint, bigint) IS
	'Internal: forgets a lease whose row is gone.';

CREATE FUNCTION job_queue._ready_index()
RETURNS TABLE (
	queue_id			int,
	complete			boolean,
	scanning			boolean,
	entries				bigint,
	position_priority	int,
	position_id			bigint,
	waiters				int)
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'job_queue_ready_index';
COMMENT ON FUNCTION job_queue._ready_index() IS
	'Internal: the ready index of each queue of this database.';

CREATE FUNCTION job_queue._lock_queue(queue_id int)
RETURNS void
LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'job_queue_lock_queue';
COMMENT ON FUNCTION job_queue._lock_queue(int) IS
	'Internal: keeps others from enqueueing to the queue until the end of the transaction.';

/*
 * Triggers that keep shared memory true to the tables, whoever writes them.
 * ALWAYS: also under session_replication_role = replica.
 */

CREATE FUNCTION job_queue._job_changed()
RETURNS trigger
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'job_queue_job_changed';
COMMENT ON FUNCTION job_queue._job_changed() IS
	'Internal: tells the ready index and the leases about a changed row, at commit.';

-- Before: a change that fails half-way must not lose the job from the ready index.
CREATE TRIGGER job_changes
	BEFORE INSERT OR UPDATE OR DELETE ON job_queue.job
	FOR EACH ROW EXECUTE FUNCTION job_queue._job_changed();
ALTER TABLE job_queue.job ENABLE ALWAYS TRIGGER job_changes;
COMMENT ON TRIGGER job_changes ON job_queue.job IS
	'Gives the row back to the ready index if the change is undone; voids a lease that comes from elsewhere.';

CREATE TRIGGER job_changed
	AFTER INSERT OR UPDATE OR DELETE ON job_queue.job
	FOR EACH ROW EXECUTE FUNCTION job_queue._job_changed();
ALTER TABLE job_queue.job ENABLE ALWAYS TRIGGER job_changed;
COMMENT ON TRIGGER job_changed ON job_queue.job IS
	'Tells the ready index and the leases about the row, at commit.';

CREATE FUNCTION job_queue._job_truncated()
RETURNS trigger
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	DELETE FROM job_queue.attempt a
	 WHERE NOT EXISTS (SELECT FROM job_queue.job_history h WHERE h.id = a.job_id);
	DELETE FROM job_queue.checkpoint c
	 WHERE NOT EXISTS (SELECT FROM job_queue.job_history h WHERE h.id = c.job_id);
	DELETE FROM job_queue.resource r
	 WHERE NOT EXISTS (SELECT FROM job_queue.job_history h WHERE h.id = r.job_id);
	RETURN NULL;
END
$$;
COMMENT ON FUNCTION job_queue._job_truncated() IS
	'Internal: deletes what belonged to unfinished jobs that were truncated.';

CREATE TRIGGER job_truncated
	AFTER TRUNCATE ON job_queue.job
	FOR EACH STATEMENT EXECUTE FUNCTION job_queue._job_truncated();
COMMENT ON TRIGGER job_truncated ON job_queue.job IS
	'Deletes what belonged to the jobs.';

CREATE FUNCTION job_queue._queue_changed()
RETURNS trigger
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'job_queue_queue_changed';
COMMENT ON FUNCTION job_queue._queue_changed() IS
	'Internal: makes every session forget the settings that it has cached.';

CREATE TRIGGER queue_changed
	AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON job_queue.queue
	FOR EACH STATEMENT EXECUTE FUNCTION job_queue._queue_changed();
ALTER TABLE job_queue.queue ENABLE ALWAYS TRIGGER queue_changed;
COMMENT ON TRIGGER queue_changed ON job_queue.queue IS
	'Makes every session forget the settings that it has cached.';

CREATE TRIGGER pipeline_changed
	AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON job_queue.pipeline
	FOR EACH STATEMENT EXECUTE FUNCTION job_queue._queue_changed();
ALTER TABLE job_queue.pipeline ENABLE ALWAYS TRIGGER pipeline_changed;
COMMENT ON TRIGGER pipeline_changed ON job_queue.pipeline IS
	'Makes every session forget the pipelines that it has cached.';

/*
 * Instead of foreign keys.  These would be checked while a dump is restored,
 * and pg_restore --jobs restores jobs before their queues: a table to which
 * jobs refer is empty then, and may be.
 */

CREATE FUNCTION job_queue._job_refers()
RETURNS trigger
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	PERFORM FROM job_queue.queue q WHERE q.id = NEW.queue_id FOR KEY SHARE;
	IF NOT FOUND AND EXISTS (SELECT FROM job_queue.queue) THEN
		RAISE EXCEPTION 'queue % of job % does not exist', NEW.queue_id, NEW.id
			USING ERRCODE = '23503', HINT = 'Create it with job_queue.create_queue().';
	END IF;
	IF NEW.pipeline IS NULL THEN
		RETURN NULL;
	END IF;

	PERFORM FROM job_queue.pipeline p WHERE p.name = NEW.pipeline FOR KEY SHARE;
	IF NOT FOUND AND EXISTS (SELECT FROM job_queue.pipeline) THEN
		RAISE EXCEPTION 'pipeline "%" of job % does not exist', NEW.pipeline, NEW.id
			USING ERRCODE = '23503', HINT = 'Define it with job_queue.define_pipeline().';
	END IF;
	RETURN NULL;
END
$$;
COMMENT ON FUNCTION job_queue._job_refers() IS
	'Internal: raises 23503 if the queue or the pipeline of a job does not exist.';

CREATE TRIGGER job_refers
	AFTER INSERT OR UPDATE OF queue_id, pipeline ON job_queue.job
	FOR EACH ROW EXECUTE FUNCTION job_queue._job_refers();
COMMENT ON TRIGGER job_refers ON job_queue.job IS 'The queue and the pipeline of a job exist.';

CREATE FUNCTION job_queue._jobs_refer()
RETURNS trigger
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF EXISTS (SELECT FROM job_queue.job j
				WHERE TG_OP = 'TRUNCATE'
				   OR (TG_TABLE_NAME = 'queue' AND j.queue_id = (to_jsonb(OLD) ->> 'id')::int)
				   OR (TG_TABLE_NAME = 'pipeline' AND j.pipeline = to_jsonb(OLD) ->> 'name'))
	THEN
		RAISE EXCEPTION 'unfinished jobs refer to table %', TG_TABLE_NAME
			USING ERRCODE = '23503', HINT = 'Drop queues with job_queue.drop_queue().';
	END IF;
	RETURN NULL;
END
$$;
COMMENT ON FUNCTION job_queue._jobs_refer() IS
	'Internal: raises 23503 if unfinished jobs refer to a deleted queue or pipeline.';

CREATE TRIGGER queue_referred AFTER DELETE OR UPDATE OF id ON job_queue.queue
	FOR EACH ROW EXECUTE FUNCTION job_queue._jobs_refer();
COMMENT ON TRIGGER queue_referred ON job_queue.queue IS 'A queue with unfinished jobs is not deleted.';
CREATE TRIGGER queue_truncated BEFORE TRUNCATE ON job_queue.queue
	FOR EACH STATEMENT EXECUTE FUNCTION job_queue._jobs_refer();
COMMENT ON TRIGGER queue_truncated ON job_queue.queue IS 'A queue with unfinished jobs is not deleted.';
CREATE TRIGGER pipeline_referred AFTER DELETE OR UPDATE OF name ON job_queue.pipeline
	FOR EACH ROW EXECUTE FUNCTION job_queue._jobs_refer();
COMMENT ON TRIGGER pipeline_referred ON job_queue.pipeline IS 'A pipeline with unfinished jobs is not deleted.';
CREATE TRIGGER pipeline_truncated BEFORE TRUNCATE ON job_queue.pipeline
	FOR EACH STATEMENT EXECUTE FUNCTION job_queue._jobs_refer();
COMMENT ON TRIGGER pipeline_truncated ON job_queue.pipeline IS 'A pipeline with unfinished jobs is not deleted.';

/*
 * Checks of arguments.  Each raises a clear error or does nothing.
 */

CREATE FUNCTION job_queue._check_not_null(argument text, value anyelement)
RETURNS void
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF value IS NULL THEN
		RAISE EXCEPTION 'argument "%" must not be null', argument USING ERRCODE = '22004';
	END IF;
END
$$;
COMMENT ON FUNCTION job_queue._check_not_null(text, anyelement) IS
	'Internal: raises 22004 if the argument is null.';

CREATE FUNCTION job_queue._check_text(argument text, value text, max_bytes int)
RETURNS void
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF octet_length(value) NOT BETWEEN 1 AND max_bytes THEN
		RAISE EXCEPTION 'argument "%" must have 1 to % bytes, not %', argument, max_bytes, octet_length(value)
			USING ERRCODE = '22023';
	END IF;
END
$$;
COMMENT ON FUNCTION job_queue._check_text(text, text, int) IS
	'Internal: raises 22023 unless the text is null or has 1 to max_bytes bytes.';

CREATE FUNCTION job_queue._check_range(
	argument	text,
	value		double precision,
	lo			double precision,
	hi			double precision)
RETURNS void
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	-- NaN is greater than every number.
	IF value NOT BETWEEN lo AND hi THEN
		RAISE EXCEPTION 'argument "%" must be between % and %, not %', argument, lo, hi, value
			USING ERRCODE = '22023';
	END IF;
END
$$;
COMMENT ON FUNCTION job_queue._check_range(text, double precision, double precision, double precision) IS
	'Internal: raises 22023 unless the number is null or within lo to hi.';

CREATE FUNCTION job_queue._check_interval(argument text, value interval, zero_allowed boolean)
RETURNS void
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF value < '0' OR value > '1000 years' OR (value = '0' AND NOT zero_allowed) THEN
		RAISE EXCEPTION 'argument "%" must be % and at most 1000 years, not %',
			argument, CASE WHEN zero_allowed THEN 'at least zero' ELSE 'positive' END, value
			USING ERRCODE = '22023';
	END IF;
END
$$;
COMMENT ON FUNCTION job_queue._check_interval(text, interval, boolean) IS
	'Internal: raises 22023 unless the interval is null or within 0 to 1000 years.';

CREATE FUNCTION job_queue._check_size(argument text, value jsonb, times int)
RETURNS void
LANGUAGE plpgsql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	setting text := coalesce(nullif(current_setting('job_queue.max_payload_bytes', true), ''), '1MB');
	-- Settings in bytes are shown as 100B, which pg_size_bytes() of PostgreSQL 15 does not read.
	max_bytes bigint := pg_size_bytes(regexp_replace(setting, '^(\d+)B$', '\1')) * times;
BEGIN
	IF pg_column_size(value) > max_bytes THEN
		RAISE EXCEPTION '% of % bytes is larger than % bytes', argument, pg_column_size(value), max_bytes
			USING ERRCODE = 'JQ007',
				HINT = 'Store the data elsewhere and pass a reference, or raise job_queue.max_payload_bytes.';
	END IF;
END
$$;
COMMENT ON FUNCTION job_queue._check_size(text, jsonb, int) IS
	'Internal: raises JQ007 if the value is larger than that many times job_queue.max_payload_bytes.';

/*
 * Where a job is.
 */

CREATE FUNCTION job_queue._job_state(job_id bigint)
RETURNS "char"
LANGUAGE sql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
	-- One statement, hence one snapshot: a job on its way between the tables is in exactly one.
	SELECT j.state FROM job_queue.job j WHERE j.id = _job_state.job_id
	UNION ALL
	SELECT h.status FROM job_queue.job_history h WHERE h.id = _job_state.job_id
	LIMIT 1
$$;
COMMENT ON FUNCTION job_queue._job_state(bigint) IS
	'Internal: w or r for an unfinished job, c, f or x for a finished one, null for an unknown one.';

CREATE FUNCTION job_queue._no_such_job(job_id bigint)
RETURNS void
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	RAISE EXCEPTION 'job % does not exist', job_id
		USING ERRCODE = 'JQ006',
			HINT = 'It was never committed, or it finished longer ago than its queue''s retention.';
END
$$;
COMMENT ON FUNCTION job_queue._no_such_job(bigint) IS 'Internal: raises JQ006.';

CREATE FUNCTION job_queue._queue_id(name text)
RETURNS int
LANGUAGE plpgsql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	queue_id int;
BEGIN
	PERFORM job_queue._check_not_null('queue', name);
	SELECT q.id INTO queue_id FROM job_queue.queue q WHERE q.name = _queue_id.name;
	IF NOT FOUND THEN
		RAISE EXCEPTION 'queue "%" does not exist', name
			USING ERRCODE = 'JQ003', HINT = 'Create it with job_queue.create_queue().';
	END IF;
	RETURN queue_id;
END
$$;
COMMENT ON FUNCTION job_queue._queue_id(text) IS 'Internal: id of a queue; raises JQ003 if there is none.';
