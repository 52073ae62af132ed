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
