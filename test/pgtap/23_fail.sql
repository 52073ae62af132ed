-- Failure: again after a while that grows, and at last for good.
\ir include/setup.sql
SELECT * FROM no_plan();
SELECT job_queue.create_queue('fail', max_attempts => 2, backoff_base => '10 s', backoff_jitter => 0) \gset

SELECT job_queue.enqueue('fail', '{"n": 1}') AS job_id \gset
SELECT lease_token FROM job_queue.claim('fail', worker => 'w1') \gset
SELECT is(job_queue.fail(:job_id, :lease_token, 'no network', 'E_NET', details => '{"host": "h"}'), 'scheduled',
	'a job that failed is scheduled again');
SELECT results_eq(
	format($$SELECT status, attempt, worker, lease_expires_at, finished_at, round(pg_temp.seconds(run_at - job_queue.clock()))::int
			   FROM job_queue.jobs WHERE job_id = %s$$, :job_id),
	$$VALUES ('scheduled', 1, NULL::text, NULL::timestamptz, NULL::timestamptz, 10)$$,
	'it waits for its time');
SELECT results_eq(
	format($$SELECT attempt, worker, error_code, error_message, retryable, details
			   FROM job_queue.attempts WHERE job_id = %s$$, :job_id),
	$$VALUES (1, 'w1', 'E_NET', 'no network', true, '{"host": "h"}'::jsonb)$$, 'the attempt is recorded');
SELECT is_empty($$SELECT * FROM job_queue.claim('fail')$$, 'it is not claimed before its time');
SELECT pg_temp.refused(format('SELECT job_queue.fail(%s, %s, %L)', :job_id, :lease_token, 'again'), 'JQ001',
	'a job fails once per attempt');
SELECT job_queue.advance_clock('10 s') \g /dev/null
CALL job_queue.wait_for_jobs('fail', '10 s') \gset
SELECT attempt, lease_token FROM job_queue.claim('fail', worker => 'w2') \gset
SELECT is(:attempt, 2, 'the next claim is the second attempt');
SELECT is(job_queue.fail(:job_id, :lease_token, 'no network still'), 'failed', 'the last attempt ends as failed');
SELECT results_eq(
	format($$SELECT status, attempt, error_code, error_message, error_retryable, run_at IS NULL OR run_at <= finished_at,
					finished_at BETWEEN started_at AND job_queue.clock()
			   FROM job_queue.jobs WHERE job_id = %s$$, :job_id),
	$$VALUES ('failed', 2, NULL::text, 'no network still', true, true, true)$$, 'it stays visible as failed');
SELECT results_eq(
	format($$SELECT attempt, worker, error_message FROM job_queue.attempts WHERE job_id = %s ORDER BY attempt$$, :job_id),
	$$VALUES (1, 'w1', 'no network'), (2, 'w2', 'no network still')$$, 'with both attempts');
SELECT job_queue.advance_clock('1 day') \g /dev/null
SELECT job_queue.run_maintenance() \g /dev/null
SELECT is_empty($$SELECT * FROM job_queue.claim('fail')$$, 'it never comes again');

-- What cannot succeed is not tried again.
SELECT job_queue.enqueue('fail') AS job_id \gset
SELECT lease_token FROM job_queue.claim('fail') \gset
SELECT is(job_queue.fail(:job_id, :lease_token, 'malformed', 'E_FORMAT', retryable => false, details => '[1]'), 'failed',
	'an error that is not retryable ends the job at once');
SELECT results_eq(
	format('SELECT status, attempt, error_code, error_message, error_retryable, error_details
			  FROM job_queue.jobs WHERE job_id = %s', :job_id),
	$$VALUES ('failed', 1, 'E_FORMAT', 'malformed', false, '[1]'::jsonb)$$, 'and says so');
SELECT job_queue.enqueue('fail', max_attempts => 1) AS job_id \gset
SELECT lease_token FROM job_queue.claim('fail') \gset
SELECT is(job_queue.fail(:job_id, :lease_token, 'x'), 'failed', 'a job with one attempt has one');

-- The worker may know better when.
SELECT job_queue.enqueue('fail', max_attempts => 10) AS job_id \gset
SELECT lease_token FROM job_queue.claim('fail') \gset
SELECT is(job_queue.fail(:job_id, :lease_token, 'busy', retry_in => '5 min'), 'scheduled', 'a time to retry');
SELECT is(round(pg_temp.seconds(run_at - job_queue.clock())), 300::double precision, 'is kept')
  FROM job_queue.jobs WHERE job_id = :job_id;
SELECT job_queue.advance_clock('5 min') \g /dev/null
CALL job_queue.wait_for_jobs('fail', '10 s') \gset
SELECT lease_token FROM job_queue.claim('fail') \gset
SELECT is(job_queue.fail(:job_id, :lease_token, 'busy', retry_in => '0 s'), 'scheduled', 'also one of now');
CALL job_queue.wait_for_jobs('fail', '10 s') \gset
SELECT attempt, lease_token FROM job_queue.claim('fail') \gset
SELECT is(:attempt, 3, 'which is claimed at once');

-- Transactions.
BEGIN;
SELECT job_queue.fail(:job_id, :lease_token, 'undone') \g /dev/null
ROLLBACK;
SELECT is(job_queue.heartbeat(:job_id, :lease_token), 'held', 'a failure that was rolled back is none');
SELECT is((SELECT count(*)::int FROM job_queue.attempts WHERE job_id = :job_id), 2, 'and not recorded');
BEGIN;
SAVEPOINT s;
SELECT job_queue.fail(:job_id, :lease_token, 'undone', retryable => false) \g /dev/null
ROLLBACK TO s;
SELECT is(job_queue.fail(:job_id, :lease_token, 'kept', retry_in => '0 s'), 'scheduled', 'it can fail again after a rollback to a savepoint');
COMMIT;
CALL job_queue.wait_for_jobs('fail', '10 s') \gset
SELECT attempt, lease_token FROM job_queue.claim('fail') \gset
SELECT is(:attempt, 4, 'the attempts go on from there');
SELECT ok(job_queue.complete(:job_id, :lease_token), 'and may succeed');
SELECT results_eq(format('SELECT status, error_message FROM job_queue.jobs WHERE job_id = %s', :job_id),
	$$VALUES ('completed', NULL::text)$$, 'a completed job shows no error');

-- Backoff: least(base * factor^(n-1), max).
SELECT job_queue.create_queue('fail backoff', max_attempts => 10, backoff_jitter => 0) \gset
SELECT job_queue.create_queue('fail flat', max_attempts => 5, backoff_factor => 1, backoff_base => '7 s', backoff_jitter => 0) \gset
SELECT job_queue.create_queue('fail steep', max_attempts => 5, backoff_factor => 1000, backoff_base => '1 s',
	backoff_max => '1 day', backoff_jitter => 0) \gset
SELECT job_queue.create_queue('fail huge', max_attempts => 1000000, backoff_factor => 1e6, backoff_base => '500 years',
	backoff_max => '1000 years', backoff_jitter => 0) \gset
SELECT job_queue.create_queue('fail zero', max_attempts => 5, backoff_base => '0', backoff_jitter => 0) \gset

-- Fails a job of the queue so many times, and tells the delays in seconds.
CREATE PROCEDURE pg_temp.delays(queue text, times int, INOUT delays int[] DEFAULT NULL)
LANGUAGE plpgsql AS $$
DECLARE
	id bigint := job_queue.enqueue(queue);
	token bigint;
	failed_at timestamptz;
BEGIN
	delays := '{}';
	COMMIT;
	FOR n IN 1 .. times LOOP
		LOOP
			SELECT lease_token INTO token FROM job_queue.claim(queue);
			EXIT WHEN FOUND;
			COMMIT;
			PERFORM pg_sleep(0.002);
		END LOOP;
		failed_at := job_queue.clock();
		PERFORM job_queue.fail(id, token, 'x');
		delays := delays || (SELECT floor(extract(epoch FROM j.run_at - failed_at))::int
							   FROM job_queue.jobs j WHERE j.job_id = id);
		COMMIT;
		PERFORM job_queue.advance_clock(interval '1 s' * (delays[n] + 1)) WHERE delays[n] < 1000000;
		COMMIT;
	END LOOP;
END
$$;
CALL pg_temp.delays('fail backoff', 9) \gset
SELECT is(:'delays'::int[], '{1,2,4,8,16,32,60,60,60}', 'the delay doubles up to a minute');
CALL pg_temp.delays('fail flat', 4) \gset
SELECT is(:'delays'::int[], '{7,7,7,7}', 'a factor of one keeps it');
CALL pg_temp.delays('fail steep', 4) \gset
SELECT is(:'delays'::int[], '{1,1000,86400,86400}', 'any other factor grows to the maximum');
CALL pg_temp.delays('fail zero', 4) \gset
SELECT is(:'delays'::int[], '{0,0,0,0}', 'nothing times something is nothing');
SELECT job_queue.enqueue('fail huge') AS job_id \gset
SELECT lease_token FROM job_queue.claim('fail huge') \gset
UPDATE job_queue.job SET attempt = 999999 WHERE id = :job_id;
SELECT is(job_queue.fail(:job_id, :lease_token, 'x'), 'scheduled', 'the largest factor and attempt');
SELECT ok(run_at - job_queue.clock() BETWEEN interval '990 years' AND interval '1000 years', 'stay within the maximum')
  FROM job_queue.jobs WHERE job_id = :job_id;

-- Jitter: spread around the delay, not in step.
SELECT job_queue.create_queue('fail jitter', backoff_base => '100 s', backoff_max => '100 s', backoff_jitter => 0.1) \gset
SELECT job_queue.enqueue_many('fail jitter', array_fill('{}'::jsonb, '{300}')) \g /dev/null
SELECT job_queue.clock() AS failed_at \gset
SELECT job_queue.fail(job_id, lease_token, 'x') FROM job_queue.claim('fail jitter', 300) \g /dev/null
CREATE TEMP TABLE delay AS
	SELECT pg_temp.seconds(run_at - :'failed_at') AS delay FROM job_queue.jobs WHERE queue = 'fail jitter';
SELECT ok(min(delay) >= 90 AND max(delay) < 110 + pg_temp.seconds(job_queue.clock() - :'failed_at'),
	'jitter stays within its share: ' || min(delay) || ' to ' || max(delay)) FROM delay;
SELECT ok(count(*) FILTER (WHERE delay < 95) BETWEEN 20 AND 150 AND count(*) FILTER (WHERE delay > 105) BETWEEN 20 AND 150,
	'and uses it in both directions') FROM delay;
SELECT cmp_ok(count(DISTINCT delay)::int, '>', 290, 'no two jobs are in step') FROM delay;

-- Messages.
SELECT job_queue.create_queue('fail text') \gset
CREATE TEMP TABLE message (n int, text text);
INSERT INTO message VALUES (1, E'it''s "broken"\n\\ and more'), (2, '🚀'), (3, repeat('é', 1000));
SELECT job_queue.enqueue_many('fail text', '{"1", "2", "3"}') \g /dev/null
SELECT job_queue.fail(c.job_id, c.lease_token, m.text, retryable => false)
  FROM job_queue.claim('fail text', 3) c JOIN message m ON m.n = (c.payload #>> '{}')::int \g /dev/null
SELECT results_eq($$SELECT error_message FROM job_queue.jobs WHERE queue = 'fail text' ORDER BY job_id$$,
	'SELECT text FROM message ORDER BY n', 'error messages are kept exactly');
SELECT job_queue.enqueue('fail text') AS job_id \gset
SELECT lease_token FROM job_queue.claim('fail text') \gset
SELECT pg_temp.refused(format('SELECT job_queue.fail(%s, %s, %s)', :job_id, :lease_token, arguments), code, arguments)
  FROM (VALUES
	('NULL', '22004'),
	('$$x$$, retryable => NULL', '22004'),
	('$$x$$, retry_in => $$-1 s$$', '22023'),
	('$$x$$, retry_in => $$1001 years$$', '22023')) bad(arguments, code);
SELECT ok(job_queue.complete(:job_id, :lease_token), 'the job was not touched by any of them');

SELECT is(job_queue.drop_queue(name, force => true), true, 'cleaned up: ' || name)
  FROM job_queue.queues WHERE name LIKE 'fail%';
SELECT is_empty('SELECT * FROM job_queue.verify()', 'the invariants hold');
SELECT * FROM finish();
