-- Recovery: a job whose worker vanished is claimable again, until its attempts are used up.
\ir include/setup.sql
SELECT * FROM no_plan();
SELECT job_queue.create_queue('recover', lease => '5 min', max_attempts => 3) \gset

SELECT job_queue.enqueue('recover', '{"n": 1}') AS job_id \gset
SELECT lease_token FROM job_queue.claim('recover', worker => 'w') \gset
SELECT ok(NOT job_queue.is_job_stale(:job_id), 'a fresh lease is not stale');
SELECT is_empty($$SELECT * FROM job_queue.recover_stalled('recover')$$, 'there is nothing to recover');
SELECT job_queue.advance_clock('299 s') \g /dev/null
SELECT is_empty($$SELECT * FROM job_queue.recover_stalled('recover')$$, 'not before the end of the lease');
SELECT is(status, 'running', 'the job runs') FROM job_queue.jobs WHERE job_id = :job_id;

-- By itself, within a second.
SELECT job_queue.advance_clock('2 s') \g /dev/null
SELECT clock_timestamp() AS expired \gset
SELECT pg_temp.wait_until(format('SELECT status <> %L FROM job_queue.get_job(%s)', 'running', :job_id)) \g /dev/null
SELECT cmp_ok(clock_timestamp() - :'expired', '<', interval '1 s', 'the end of a lease is noticed within a second');
SELECT results_eq(format('SELECT attempt, worker, lease_expires_at, finished_at FROM job_queue.jobs WHERE job_id = %s', :job_id),
	'VALUES (1, NULL::text, NULL::timestamptz, NULL::timestamptz)', 'the job waits again, one attempt is used');
SELECT results_eq(format('SELECT attempt, worker, error_code IS NOT NULL, error_message <> %L, retryable FROM job_queue.attempts WHERE job_id = %s', '', :job_id),
	$$VALUES (1, 'w', true, true, true)$$, 'and recorded');
SELECT pg_temp.refused(format('SELECT job_queue.%s(%s, %s)', verb, :job_id, :lease_token), 'JQ001', verb || ' by the worker that vanished')
  FROM unnest('{heartbeat,complete,release,assert_lease}'::text[]) verb;
CALL job_queue.wait_for_jobs('recover', '10 s') \gset
SELECT ok(:'available', 'the job is available');
SELECT attempt, lease_token AS second FROM job_queue.claim('recover') \gset
SELECT is(:attempt, 2, 'as its second attempt');
SELECT isnt(:second::bigint, :lease_token::bigint, 'with another token');

-- A job that kills its workers ends as failed.
SELECT job_queue.advance_clock('301 s') \g /dev/null
SELECT pg_temp.wait_until(format('SELECT status <> %L FROM job_queue.get_job(%s)', 'running', :job_id)) \g /dev/null
CALL job_queue.wait_for_jobs('recover', '10 s') \gset
SELECT attempt, lease_token AS third FROM job_queue.claim('recover') \gset
SELECT is(:attempt, 3, 'the third attempt');
SELECT job_queue.advance_clock('301 s') \g /dev/null
SELECT pg_temp.wait_until(format('SELECT status <> %L FROM job_queue.get_job(%s)', 'running', :job_id)) \g /dev/null
SELECT results_eq(format('SELECT status, attempt, error_code IS NOT NULL, error_message <> %L FROM job_queue.jobs WHERE job_id = %s', '', :job_id),
	$$VALUES ('failed', 3, true, true)$$, 'is the last');
SELECT is((SELECT count(*)::int FROM job_queue.attempts WHERE job_id = :job_id), 3, 'all three are recorded');
SELECT job_queue.advance_clock('1 h') \g /dev/null
SELECT job_queue.run_maintenance() \g /dev/null
SELECT is_empty($$SELECT * FROM job_queue.claim('recover')$$, 'it does not come again');

-- recover_stalled does what the worker does: while that one is held up, we do it.
SELECT job_queue.create_queue('recover hand', max_attempts => 1) \gset
SELECT job_queue.enqueue_many('recover', '{"1", "2"}') \g /dev/null
SELECT job_queue.enqueue('recover hand') AS poison \gset
SELECT array_agg(job_id ORDER BY job_id) AS expired FROM job_queue.claim('recover', 2) \gset
SELECT lease_token AS poison_token FROM job_queue.claim('recover hand') \gset
SELECT job_queue.enqueue('recover') AS kept \gset
SELECT lease_token AS kept_token FROM job_queue.claim('recover', lease => '1 h') \gset
SELECT job_queue.fault_arm('maintenance-reap', 'wait') \g /dev/null
SELECT job_queue.advance_clock('301 s') \g /dev/null
SELECT pg_temp.wait_until($$SELECT bool_or(waiting > 0) FROM job_queue.fault_points() WHERE name = 'maintenance-reap'$$) \g /dev/null
SELECT results_eq($$SELECT job_id, new_status FROM job_queue.recover_stalled('recover') ORDER BY job_id$$,
	format($$SELECT unnest(%L::bigint[]), 'ready'$$, :'expired'), 'recover_stalled recovers a queue''s and tells');
SELECT results_eq($$SELECT job_id, new_status FROM job_queue.recover_stalled()$$, format($$VALUES (%s::bigint, 'failed')$$, :poison),
	'or that of all queues');
SELECT is_empty($$SELECT * FROM job_queue.recover_stalled()$$, 'once');
SELECT job_queue.fault_disarm('maintenance-reap') \g /dev/null
SELECT is(job_queue.heartbeat(:kept, :kept_token), 'held', 'a valid lease is left alone');
SELECT pg_temp.refused($$SELECT * FROM job_queue.recover_stalled('recover none')$$, 'JQ003', 'a queue that does not exist');

-- Timeouts: an attempt may not run longer, however alive its worker is.
SELECT job_queue.create_queue('recover timeout', lease => '10 min', job_timeout => '30 min', max_attempts => 2,
	backoff_base => '0', backoff_jitter => 0) \gset
SELECT job_queue.enqueue('recover timeout') AS queue_job \gset
SELECT job_queue.enqueue('recover timeout', job_timeout => '5 min') AS own_job \gset
CREATE TEMP TABLE t AS SELECT job_id, lease_token, job_timeout FROM job_queue.claim('recover timeout', 2);
SELECT results_eq('SELECT job_timeout FROM t ORDER BY job_id', $$VALUES (interval '30 min'), ('5 min')$$,
	'a worker is told how long it may run');
SELECT job_queue.advance_clock('4 min') \g /dev/null
SELECT is((SELECT count(*)::int FROM t WHERE job_queue.heartbeat(job_id, lease_token) = 'held'), 2, 'four minutes are fine');
SELECT job_queue.advance_clock('90 s') \g /dev/null
SELECT pg_temp.wait_until(format('SELECT status <> %L FROM job_queue.get_job(%s)', 'running', :own_job)) \g /dev/null
SELECT pass('a job with a timeout of five minutes is taken away after five');
SELECT throws_ok(format('SELECT job_queue.heartbeat(job_id, lease_token) FROM t WHERE job_id = %s', :own_job), 'JQ001', NULL,
	'and its worker is told so');
SELECT is(job_queue.heartbeat(job_id, lease_token), 'held', 'the other one is not') FROM t WHERE job_id = :queue_job;
CREATE FUNCTION pg_temp.beat_for(minutes int) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
	FOR i IN 1 .. minutes LOOP
		PERFORM job_queue.advance_clock('1 min');
		PERFORM job_queue.heartbeat(job_id, lease_token) FROM t JOIN job_queue.jobs j USING (job_id) WHERE j.status = 'running';
	END LOOP;
END
$$;
SELECT pg_temp.beat_for(24) \g /dev/null
SELECT is(status, 'running', 'beating all the time it runs for 29 minutes') FROM job_queue.get_job(:queue_job);
SELECT job_queue.advance_clock('31 s') \g /dev/null
SELECT pg_temp.wait_until(format('SELECT status <> %L FROM job_queue.get_job(%s)', 'running', :queue_job)) \g /dev/null
SELECT pass('and not for more than 30');
SELECT is((SELECT count(DISTINCT error_code)::int FROM job_queue.attempts WHERE job_id IN (:queue_job, :own_job)), 1,
	'the attempts say why');
SELECT isnt((SELECT min(error_code) FROM job_queue.attempts WHERE job_id = :own_job),
	(SELECT min(error_code) FROM job_queue.attempts WHERE job_id = :poison), 'a timeout is told from a lost lease');

-- Stalled and not yet recovered: the view knows, and who still holds the token may finish.
SELECT job_queue.create_queue('recover late') \gset
SELECT job_queue.enqueue('recover late') AS late \gset
SELECT lease_token AS late_token FROM job_queue.claim('recover late') \gset
SELECT job_queue.fault_arm('reap-before', 'wait') \g /dev/null
SELECT job_queue.advance_clock('301 s') \g /dev/null
SELECT pg_temp.wait_until($$SELECT bool_or(waiting > 0) FROM job_queue.fault_points() WHERE name = 'reap-before'$$) \g /dev/null
SELECT ok(job_queue.is_job_stale(:late), 'after the end of its lease a job is stale');
SELECT is((SELECT count(*)::int FROM job_queue.stalled_jobs WHERE job_id = :late), 1, 'and in view stalled_jobs');
SELECT ok(job_queue.complete(:late, :late_token), 'a late completion counts as long as nobody else has the job');
SELECT job_queue.fault_disarm('reap-before') \g /dev/null
SELECT job_queue.run_maintenance() \g /dev/null
SELECT is(status, 'completed', 'and recovery does not undo it') FROM job_queue.jobs WHERE job_id = :late;
SELECT ok(NOT job_queue.is_job_stale(:late), 'a finished job is not stale');

-- In real time, with a maintenance worker that sleeps: the claim must tell it.
SELECT job_queue.create_queue('recover real', lease => '200 ms') \gset
SELECT pg_temp.wait_until($$SELECT state = 'idle' AND wait_event_type = 'Extension' FROM pg_stat_activity
	WHERE backend_type = 'job_queue maintenance' AND datname = current_database()$$) \g /dev/null
SELECT job_queue.enqueue('recover real') AS real \gset
SELECT lease_expires_at AS real_end FROM job_queue.claim('recover real') \gset
SELECT pg_temp.wait_until(format('SELECT status <> %L FROM job_queue.get_job(%s)', 'running', :real)) \g /dev/null
SELECT cmp_ok(job_queue.clock() - :'real_end', '<', interval '1 s', 'a sleeping worker notices the end of a lease in time');

-- Past its timeout an attempt has no lease, whether or not it was taken away yet.
SELECT job_queue.create_queue('recover deadline', lease => '1 h', job_timeout => '5 min') \gset
SELECT job_queue.enqueue('recover deadline') AS deadline \gset
SELECT lease_token AS deadline_token FROM job_queue.claim('recover deadline') \gset
SELECT job_queue.fault_arm('maintenance-reap', 'wait') \g /dev/null
SELECT job_queue.advance_clock('301 s') \g /dev/null
SELECT throws_ok(format('SELECT job_queue.%s', call), 'JQ001', NULL, 'after its timeout: ' || call)
  FROM unnest(ARRAY[format('heartbeat(%s, %s)', :deadline, :deadline_token),
					format('heartbeat(%s, %s, %L)', :deadline, :deadline_token, '2 h'),
					format('report_progress(%s, %s, 1)', :deadline, :deadline_token)]) call;
SELECT job_queue.fault_disarm('maintenance-reap') \g /dev/null

-- Many at once.
SELECT job_queue.create_queue('recover many', max_attempts => 2, backoff_base => '0', backoff_jitter => 0) \gset
SELECT job_queue.enqueue_many('recover many', array_fill('{}'::jsonb, '{3000}')) \g /dev/null
SELECT 1 FROM job_queue.claim('recover many', 3000) \g /dev/null
SELECT job_queue.advance_clock('301 s') \g /dev/null
SELECT pg_temp.wait_until($$SELECT count(*) = 3000 FROM job_queue.jobs WHERE queue = 'recover many' AND status = 'ready'$$) \g /dev/null
SELECT is((SELECT count(DISTINCT job_id)::int FROM job_queue.claim('recover many', 10000) WHERE attempt = 2), 3000,
	'three thousand lost leases are recovered');

SELECT is(job_queue.drop_queue(name, force => true), true, 'cleaned up: ' || name)
  FROM job_queue.queues WHERE name LIKE 'recover%';
SELECT is_empty('SELECT * FROM job_queue.verify()', 'the invariants hold');
SELECT * FROM finish();
