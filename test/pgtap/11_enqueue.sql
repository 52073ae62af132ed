-- Enqueue: what is kept, when it may run, what is refused.
\ir include/setup.sql
SELECT * FROM no_plan();
SELECT job_queue.create_queue('enqueue') \gset

-- Defaults.
SELECT job_queue.enqueue('enqueue') AS first \gset
SELECT job_queue.enqueue('enqueue') AS second \gset
SELECT cmp_ok(:first::bigint, '>', 0::bigint, 'an id is positive');
SELECT cmp_ok(:second::bigint, '>', :first::bigint, 'ids rise');
SELECT results_eq(
	format($$SELECT queue, job_type, status, priority, attempt, max_attempts, payload,
					metadata, unique_key, session_id, user_id, pipeline, worker,
					cancel_requested, run_at, started_at, finished_at, lease_expires_at,
					run_time, result, error_message
			   FROM job_queue.jobs WHERE job_id = %s$$, :first),
	$$VALUES ('enqueue', NULL::text, 'ready', 0, 0, 3, '{}'::jsonb, NULL::jsonb, NULL::text,
			  NULL::bigint, NULL::text, NULL::text, NULL::text, false, NULL::timestamptz,
			  NULL::timestamptz, NULL::timestamptz, NULL::timestamptz, NULL::interval,
			  NULL::jsonb, NULL::text)$$,
	'a job has the defaults of the contract');
SELECT is(enqueued_by::text, current_user::text, 'it knows who enqueued it')
  FROM job_queue.jobs WHERE job_id = :first;
SELECT cmp_ok(job_queue.clock() - enqueued_at, '<', interval '10 s', 'and when')
  FROM job_queue.jobs WHERE job_id = :first;

-- Every option.
SELECT job_queue.define_pipeline('enqueue', '{a,b}') \gset
SELECT job_queue.enqueue('enqueue', '{"n": 1}', 'a type', -5, '1 h', NULL, 8, 'a key', 'error',
	NULL, 'enqueue', '2 h', 'a user', '{"m": 2}') AS job_id \gset
SELECT results_eq(
	format($$SELECT payload, job_type, status, priority, max_attempts, unique_key, pipeline,
					user_id, metadata
			   FROM job_queue.jobs WHERE job_id = %s$$, :job_id),
	$$VALUES ('{"n": 1}'::jsonb, 'a type', 'scheduled', -5, 8, 'a key', 'enqueue', 'a user',
			  '{"m": 2}'::jsonb)$$,
	'every option is kept');
SELECT is(job_timeout, interval '2 h', 'the timeout too') FROM job_queue.job WHERE id = :job_id;
SELECT is(round(pg_temp.seconds(run_at - enqueued_at)), 3600::double precision,
	'a delay counts from now') FROM job_queue.jobs WHERE job_id = :job_id;

-- Payloads come back as they went in.
SELECT job_queue.create_queue('enqueue payload') \gset
CREATE TEMP TABLE payload (n int, value jsonb);
INSERT INTO payload VALUES (1, '{}'), (2, '[]'), (3, 'null'), (4, '"it''s \"quoted\""'),
	(5, '{"line": "one\ntwo", "tab": "\t", "emoji": "🚀", "rtl": "\u200f"}'),
	(6, to_jsonb(repeat('Robert''); DROP TABLE job_queue.job;--', 10))),
	(7, '1e400'), (8, '-0.10'), (9, (repeat('[', 500) || repeat(']', 500))::jsonb),
	(10, to_jsonb(repeat('x', 100000))), (11, 'true');
SELECT job_queue.enqueue('enqueue payload', value) FROM payload ORDER BY n \g /dev/null
SELECT results_eq($$SELECT payload::text FROM job_queue.claim('enqueue payload', 100)$$,
	'SELECT value::text FROM payload ORDER BY n', 'payloads are kept exactly');

-- Transactions.
BEGIN;
SELECT job_queue.enqueue('enqueue payload') AS undone \gset
SELECT is((SELECT status FROM job_queue.jobs WHERE job_id = :undone), 'ready',
	'a job is seen in the transaction that enqueued it');
SELECT is_empty($$SELECT * FROM job_queue.claim('enqueue payload')$$, 'but is not claimed there');
ROLLBACK;
SELECT is_empty(format('SELECT * FROM job_queue.jobs WHERE job_id = %s', :undone), 'a rollback takes it away');
SELECT is_empty($$SELECT * FROM job_queue.claim('enqueue payload')$$, 'and there is nothing to claim');
BEGIN;
SELECT job_queue.enqueue('enqueue payload') AS kept \gset
SAVEPOINT s;
SELECT job_queue.enqueue('enqueue payload') AS undone \gset
SAVEPOINT t;
SELECT job_queue.enqueue('enqueue payload') AS undone \gset
RELEASE t;
ROLLBACK TO s;
SELECT job_queue.enqueue('enqueue payload') AS later \gset
RELEASE s;
COMMIT;
SELECT results_eq($$SELECT job_id FROM job_queue.claim('enqueue payload', 10)$$,
	format('VALUES (%s::bigint), (%s::bigint)', :kept, :later),
	'a rollback to a savepoint takes away what came after it');
SELECT throws_ok($$SELECT job_queue.enqueue('enqueue payload'), 1 / 0$$, '22012', NULL, 'a statement that fails');
SELECT is_empty($$SELECT * FROM job_queue.claim('enqueue payload')$$, 'enqueues nothing');
DO $$
BEGIN
	FOR i IN 1 .. 2000 LOOP
		BEGIN
			PERFORM job_queue.enqueue('enqueue payload');
			IF i % 2 = 0 THEN
				RAISE 'undo';
			END IF;
		EXCEPTION WHEN raise_exception THEN
		END;
	END LOOP;
END
$$;
SELECT is((SELECT count(*)::int FROM job_queue.claim('enqueue payload', 10000)), 1000,
	'of 2000 savepoints with a job each the 1000 that were kept give one');

-- Times.
SELECT job_queue.create_queue('enqueue time', lease => '1 day') \gset
SELECT job_queue.enqueue('enqueue time', run_at => job_queue.clock() - interval '1 day') AS past \gset
SELECT job_queue.enqueue('enqueue time', delay => '0 s') AS zero \gset
SELECT job_queue.enqueue('enqueue time', run_at => '4000-01-01 BC') AS ancient \gset
SELECT job_queue.enqueue('enqueue time', run_at => job_queue.clock() + interval '1 h') AS future \gset
SELECT job_queue.enqueue('enqueue time', delay => '10 min') AS sooner \gset
SELECT results_eq(
	$$SELECT status FROM job_queue.jobs WHERE queue = 'enqueue time' ORDER BY job_id$$,
	$$VALUES ('ready'), ('ready'), ('ready'), ('scheduled'), ('scheduled')$$,
	'a job with a time in the past is ready, with one in the future scheduled');
SELECT results_eq($$SELECT job_id FROM job_queue.claim('enqueue time', 10) ORDER BY job_id$$,
	format('VALUES (%s::bigint), (%s), (%s)', :past, :zero, :ancient),
	'a claim gives what is due');
CALL job_queue.wait_for_jobs('enqueue time', '0 s') \gset
SELECT ok(NOT :'available', 'nothing else is');
SELECT job_queue.advance_clock('10 min') \g /dev/null
CALL job_queue.wait_for_jobs('enqueue time', '10 s') \gset
SELECT ok(:'available', 'a delayed job comes when it is due');
SELECT is((SELECT array_agg(job_id) FROM job_queue.claim('enqueue time', 10)), ARRAY[:sooner::bigint],
	'it and no other');
SELECT job_queue.advance_clock('50 min') \g /dev/null
SELECT pg_temp.wait_until($$SELECT available FROM (SELECT status = 'ready' AS available
	FROM job_queue.jobs WHERE job_id = $$ || :future || ') s') \g /dev/null
CALL job_queue.wait_for_jobs('enqueue time', '10 s') \gset
SELECT is((SELECT array_agg(job_id) FROM job_queue.claim('enqueue time', 10)), ARRAY[:future::bigint],
	'a job with a set time comes at that time');

-- Earlier arrivals wake the timer that sleeps until a later one.
SELECT job_queue.enqueue('enqueue time', delay => '1 h') AS late \gset
SELECT job_queue.enqueue('enqueue time', delay => '50 ms') AS early \gset
CALL job_queue.wait_for_jobs('enqueue time', '10 s') \gset
SELECT is((SELECT array_agg(job_id) FROM job_queue.claim('enqueue time', 10)), ARRAY[:early::bigint],
	'a job due sooner does not wait for one that came first');

-- The user.
SET job_queue.user_id = 'anna';
SELECT job_queue.enqueue('enqueue') AS job_id \gset
SELECT is(user_id, 'anna', 'the user is the one of the setting') FROM job_queue.jobs WHERE job_id = :job_id;
SELECT job_queue.enqueue('enqueue', user_id => 'bert') AS job_id \gset
SELECT is(user_id, 'bert', 'unless one is given') FROM job_queue.jobs WHERE job_id = :job_id;
CREATE TEMP TABLE annas AS
	SELECT job_queue.enqueue_many('enqueue', '{"1", "2"}') AS job_id
	 UNION ALL SELECT job_id FROM job_queue.enqueue_jobs('[{"queue": "enqueue"}]');
SELECT is((SELECT array_agg(user_id) FROM annas JOIN job_queue.jobs USING (job_id)),
	'{anna,anna,anna}', 'enqueue_many and enqueue_jobs take the setting too');
RESET job_queue.user_id;

-- Depth.
SELECT job_queue.create_queue('enqueue depth', max_depth => 3) \gset
SELECT job_queue.enqueue_many('enqueue depth', '{"1", "2", "3"}') \g /dev/null
SELECT pg_temp.refused($$SELECT job_queue.enqueue('enqueue depth')$$, 'JQ005', 'a full queue takes no job');
SELECT pg_temp.refused($$SELECT job_queue.enqueue_jobs('[{"queue": "enqueue depth"}]')$$, 'JQ005',
	'nor from enqueue_jobs');
SELECT job_id, lease_token FROM job_queue.claim('enqueue depth') \gset
SELECT ok(job_queue.enqueue('enqueue depth') > 0, 'a claim makes room');
SELECT pg_temp.refused($$SELECT job_queue.enqueue('enqueue depth')$$, 'JQ005', 'for one job');
SELECT job_id, lease_token FROM job_queue.claim('enqueue depth') \gset
SELECT pg_temp.refused($$SELECT job_queue.enqueue_many('enqueue depth', '{"1", "2"}')$$, 'JQ005',
	'a batch that is too large is refused as a whole');
SELECT ok(job_queue.enqueue('enqueue depth') > 0, 'and leaves the room for others');
SELECT job_queue.alter_queue('enqueue depth', max_depth => 4) \gset
SELECT ok(job_queue.enqueue('enqueue depth') > 0, 'a higher limit makes room');
SELECT job_queue.purge_queue('enqueue depth') \gset
SELECT is((SELECT count(*)::int FROM job_queue.enqueue_many('enqueue depth', '{"1", "2", "3", "4"}')), 4,
	'so does a purge');
BEGIN;
SELECT job_queue.purge_queue('enqueue depth') \gset
ROLLBACK;
SELECT pg_temp.refused($$SELECT job_queue.enqueue('enqueue depth')$$, 'JQ005', 'unless it is rolled back');

-- Size.
SET job_queue.max_payload_bytes = '10kB';
SELECT ok(job_queue.enqueue('enqueue', to_jsonb(repeat('x', 9000))) > 0, 'a payload below the limit is taken');
SELECT pg_temp.refused(format('SELECT job_queue.enqueue(%L, to_jsonb(repeat(%L, 11000)))', 'enqueue', 'x'),
	'JQ007', 'one above it is not');
SELECT pg_temp.refused(format('SELECT job_queue.enqueue_many(%L, ARRAY[%L, to_jsonb(repeat(%L, 11000))])',
	'enqueue', '1', 'x'), 'JQ007', 'nor in a batch');
SELECT pg_temp.refused(format('SELECT job_queue.enqueue_jobs(jsonb_build_array(
	jsonb_build_object(%L, %L), jsonb_build_object(%L, %L, %L, repeat(%L, 11000))))',
	'queue', 'enqueue', 'queue', 'enqueue', 'payload', 'x'), 'JQ007', 'nor in a list of jobs');
SELECT pg_temp.refused(format('SELECT job_queue.enqueue(%L, metadata => to_jsonb(repeat(%L, 11000)))', 'enqueue', 'x'),
	'JQ007', 'nor as metadata');
RESET job_queue.max_payload_bytes;
SELECT pg_temp.refused(format('SELECT job_queue.enqueue(%L, to_jsonb(repeat(%L, 1100000)))', 'enqueue', 'x'),
	'JQ007', 'the limit is 1 MB');
SELECT ok(job_queue.enqueue('enqueue', to_jsonb(repeat('x', 1000000))) > 0, 'and not less');

SELECT is(job_queue.drop_queue(name, force => true), true, 'cleaned up: ' || name)
  FROM job_queue.queues WHERE name LIKE 'enqueue%';
SELECT is_empty('SELECT * FROM job_queue.verify()', 'the invariants hold');
SELECT * FROM finish();
