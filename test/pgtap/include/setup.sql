-- Common to all files: the extensions, and helpers that live as long as the
-- session.  The server has the library preloaded and job_queue.testing = on.
\set QUIET on
\set ON_ERROR_STOP on
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pgtap;
CREATE EXTENSION IF NOT EXISTS job_queue;

-- Waits until a query answers true, or fails after ten seconds of real time.
CREATE FUNCTION pg_temp.wait_until(query text) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
	deadline timestamptz := clock_timestamp() + interval '10 s';
	answer boolean;
BEGIN
	LOOP
		EXECUTE query INTO answer;
		EXIT WHEN answer;
		IF clock_timestamp() > deadline THEN
			RAISE 'still not true after ten seconds: %', query;
		END IF;
		PERFORM pg_sleep(0.005);
	END LOOP;
END
$$;

-- Everything that users can see of jobs and queues, as one value.
CREATE FUNCTION pg_temp.fingerprint() RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
	answer text;
BEGIN
	SELECT md5(concat(
		-- progress goes to the row when maintenance writes it there
		(SELECT string_agg((to_jsonb(j) - '{progress,bytes_done,bytes_total,stage,message}'::text[])::text, '|' ORDER BY j.id)
		   FROM job_queue.job j),
		(SELECT string_agg(h.*::text, '|' ORDER BY h.id) FROM job_queue.job_history h),
		(SELECT string_agg(q.*::text, '|' ORDER BY q.id) FROM job_queue.queue q),
		(SELECT string_agg(a.*::text, '|' ORDER BY a.id) FROM job_queue.attempt a),
		(SELECT string_agg(c.*::text, '|' ORDER BY c.job_id, c.stage)
		   FROM job_queue.checkpoint c),
		(SELECT string_agg(p.*::text, '|' ORDER BY p.name) FROM job_queue.pipeline p),
		(SELECT string_agg(concat_ws(',', v.job_id, v.status, v.progress, v.stage,
									 v.message, v.lease_expires_at,
									 v.cancel_requested), '|' ORDER BY v.job_id)
		   FROM job_queue.jobs v)))
	  INTO answer;
	RETURN answer;
END
$$;

/*
 * What comes of a call: its SQLSTATE, and what is wrong about that.  Errors
 * with a code of ours have a hint, and none changes anything, shared memory
 * included.
 */
CREATE FUNCTION pg_temp.outcome(call text) RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
	before text := pg_temp.fingerprint();
	code text := 'no error';
	hint text := '';
BEGIN
	BEGIN
		EXECUTE call;
	EXCEPTION WHEN OTHERS THEN
		GET STACKED DIAGNOSTICS code = RETURNED_SQLSTATE, hint = PG_EXCEPTION_HINT;
	END;
	RETURN format('%s%s%s', code,
		CASE WHEN hint = '' AND code LIKE 'JQ%' THEN ' without hint' END,
		CASE WHEN before <> pg_temp.fingerprint() THEN ' with changes' END);
END
$$;

-- One test: a call is refused with this SQLSTATE.
CREATE FUNCTION pg_temp.refused(call text, code text, description text)
RETURNS text
LANGUAGE sql AS $$
	SELECT is(pg_temp.outcome(call), code, format('%s: %s', code, description))
$$;

-- The number of seconds in an interval.
CREATE FUNCTION pg_temp.seconds(i interval) RETURNS double precision
LANGUAGE sql AS $$ SELECT extract(epoch FROM i)::double precision $$;
