-- Claim: which job, how many, with what lease.
\ir include/setup.sql
SELECT * FROM no_plan();
SELECT job_queue.create_queue('claim', lease => '3 min') \gset

SELECT is_empty($$SELECT * FROM job_queue.claim('claim')$$, 'an empty queue gives nothing');
CALL job_queue.wait_for_jobs('claim', '0 s') \gset
SELECT ok(NOT :'available', 'and has nothing to wait for');

-- All that a worker is told.
SET job_queue.user_id = 'anna';
SELECT job_queue.enqueue('claim', '{"n": 1}', 'a type', -5, max_attempts => 4,
	job_timeout => '1 h', metadata => '{"m": 2}') AS enqueued \gset
RESET job_queue.user_id;
CALL job_queue.wait_for_jobs('claim', '0 s') \gset
SELECT ok(:'available', 'a job is available');
CREATE TEMP TABLE told AS SELECT * FROM job_queue.claim('claim');
SELECT job_id, lease_token, lease_expires_at FROM told \gset
SELECT results_eq(
	$$SELECT job_id, queue, job_type, payload, metadata, priority, attempt, max_attempts, user_id, job_timeout FROM told$$,
	format($$VALUES (%s::bigint, 'claim', 'a type', '{"n": 1}'::jsonb, '{"m": 2}'::jsonb, -5, 1, 4, 'anna', interval '1 h')$$, :enqueued),
	'a worker is told everything about the job');
SELECT results_eq(
	$$SELECT session_id, pipeline, stage, coalesce(completed_stages, '{}'), coalesce(checkpoint, '{}') FROM told$$,
	$$VALUES (NULL::bigint, NULL::text, NULL::text, '{}'::text[], '{}'::jsonb)$$, 'and what it does not have is null');
SELECT is(told.enqueued_at, j.enqueued_at, 'it is told when it was enqueued')
  FROM told JOIN job_queue.jobs j USING (job_id);
SELECT ok(:lease_token > 0 AND :lease_token < 9007199254740992, 'a token is positive and below 2^53');
SELECT is(round(pg_temp.seconds(:'lease_expires_at'::timestamptz - job_queue.clock())), 180::double precision,
	'the lease is the one of the queue');
SELECT results_eq(
	format($$SELECT status, attempt, worker, lease_expires_at, finished_at FROM job_queue.jobs WHERE job_id = %s$$, :job_id),
	format($$VALUES ('running', 1, current_setting('application_name'), %L::timestamptz, NULL::timestamptz)$$,
		   :'lease_expires_at'),
	'everybody sees that the job is running, where and until when');
SELECT ok(started_at >= enqueued_at AND run_time >= interval '0' AND run_time < interval '10 s', 'and since when')
  FROM job_queue.jobs WHERE job_id = :job_id;
SELECT is_empty($$SELECT * FROM job_queue.claim('claim')$$, 'nobody else gets it');

SELECT job_queue.enqueue('claim') \g /dev/null
SELECT job_id FROM job_queue.claim('claim', worker => 'it''s me', lease => '90 s') \gset
SELECT results_eq(
	format($$SELECT worker, round(pg_temp.seconds(lease_expires_at - job_queue.clock()))::int
			   FROM job_queue.jobs WHERE job_id = %s$$, :job_id),
	$$VALUES ('it''s me', 90)$$, 'a claim may name the worker and the lease');

-- Order.
SELECT job_queue.create_queue('claim order') \gset
SELECT job_queue.enqueue('claim order', to_jsonb(n), priority => p)
  FROM (VALUES (1, 0), (2, 5), (3, -5), (4, 32767), (5, 0), (6, -32768), (7, -5)) job(n, p) \g /dev/null
SELECT results_eq($$SELECT payload::int, priority FROM job_queue.claim('claim order', 100)$$,
	'VALUES (6, -32768), (3, -5), (7, -5), (1, 0), (5, 0), (2, 5), (4, 32767)',
	'lower numbers first, and first come first served');
SELECT job_queue.enqueue('claim order', to_jsonb(n), priority => -n) FROM generate_series(1, 5) n \g /dev/null
SELECT is((SELECT count(DISTINCT job_id)::int FROM generate_series(1, 5), job_queue.claim('claim order')), 1,
	'a claim in FROM is called once');
SELECT job_queue.enqueue('claim order', to_jsonb(n), priority => n % 3) FROM generate_series(1, 300) n \g /dev/null
CREATE TEMP TABLE claimed (position serial, job_id bigint, priority int, lease_token bigint);
DO $$
BEGIN
	FOR i IN 1 .. 320 LOOP
		INSERT INTO claimed (job_id, priority, lease_token)
		SELECT job_id, priority, lease_token FROM job_queue.claim('claim order');
	END LOOP;
END
$$;
SELECT is((SELECT count(DISTINCT job_id)::int FROM claimed), 304, 'one at a time gives each job once');
SELECT is_empty($$SELECT * FROM (SELECT priority, job_id, lag((priority, job_id)) OVER (ORDER BY position) AS before
									  FROM claimed) c WHERE (priority, job_id) < before$$,
	'in the same order');
SELECT is((SELECT count(DISTINCT lease_token)::int FROM claimed), 304, 'every token is another');
SELECT ok((SELECT count(*) FROM claimed WHERE lease_token > 4503599627370496) BETWEEN 90 AND 214,
	'and drawn from the whole range');

-- How many.
SELECT job_queue.create_queue('claim many', lease => '1 day') \gset
SELECT job_queue.enqueue_many('claim many', array_fill('{}'::jsonb, '{10020}')) \g /dev/null
SELECT is((SELECT count(*)::int FROM job_queue.claim('claim many', 20)), 20, 'as many as asked for');
SELECT is((SELECT count(*)::int FROM job_queue.claim('claim many', 10000)), 10000, 'ten thousand are allowed');
SELECT job_queue.enqueue_many('claim many', '{"1", "2", "3"}') \g /dev/null
SELECT is((SELECT count(*)::int FROM job_queue.claim('claim many', 100)), 3, 'as many as there are');
SELECT job_queue.enqueue_many('claim many', array_fill('{}'::jsonb, '{20}')) \g /dev/null
SET enable_hashjoin = off;
SET enable_mergejoin = off;
SET enable_material = off;
SET enable_hashagg = off;
SET enable_sort = off;
SET enable_indexscan = off;
SET enable_seqscan = off;
SELECT is((SELECT count(*)::int FROM job_queue.claim('claim many', 5)), 5, 'whatever the planner is told');
SELECT is((SELECT count(*)::int FROM job_queue.jobs WHERE queue = 'claim many' AND status = 'ready'), 15,
	'and the others are left');
RESET ALL;
SET client_min_messages = warning;
SELECT job_queue.purge_queue('claim many') \g /dev/null

-- Queues do not mix.
SELECT job_queue.enqueue('claim', '"mine"') \g /dev/null
SELECT job_queue.enqueue('claim many', '"other"') \g /dev/null
SELECT results_eq($$SELECT queue, payload FROM job_queue.claim('claim', 10)$$, $$VALUES ('claim', '"mine"'::jsonb)$$,
	'a claim takes from its queue');
SELECT results_eq($$SELECT queue, payload FROM job_queue.claim('claim many', 10)$$,
	$$VALUES ('claim many', '"other"'::jsonb)$$, 'and from no other');

-- Transactions.
SELECT job_queue.create_queue('claim back', lease => '1 day') \gset
SELECT job_queue.enqueue('claim back', to_jsonb(n)) FROM generate_series(1, 4) n \g /dev/null
BEGIN;
SELECT job_id AS taken, lease_token AS lost FROM job_queue.claim('claim back') \gset
ROLLBACK;
SELECT throws_ok(format('SELECT job_queue.heartbeat(%s, %s)', :taken, :lost), 'JQ001', NULL,
	'a token of a claim that was rolled back is worth nothing');
SELECT results_eq(format('SELECT status, attempt, worker, lease_expires_at FROM job_queue.jobs WHERE job_id = %s', :taken),
	$$VALUES ('ready', 0, NULL::text, NULL::timestamptz)$$, 'the job is as it was');
SELECT results_eq($$SELECT payload::int, attempt FROM job_queue.claim('claim back')$$, 'VALUES (1, 1)',
	'it is first again, with no attempt used');
BEGIN;
SELECT lease_token AS two FROM job_queue.claim('claim back') \gset
SAVEPOINT s;
SELECT job_id AS three, lease_token AS three_token FROM job_queue.claim('claim back') \gset
SAVEPOINT t;
SELECT 1 FROM job_queue.claim('claim back') \g /dev/null
RELEASE t;
ROLLBACK TO s;
SELECT results_eq($$SELECT payload::int, attempt FROM job_queue.claim('claim back')$$, 'VALUES (3, 1)',
	'a rollback to a savepoint gives back what was claimed after it');
SELECT isnt((SELECT lease_token FROM job_queue.job WHERE id = :three), :three_token::bigint, 'with a new token');
COMMIT;
SELECT results_eq($$SELECT payload::int FROM job_queue.claim('claim back', 10)$$, 'VALUES (4)', 'no more and no less');
SELECT results_eq($$SELECT payload::int, status FROM job_queue.jobs WHERE queue = 'claim back' ORDER BY job_id$$,
	$$SELECT n, 'running' FROM generate_series(1, 4) n$$, 'all four run');
SELECT job_queue.enqueue('claim back', '5') \g /dev/null
SELECT throws_ok($$SELECT 1 / (job_id - job_id) FROM job_queue.claim('claim back')$$, '22012', NULL,
	'a statement that fails');
SELECT results_eq($$SELECT payload::int, attempt FROM job_queue.claim('claim back')$$, 'VALUES (5, 1)', 'claims nothing');
SELECT job_queue.enqueue_many('claim back', array_fill('{}'::jsonb, '{1000}')) \g /dev/null
DO $$
BEGIN
	FOR i IN 1 .. 1000 LOOP
		BEGIN
			PERFORM job_queue.claim('claim back');
			RAISE 'undo';
		EXCEPTION WHEN raise_exception THEN
		END;
	END LOOP;
END
$$;
SELECT is((SELECT count(DISTINCT job_id)::int FROM job_queue.claim('claim back', 10000)), 1000,
	'a thousand claims undone in one transaction leave each job there once');

-- A lease counts from the claim, not from the start of its transaction.
SELECT job_queue.enqueue('claim') \g /dev/null
BEGIN;
SELECT 1 \g /dev/null
SELECT job_queue.advance_clock('1 h') \g /dev/null
SELECT is(round(pg_temp.seconds(lease_expires_at - job_queue.clock())), 180::double precision,
	'a lease counts from the claim') FROM job_queue.claim('claim');
COMMIT;

-- A relaxed queue gives the same answers.
SELECT job_queue.create_queue('claim relaxed', claim_durability => 'relaxed') \gset
SELECT job_queue.enqueue('claim relaxed') AS enqueued \gset
SELECT * FROM job_queue.claim('claim relaxed') \gset
SELECT is(:job_id::bigint, :enqueued::bigint, 'a relaxed queue gives its job');
SELECT is(current_setting('synchronous_commit'), 'on', 'and leaves the session''s setting alone');
SELECT ok(job_queue.complete(:job_id, :lease_token), 'the token counts');

SELECT is(job_queue.drop_queue(name, force => true), true, 'cleaned up: ' || name)
  FROM job_queue.queues WHERE name LIKE 'claim%';
SELECT is_empty('SELECT * FROM job_queue.verify()', 'the invariants hold');
SELECT * FROM finish();
