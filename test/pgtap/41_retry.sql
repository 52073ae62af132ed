-- Retry and restart: a job that failed or was cancelled waits again.
\ir include/setup.sql
SELECT * FROM no_plan();
SELECT job_queue.create_queue('retry', max_attempts => 2, backoff_base => '0', backoff_jitter => 0) \gset

-- A job that has used its attempts, with everything a job can have.
SELECT job_queue.enqueue('retry', '{"n": 1}', 'a type', 7, unique_key => 'k', user_id => 'anna', metadata => '{"m": 1}',
	job_timeout => '1 h') AS job_id \gset
SELECT lease_token FROM job_queue.claim('retry') \gset
SELECT job_queue.fail(:job_id, :lease_token, 'one') \g /dev/null
CALL job_queue.wait_for_jobs('retry', '10 s') \gset
SELECT lease_token FROM job_queue.claim('retry') \gset
SELECT job_queue.checkpoint(:job_id, :lease_token, 's', '1') \g /dev/null
SELECT is(job_queue.fail(:job_id, :lease_token, 'two', 'E', details => '{}'), 'failed', 'a job fails for good');
SELECT lives_ok(format('SELECT job_queue.retry(%s)', :job_id), 'it is retried');
SELECT results_eq(
	format($$SELECT queue, job_type, status, priority, attempt, max_attempts, payload, metadata, unique_key, user_id,
					worker, finished_at, lease_expires_at, cancel_requested
			   FROM job_queue.jobs WHERE job_id = %s$$, :job_id),
	$$VALUES ('retry', 'a type', 'ready', 7, 0, 2, '{"n": 1}'::jsonb, '{"m": 1}'::jsonb, 'k', 'anna',
			  NULL::text, NULL::timestamptz, NULL::timestamptz, false)$$,
	'it waits as it was, with its attempts fresh');
SELECT is((SELECT count(*)::int FROM job_queue.job_history WHERE id = :job_id), 0, 'and is in one place only');
SELECT job_id, attempt, lease_token AS new_token, completed_stages, job_timeout FROM job_queue.claim('retry') \gset
SELECT is(:attempt, 1, 'the next attempt is the first');
SELECT is(:'completed_stages'::text[], '{s}', 'checkpoints are kept');
SELECT is(:'job_timeout'::interval, '1 h', 'and so is the timeout');
SELECT pg_temp.refused(format('SELECT job_queue.complete(%s, %s)', :job_id, :lease_token), 'JQ001',
	'the token from before is worth nothing');
SELECT is(job_queue.fail(:job_id, :new_token, 'three'), 'scheduled', 'there are two attempts again');
SELECT cmp_ok((SELECT count(*)::int FROM job_queue.attempts WHERE job_id = :job_id), '>=', 3, 'all failures stay on record');
SELECT job_queue.cancel(:job_id) \g /dev/null

-- Cancelled jobs, delays.
SELECT lives_ok(format('SELECT job_queue.retry(%s, %L)', :job_id, '1 h'), 'a cancelled job is retried, later');
SELECT results_eq(format('SELECT status, round(pg_temp.seconds(run_at - job_queue.clock()))::int FROM job_queue.jobs WHERE job_id = %s', :job_id),
	$$VALUES ('scheduled', 3600)$$, 'it waits for its time');
SELECT is_empty($$SELECT * FROM job_queue.claim('retry')$$, 'and is not claimed before');
SELECT job_queue.advance_clock('1 h') \g /dev/null
CALL job_queue.wait_for_jobs('retry', '10 s') \gset
SELECT job_id, attempt, lease_token FROM job_queue.claim('retry') \gset
SELECT is(:attempt, 1, 'then it is');

-- States in which there is nothing to retry.
CREATE TEMP TABLE verb (name text);
INSERT INTO verb VALUES ('retry'), ('restart');
SELECT job_queue.enqueue('retry') AS ready \gset
SELECT job_queue.enqueue('retry', delay => '1 h') AS scheduled \gset
SELECT job_queue.enqueue('retry', priority => -1) AS completed \gset
SELECT lease_token AS token FROM job_queue.claim('retry') \gset
SELECT job_queue.complete(:completed, :token) \g /dev/null
SELECT pg_temp.refused(format('SELECT job_queue.%s(%s)', verb.name, coalesce(bad.job_id::text, 'NULL')), code, format('%s of a %s job', verb.name, state))
  FROM verb, (VALUES
	(:ready::bigint, 'JQ008', 'ready'),
	(:scheduled, 'JQ008', 'scheduled'),
	(:job_id, 'JQ008', 'running'),
	(:completed, 'JQ008', 'completed'),
	(0, 'JQ006', 'missing'),
	(NULL, '22004', 'null')) bad(job_id, code, state);
SELECT job_queue.fail(:job_id, :lease_token, 'x', retryable => false) \g /dev/null
SELECT pg_temp.refused(format('SELECT job_queue.retry(%s, %s)', :job_id, delay), code, 'a delay of ' || delay)
  FROM (VALUES ('NULL', '22004'), ('$$-1 s$$', '22023'), ('$$1001 years$$', '22023')) bad(delay, code);

-- Transactions.
BEGIN;
SELECT job_queue.retry(:job_id) \g /dev/null
ROLLBACK;
SELECT is(status, 'failed', 'a retry that was rolled back is none') FROM job_queue.jobs WHERE job_id = :job_id;
SELECT is((SELECT array_agg(job_id) FROM job_queue.claim('retry', 10)), ARRAY[:ready::bigint], 'and there is nothing new to claim');

-- Restart forgets the checkpoints.
SELECT lives_ok(format('SELECT job_queue.restart(%s)', :job_id), 'a job is restarted');
SELECT is(job_queue.get_checkpoint(:job_id, 's'), NULL, 'its checkpoints are gone');
SELECT results_eq($$SELECT attempt, coalesce(completed_stages, '{}') FROM job_queue.claim('retry')$$, $$VALUES (1, '{}'::text[])$$,
	'it starts afresh');

-- A retried job has its priority.
SELECT job_queue.create_queue('retry order', max_attempts => 1) \gset
SELECT job_queue.enqueue('retry order', '1', priority => -1) AS first \gset
SELECT lease_token FROM job_queue.claim('retry order') \gset
SELECT job_queue.fail(:first, :lease_token, 'x') \g /dev/null
SELECT job_queue.enqueue('retry order', '2') \g /dev/null
SELECT job_queue.retry(:first) \g /dev/null
SELECT results_eq($$SELECT payload::int FROM job_queue.claim('retry order', 2)$$, 'VALUES (1), (2)',
	'a retried job comes before those with less priority');

SELECT is(job_queue.drop_queue(name, force => true), true, 'cleaned up: ' || name)
  FROM job_queue.queues WHERE name LIKE 'retry%';
SELECT is_empty('SELECT * FROM job_queue.verify()', 'the invariants hold');
SELECT * FROM finish();
