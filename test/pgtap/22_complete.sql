-- Completion: once, by the holder of the lease, if the transaction commits.
\ir include/setup.sql
SELECT * FROM no_plan();
SELECT job_queue.create_queue('complete') \gset

CREATE FUNCTION pg_temp.run(n int) RETURNS TABLE (job_id bigint, lease_token bigint)
LANGUAGE plpgsql AS $$ BEGIN RETURN QUERY SELECT c.job_id, c.lease_token FROM job_queue.claim('complete', n) c; END $$;

SELECT job_queue.enqueue('complete', '{"n": 1}', 'a type', 3, unique_key => 'k', user_id => 'anna',
	metadata => '{"m": 1}') AS enqueued \gset
SELECT job_id, lease_token FROM pg_temp.run(1) \gset
SELECT ok(job_queue.complete(:job_id, :lease_token, '{"answer": 42}'), 'a job is completed');
SELECT results_eq(
	format($$SELECT queue, job_type, status, priority, attempt, payload, metadata, result, unique_key, user_id,
					worker, lease_expires_at, error_message, cancel_requested
			   FROM job_queue.jobs WHERE job_id = %s$$, :job_id),
	$$VALUES ('complete', 'a type', 'completed', 3, 1, '{"n": 1}'::jsonb, '{"m": 1}'::jsonb,
			  '{"answer": 42}'::jsonb, 'k', 'anna', current_setting('application_name'), NULL::timestamptz,
			  NULL::text, false)$$,
	'it stays visible, with its result');
SELECT ok(enqueued_at <= started_at AND started_at <= finished_at AND finished_at <= job_queue.clock()
		  AND run_time = finished_at - started_at, 'with its times')
  FROM job_queue.jobs WHERE job_id = :job_id;
SELECT is((SELECT count(*)::int FROM job_queue.job WHERE id = :job_id), 0, 'it has left the unfinished ones');
SELECT ok(NOT job_queue.complete(:job_id, :lease_token, '{"answer": 43}'),
	'the same call again says that it was completed already');
SELECT is(result, '{"answer": 42}'::jsonb, 'and changes nothing') FROM job_queue.jobs WHERE job_id = :job_id;
SELECT pg_temp.refused(format('SELECT job_queue.complete(%s, %s)', :job_id, :lease_token + 1), 'JQ001',
	'any other token');

SELECT job_queue.enqueue('complete') \g /dev/null
SELECT job_id, lease_token FROM pg_temp.run(1) \gset
SELECT ok(job_queue.complete(:job_id, :lease_token), 'a result is not needed');
SELECT is(result, NULL, 'and is null then') FROM job_queue.jobs WHERE job_id = :job_id;
SELECT job_queue.enqueue('complete') \g /dev/null
SELECT job_id, lease_token FROM pg_temp.run(1) \gset
SELECT ok(job_queue.complete(:job_id, :lease_token, 'null'), 'a JSON null is a result');
SELECT is(result, 'null'::jsonb, 'and is kept as one') FROM job_queue.jobs WHERE job_id = :job_id;
SELECT job_queue.enqueue('complete') \g /dev/null
SELECT job_id, lease_token FROM pg_temp.run(1) \gset
SELECT ok(job_queue.complete(:job_id, :lease_token, to_jsonb(repeat('x', 500000))), 'a large result');
SELECT is(length(result #>> '{}'), 500000, 'is kept whole') FROM job_queue.jobs WHERE job_id = :job_id;

-- Transactions.
SELECT job_queue.enqueue('complete') \g /dev/null
SELECT job_id, lease_token FROM pg_temp.run(1) \gset
BEGIN;
SELECT ok(job_queue.complete(:job_id, :lease_token), 'a completion in a transaction');
SELECT is(status, 'completed', 'is seen in it') FROM job_queue.jobs WHERE job_id = :job_id;
SELECT ok(NOT job_queue.complete(:job_id, :lease_token), 'is already done for it');
SELECT throws_ok(format('SELECT job_queue.fail(%s, %s, %L)', :job_id, :lease_token, 'x'), 'JQ001', NULL,
	'and not to be undone by failing');
ROLLBACK;
SELECT is(status, 'running', 'and never was, after a rollback') FROM job_queue.jobs WHERE job_id = :job_id;
SELECT is(job_queue.heartbeat(:job_id, :lease_token), 'held', 'the lease is still held');
BEGIN;
SAVEPOINT s;
SELECT job_queue.complete(:job_id, :lease_token, '1') \g /dev/null
ROLLBACK TO s;
SELECT is(job_queue.heartbeat(:job_id, :lease_token), 'held', 'the same after a rollback to a savepoint');
SELECT ok(job_queue.complete(:job_id, :lease_token, '2'), 'it can be completed after that');
COMMIT;
SELECT is(result, '2'::jsonb, 'and is') FROM job_queue.jobs WHERE job_id = :job_id;
CREATE TEMP TABLE effect (job_id bigint);
SELECT job_queue.enqueue('complete') \g /dev/null
SELECT job_id, lease_token FROM pg_temp.run(1) \gset
SELECT throws_ok(format('WITH e AS (INSERT INTO effect VALUES (%s)) SELECT job_queue.complete(%s, 1)', :job_id, :job_id),
	'JQ001', NULL, 'a completion that is refused');
SELECT is_empty('SELECT * FROM effect', 'takes the writes of its transaction along');
BEGIN;
SELECT job_queue.enqueue('complete') AS undone \gset
SELECT job_queue.complete(:job_id, :lease_token) \g /dev/null
INSERT INTO effect VALUES (:job_id);
COMMIT;
SELECT is((SELECT count(*)::int FROM effect), 1, 'and one that is accepted commits with them');

-- Claimed and completed in one transaction.
BEGIN;
SELECT job_id, lease_token FROM pg_temp.run(1) \gset
SELECT ok(job_queue.complete(:job_id, :lease_token), 'claim and completion in one transaction');
COMMIT;
SELECT is(status, 'completed', 'take effect together') FROM job_queue.jobs WHERE job_id = :job_id;
SELECT job_queue.enqueue('complete') \g /dev/null
BEGIN;
SELECT job_id, lease_token FROM pg_temp.run(1) \gset
SELECT job_queue.complete(:job_id, :lease_token) \g /dev/null
ROLLBACK;
SELECT is(status, 'ready', 'or not at all') FROM job_queue.jobs WHERE job_id = :job_id;
SELECT is((SELECT job_id FROM pg_temp.run(1)), :job_id::bigint, 'and the job is claimed again');

-- Many.
SELECT job_queue.enqueue_many('complete', array_fill('{}'::jsonb, '{6}')) \g /dev/null
CREATE TEMP TABLE r AS SELECT row_number() OVER () AS n, * FROM pg_temp.run(6);
SELECT results_eq($$SELECT c.job_id, c.completed
					  FROM job_queue.complete_many(
						(SELECT array_agg(job_id ORDER BY n DESC) FROM r WHERE n <= 4) || 0::bigint,
						(SELECT array_agg(CASE n WHEN 3 THEN 1 ELSE lease_token END ORDER BY n DESC) FROM r WHERE n <= 4) || 1::bigint,
						'{"4", "3", null, "1", "0"}') c$$,
	'SELECT job_id, n <> 3 FROM r WHERE n <= 4 UNION ALL SELECT 0, false ORDER BY 1 DESC',
	'of many those with a good token are completed, and the answers come in order');
SELECT results_eq('SELECT status, result FROM r JOIN job_queue.jobs USING (job_id) WHERE n <= 4 ORDER BY n',
	$$VALUES ('completed', '1'::jsonb), ('completed', NULL), ('running', NULL), ('completed', '4')$$,
	'each with its own result');
SELECT results_eq($$SELECT completed FROM job_queue.complete_many(
						(SELECT ARRAY[job_id, job_id] FROM r WHERE n = 3), (SELECT ARRAY[lease_token, lease_token] FROM r WHERE n = 3))$$,
	'VALUES (true), (false)', 'the same job twice in one call is completed once');
SELECT is_empty($$SELECT * FROM job_queue.complete_many('{}', '{}')$$, 'none is none');
SELECT pg_temp.refused(format('SELECT * FROM job_queue.complete_many(%L, %L, %L)', ids, tokens, results), code, description)
  FROM r, LATERAL (VALUES
	(NULL, ARRAY[lease_token], NULL, '22004', 'no ids'),
	(ARRAY[job_id], NULL, NULL, '22004', 'no tokens'),
	(ARRAY[job_id, 1], ARRAY[lease_token], NULL, '2202E', 'fewer tokens than ids'),
	(ARRAY[job_id], ARRAY[lease_token, 1], NULL, '2202E', 'more tokens than ids'),
	(ARRAY[job_id], ARRAY[lease_token], '{1,2}'::jsonb[], '2202E', 'more results than ids'),
	(ARRAY[job_id], ARRAY[lease_token], '{}'::jsonb[], '2202E', 'fewer results than ids'),
	(ARRAY[ARRAY[job_id]], ARRAY[ARRAY[lease_token]], NULL, '2202E', 'arrays of arrays'),
	(ARRAY[job_id, NULL], ARRAY[lease_token, 1], NULL, '22004', 'a null among the ids'),
	(ARRAY[job_id, 1], ARRAY[lease_token, NULL], NULL, '22004', 'a null among the tokens')) bad(ids, tokens, results, code, description)
 WHERE n = 5;

-- One commit for the end of one job and the start of the next.
SELECT job_queue.create_queue('complete next') \gset
SELECT job_queue.enqueue_many('complete next', '{"1", "2", "3"}') \g /dev/null
SELECT job_id AS first, lease_token AS first_token, payload
  FROM job_queue.complete_and_claim('complete next', '{}', '{}', worker => 'w', lease => '10 min') \gset
SELECT results_eq(format('SELECT status, payload, worker, round(pg_temp.seconds(lease_expires_at - job_queue.clock()))::int
						    FROM job_queue.jobs WHERE job_id = %s', :first),
	$$VALUES ('running', '1'::jsonb, 'w', 600)$$, 'empty arrays only claim');
SELECT pg_temp.refused(format('SELECT * FROM job_queue.complete_and_claim(%L, ARRAY[%s, %s], ARRAY[%s, %s])',
	'complete next', :first, j.job_id, :first_token, 1), 'JQ001', 'with one stale token nothing is completed nor claimed')
  FROM r j WHERE n = 5;
SELECT results_eq(format('SELECT payload, attempt FROM job_queue.complete_and_claim(%L, ARRAY[%s], ARRAY[%s], %L, 10)',
	'complete next', :first, :first_token, '{"\"done\""}'), $$VALUES ('2'::jsonb, 1), ('3', 1)$$,
	'the old one is completed and others are claimed');
SELECT results_eq(format('SELECT status, result FROM job_queue.jobs WHERE job_id = %s', :first),
	$$VALUES ('completed', '"done"'::jsonb)$$, 'with its result');
SELECT is_empty(format('SELECT * FROM job_queue.complete_and_claim(%L, ARRAY[%s], ARRAY[%s])', 'complete next', :first, :first_token),
	'a client that lost the answer may repeat the call');
SELECT is(result, '"done"', 'which changes nothing') FROM job_queue.get_job(:first);
SELECT is_empty(format('SELECT * FROM job_queue.complete_and_claim(%L, ARRAY[%s], ARRAY[%s])', 'complete next', id, lease_token),
	'with nothing to claim the old one is completed all the same')
  FROM job_queue.job WHERE queue_id = (SELECT id FROM job_queue.queue WHERE name = 'complete next') AND payload = '2';
SELECT results_eq($$SELECT status FROM job_queue.jobs WHERE queue = 'complete next' ORDER BY job_id$$,
	$$VALUES ('completed'), ('completed'), ('running')$$, 'it is');
SELECT pg_temp.refused(format('SELECT * FROM job_queue.complete_and_claim(%L, %L, %L, %L)', 'complete next', ids, tokens, results),
		code, description)
  FROM r, LATERAL (VALUES
	(NULL, ARRAY[lease_token], NULL, '22004', 'no ids'),
	(ARRAY[job_id], NULL, NULL, '22004', 'no tokens'),
	(ARRAY[job_id, 1], ARRAY[lease_token], NULL, '2202E', 'fewer tokens than ids'),
	(ARRAY[job_id], ARRAY[lease_token], '{1,2}'::jsonb[], '2202E', 'more results than ids')) bad(ids, tokens, results, code, description)
 WHERE n = 5;
SELECT job_queue.enqueue('complete next', '4') \g /dev/null
SELECT job_id, lease_token FROM job_queue.claim('complete next') \gset
SELECT job_queue.enqueue('complete next', '5') \g /dev/null
BEGIN;
SELECT 1 FROM job_queue.complete_and_claim('complete next', ARRAY[:job_id::bigint], ARRAY[:lease_token::bigint]) \g /dev/null
ROLLBACK;
SELECT results_eq($$SELECT payload::int, status FROM job_queue.jobs
					 WHERE queue = 'complete next' AND payload >= '4' ORDER BY job_id$$,
	$$VALUES (4, 'running'), (5, 'ready')$$, 'a rollback undoes both halves');
SELECT results_eq(format('SELECT payload::int FROM job_queue.complete_and_claim(%L, ARRAY[%s], ARRAY[%s])',
	'complete next', :job_id, :lease_token), 'VALUES (5)', 'and both can be done again');

SELECT is(job_queue.drop_queue(name, force => true), true, 'cleaned up: ' || name)
  FROM job_queue.queues WHERE name LIKE 'complete%';
SELECT is_empty('SELECT * FROM job_queue.verify()', 'the invariants hold');
SELECT * FROM finish();
