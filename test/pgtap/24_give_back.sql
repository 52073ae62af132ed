-- Snooze and release: the job waits again, and no attempt was used.
\ir include/setup.sql
SELECT * FROM no_plan();
SELECT job_queue.create_queue('back', max_attempts => 2, backoff_base => '0') \gset

-- Snooze.
SELECT job_queue.enqueue('back', '1', unique_key => 'k') AS job_id \gset
SELECT lease_token, attempt FROM job_queue.claim('back') \gset
SELECT is(:attempt, 1, 'the first attempt');
SELECT lives_ok(format('SELECT job_queue.snooze(%s, %s, %L, %L)', :job_id, :lease_token, '20 s', 'not ready yet'), 'is snoozed');
SELECT results_eq(
	format($$SELECT status, attempt, worker, lease_expires_at, message,
					round(pg_temp.seconds(run_at - job_queue.clock()))::int
			   FROM job_queue.jobs WHERE job_id = %s$$, :job_id),
	$$VALUES ('scheduled', 0, NULL::text, NULL::timestamptz, 'not ready yet', 20)$$,
	'it waits for its time with no attempt used, and says why');
SELECT is_empty(format('SELECT * FROM job_queue.attempts WHERE job_id = %s', :job_id), 'no attempt is recorded');
SELECT is_empty($$SELECT * FROM job_queue.claim('back')$$, 'it is not claimed before');
SELECT pg_temp.refused(format('SELECT job_queue.snooze(%s, %s, %L)', :job_id, :lease_token, '1 s'), 'JQ001', 'snoozing twice');
SELECT job_queue.advance_clock('20 s') \g /dev/null
CALL job_queue.wait_for_jobs('back', '10 s') \gset
SELECT lease_token, attempt FROM job_queue.claim('back') \gset
SELECT is(:attempt, 1, 'then it is claimed as the first attempt again');

-- More often than there are attempts, and interleaved with failures.
SELECT job_queue.enqueue('back', '2', priority => -1) \g /dev/null
CREATE PROCEDURE pg_temp.polls(times int, reset boolean, INOUT attempts int[] DEFAULT NULL)
LANGUAGE plpgsql AS $$
DECLARE
	j job_queue.claimed_job;
BEGIN
	attempts := '{}';
	FOR n IN 1 .. times LOOP
		LOOP
			j := NULL;
			SELECT * INTO j FROM job_queue.claim('back');
			EXIT WHEN j.job_id IS NOT NULL;
			COMMIT;
			PERFORM pg_sleep(0.002);
		END LOOP;
		attempts := attempts || j.attempt;
		PERFORM job_queue.snooze(j.job_id, j.lease_token, '0 s', reset_attempts => reset);
		COMMIT;
	END LOOP;
END
$$;
CALL pg_temp.polls(100, false) \gset
SELECT is((SELECT array_agg(DISTINCT a) FROM unnest(:'attempts'::int[]) a), '{1}', 'a hundred polls use no attempt');
CALL job_queue.wait_for_jobs('back', '10 s') \gset
SELECT job_id AS polled, lease_token AS token FROM job_queue.claim('back') \gset
SELECT is(job_queue.fail(:polled, :token, 'x', retry_in => '0 s'), 'scheduled', 'a failure uses one');
CALL pg_temp.polls(10, false) \gset
SELECT is((SELECT array_agg(DISTINCT a) FROM unnest(:'attempts'::int[]) a), '{2}', 'and ten polls after it no other');
CALL pg_temp.polls(3, true) \gset
SELECT is(:'attempts'::int[], '{2,1,1}', 'reset_attempts lets them start anew');
CALL job_queue.wait_for_jobs('back', '10 s') \gset
SELECT lease_token AS token FROM job_queue.claim('back') \gset
SELECT is(job_queue.fail(:polled, :token, 'x', retry_in => '0 s'), 'scheduled', 'so that a failure is the first again');
SELECT job_queue.cancel(:polled) \g /dev/null

-- Release.
SELECT lives_ok(format('SELECT job_queue.release(%s, %s)', :job_id, :lease_token), 'a job is released');
SELECT results_eq(format('SELECT status, attempt, worker, lease_expires_at, unique_key FROM job_queue.jobs WHERE job_id = %s', :job_id),
	$$VALUES ('ready', 0, NULL::text, NULL::timestamptz, 'k')$$, 'it is ready at once, with no attempt used');
SELECT pg_temp.refused(format('SELECT job_queue.release(%s, %s)', :job_id, :lease_token), 'JQ001', 'releasing twice');
SELECT job_queue.enqueue('back', '3') \g /dev/null
SELECT results_eq($$SELECT payload::int, attempt FROM job_queue.claim('back')$$, 'VALUES (1, 1)',
	'it comes before those that came after it');
SELECT is_empty(format('SELECT * FROM job_queue.attempts WHERE job_id = %s', :job_id), 'no attempt is recorded');

-- Transactions.
SELECT lease_token FROM job_queue.job WHERE id = :job_id \gset
BEGIN;
SELECT job_queue.release(:job_id, :lease_token) \g /dev/null
ROLLBACK;
SELECT is(job_queue.heartbeat(:job_id, :lease_token), 'held', 'a release that was rolled back is none');
BEGIN;
SELECT job_queue.snooze(:job_id, :lease_token, '0 s') \g /dev/null
ROLLBACK;
SELECT is(job_queue.heartbeat(:job_id, :lease_token), 'held', 'nor is a snooze');
BEGIN;
SELECT job_queue.release(:job_id, :lease_token) \g /dev/null
SELECT is_empty($$SELECT * FROM job_queue.claim('back', 10) WHERE payload = '1'$$,
	'a released job is claimable once the release is committed');
COMMIT;
SELECT is((SELECT job_id FROM job_queue.claim('back')), :job_id::bigint, 'then it is');
SELECT lease_token FROM job_queue.job WHERE id = :job_id \gset
SELECT pg_temp.refused(format('SELECT job_queue.snooze(%s, %s, %s)', :job_id, :lease_token, arguments), code, arguments)
  FROM (VALUES
	('NULL', '22004'),
	('$$-1 s$$', '22023'),
	('$$1001 years$$', '22023'),
	('$$1 s$$, reset_attempts => NULL', '22004')) bad(arguments, code);
SELECT ok(job_queue.complete(:job_id, :lease_token), 'the job was not touched by any of them');

-- Released and claimed again in a transaction that is rolled back: the lease is
-- the first one, and somebody watches it.
SELECT job_queue.enqueue('back', '"again"') AS job_id \gset
SELECT lease_token FROM job_queue.claim('back') \gset
BEGIN;
SELECT job_queue.release(:job_id, :lease_token) \g /dev/null
COMMIT;
SELECT lease_token FROM job_queue.claim('back') \gset
BEGIN;
SAVEPOINT s;
SELECT job_queue.release(:job_id, :lease_token) \g /dev/null
SELECT 1 FROM job_queue.claim('back') \g /dev/null
ROLLBACK;
SELECT is(job_queue.heartbeat(:job_id, :lease_token), 'held', 'the first lease is held');
SELECT job_queue.advance_clock('6 min') \g /dev/null
SELECT pg_temp.wait_until(format('SELECT status <> %L FROM job_queue.get_job(%s)', 'running', :job_id)) \g /dev/null
SELECT pass('and its end is noticed');

SELECT is(job_queue.drop_queue('back', force => true), true, 'cleaned up');
SELECT is_empty('SELECT * FROM job_queue.verify()', 'the invariants hold');
SELECT * FROM finish();
