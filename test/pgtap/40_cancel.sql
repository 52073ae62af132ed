-- Cancel: at once when the job waits, by asking its worker when it runs.
\ir include/setup.sql
SELECT * FROM no_plan();
SELECT job_queue.create_queue('cancel', backoff_base => '0', backoff_jitter => 0) \gset

-- Waiting jobs.
SELECT job_queue.enqueue('cancel') AS ready \gset
SELECT job_queue.enqueue('cancel', delay => '1 h') AS scheduled \gset
SELECT is(job_queue.cancel(:ready, 'not needed'), 'cancelled', 'a ready job is cancelled');
SELECT is(job_queue.cancel(:scheduled), 'cancelled', 'so is a scheduled one');
SELECT results_eq(
	format($$SELECT status, attempt, started_at, finished_at IS NOT NULL FROM job_queue.jobs WHERE job_id IN (%s, %s)$$,
		   :ready, :scheduled),
	$$VALUES ('cancelled', 0, NULL::timestamptz, true), ('cancelled', 0, NULL, true)$$, 'both stay visible');
SELECT is(job_queue.cancel(:ready), 'finished', 'there is nothing to cancel twice');
SELECT is((SELECT count(*)::int FROM job_queue.jobs j WHERE job_id = :ready AND j::text LIKE '%not needed%'), 1,
	'the reason can be read');
SELECT is_empty($$SELECT * FROM job_queue.claim('cancel')$$, 'a cancelled job is not claimed');
SELECT job_queue.advance_clock('1 h') \g /dev/null
SELECT job_queue.run_maintenance() \g /dev/null
SELECT is_empty($$SELECT * FROM job_queue.claim('cancel')$$, 'not even when its time has come');

-- Running jobs: the worker is told at each of its calls, and ends the job as it likes.
CREATE FUNCTION pg_temp.running(OUT job_id bigint, OUT lease_token bigint)
LANGUAGE plpgsql AS $$
BEGIN
	SELECT c.job_id, c.lease_token INTO STRICT job_id, lease_token FROM job_queue.claim('cancel') c;
	PERFORM job_queue.cancel(job_id, 'changed my mind');
END
$$;
SELECT job_queue.enqueue('cancel') AS job_id \gset
SELECT lease_token FROM job_queue.claim('cancel') \gset
SELECT is(job_queue.heartbeat(:job_id, :lease_token), 'held', 'a running job');
SELECT is(job_queue.cancel(:job_id, 'changed my mind'), 'cancel_requested', 'is asked to stop');
SELECT is(job_queue.cancel(:job_id), 'cancel_requested', 'as often as you like');
SELECT results_eq(format('SELECT status, cancel_requested FROM job_queue.jobs WHERE job_id = %s', :job_id),
	$$VALUES ('running', true)$$, 'everybody can see that');
SELECT is(job_queue.heartbeat(:job_id, :lease_token), 'cancel_requested', 'its worker is told by heartbeat');
SELECT is((SELECT status FROM job_queue.heartbeat_many(ARRAY[:job_id::bigint], ARRAY[:lease_token::bigint])), 'cancel_requested',
	'by heartbeat_many');
SELECT is(job_queue.report_progress(:job_id, :lease_token, 1), 'cancel_requested', 'by report_progress');
SELECT is(job_queue.checkpoint(:job_id, :lease_token, 's'), 'cancel_requested', 'and by checkpoint');
SELECT lives_ok(format('SELECT job_queue.assert_lease(%s, %s)', :job_id, :lease_token), 'it still has its lease');
SELECT is(job_queue.fail(:job_id, :lease_token, 'stopped'), 'cancelled', 'a worker that stops fails the job');
SELECT is(status, 'cancelled', 'which ends as cancelled, however many attempts are left') FROM job_queue.jobs WHERE job_id = :job_id;
SELECT is(job_queue.cancel(:job_id), 'finished', 'and is finished');

SELECT job_queue.enqueue('cancel') \g /dev/null
SELECT * FROM pg_temp.running() \gset
SELECT ok(job_queue.complete(:job_id, :lease_token, '1'), 'a worker may be done already');
SELECT results_eq(format('SELECT status, result FROM job_queue.jobs WHERE job_id = %s', :job_id), $$VALUES ('completed', '1'::jsonb)$$,
	'then the job is completed');
SELECT job_queue.enqueue('cancel') \g /dev/null
SELECT * FROM pg_temp.running() \gset
SELECT job_queue.release(:job_id, :lease_token) \g /dev/null
SELECT is(status, 'cancelled', 'a job that is released is not run again') FROM job_queue.jobs WHERE job_id = :job_id;
SELECT job_queue.enqueue('cancel') \g /dev/null
SELECT * FROM pg_temp.running() \gset
SELECT job_queue.snooze(:job_id, :lease_token, '1 s') \g /dev/null
SELECT is(status, 'cancelled', 'nor one that is snoozed') FROM job_queue.jobs WHERE job_id = :job_id;
SELECT job_queue.enqueue('cancel') \g /dev/null
SELECT * FROM pg_temp.running() \gset
SELECT job_queue.advance_clock('10 min') \g /dev/null
SELECT pg_temp.wait_until(format('SELECT status <> %L FROM job_queue.get_job(%s)', 'running', :job_id)) \g /dev/null
SELECT is(status, 'cancelled', 'nor one whose worker vanished') FROM job_queue.jobs WHERE job_id = :job_id;
SELECT is_empty($$SELECT * FROM job_queue.claim('cancel')$$, 'none of them is claimed');

-- Finished and unknown jobs.
SELECT job_queue.enqueue('cancel') AS job_id \gset
SELECT lease_token FROM job_queue.claim('cancel') \gset
SELECT job_queue.complete(:job_id, :lease_token) \g /dev/null
SELECT is(job_queue.cancel(:job_id), 'finished', 'a completed job is finished');
SELECT is(status, 'completed', 'and stays completed') FROM job_queue.jobs WHERE job_id = :job_id;
SELECT pg_temp.refused('SELECT job_queue.cancel(0)', 'JQ006', 'a job that does not exist');
SELECT pg_temp.refused('SELECT job_queue.cancel(9223372036854775807)', 'JQ006', 'nor will so soon');
SELECT pg_temp.refused('SELECT job_queue.cancel(NULL)', '22004', 'no job');

-- Transactions.
SELECT job_queue.enqueue('cancel', '"back"') AS job_id \gset
BEGIN;
SELECT job_queue.cancel(:job_id) \g /dev/null
ROLLBACK;
SELECT is(status, 'ready', 'a cancellation that was rolled back is none') FROM job_queue.jobs WHERE job_id = :job_id;
BEGIN;
SAVEPOINT s;
SELECT job_queue.cancel(:job_id) \g /dev/null
ROLLBACK TO s;
COMMIT;
SELECT job_id, lease_token FROM job_queue.claim('cancel') \gset
SELECT is(payload, '"back"', 'the job is claimed') FROM job_queue.jobs WHERE job_id = :job_id;
BEGIN;
SELECT job_queue.cancel(:job_id) \g /dev/null
ROLLBACK;
SELECT is(job_queue.heartbeat(:job_id, :lease_token), 'held', 'the same for a running job');
BEGIN;
SELECT job_queue.enqueue('cancel') AS within \gset
SELECT is(job_queue.cancel(:within), 'cancelled', 'a job can be cancelled in the transaction that enqueued it');
COMMIT;
SELECT is_empty($$SELECT * FROM job_queue.claim('cancel')$$, 'and is never claimed');

SELECT is(job_queue.drop_queue('cancel', force => true), true, 'cleaned up');
SELECT is_empty('SELECT * FROM job_queue.verify()', 'the invariants hold');
SELECT * FROM finish();
