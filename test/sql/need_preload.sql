-- What needs shared memory works if the library is preloaded, and else says
-- JQ010 with a hint.  Both are right here; anything else shows.
CREATE FUNCTION answer(call text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	hint text := '';
BEGIN
	BEGIN
		EXECUTE call;
		RETURN CASE WHEN job_queue._preloaded() THEN 'right' ELSE 'no error' END;
	EXCEPTION WHEN OTHERS THEN
		GET STACKED DIAGNOSTICS hint = PG_EXCEPTION_HINT;
		IF SQLSTATE = 'JQ010' AND NOT job_queue._preloaded() AND hint LIKE '%shared_preload_libraries%' THEN
			RETURN 'right';
		END IF;
		-- a token of zero is no lease, if anyone looks at it
		IF SQLSTATE = 'JQ001' AND job_queue._preloaded() AND call LIKE '%(0, 1%' THEN
			RETURN 'right';
		END IF;
		RETURN format('%s %s %s', SQLSTATE, SQLERRM, hint);
	END;
END
$$;
SELECT job_queue.create_queue('need');
SELECT job_queue.enqueue('need') > 0 AS enqueued;
SELECT call, answer(call)
  FROM unnest(ARRAY[
	'SELECT * FROM job_queue.claim(''need'')',
	'CALL job_queue.wait_for_jobs(''need'', ''0 s'')',
	'SELECT job_queue.heartbeat(0, 1)',
	'SELECT * FROM job_queue.heartbeat_many(''{0}'', ''{1}'')',
	'SELECT job_queue.report_progress(0, 1, 50)',
	'SELECT * FROM job_queue.complete_and_claim(''need'', ''{}'', ''{}'')']) call;
SELECT count(*) AS jobs FROM job_queue.jobs WHERE queue = 'need';
SELECT job_queue.drop_queue('need', force => true);
DROP FUNCTION answer;
