-- A unique key: at most one unfinished job of a queue has it.
\ir include/setup.sql
SELECT * FROM no_plan();
SELECT job_queue.create_queue('unique', backoff_jitter => 0) \gset

-- A job in each state whose key is taken, or was.
CREATE TEMP TABLE held (state text, job_id bigint, lease_token bigint);
INSERT INTO held SELECT state, job_queue.enqueue('unique', '{"n": 1}', 'first', 5, unique_key => state)
  FROM unnest('{running,completed,failed,cancelled}'::text[]) state;
UPDATE held SET lease_token = c.lease_token
  FROM job_queue.claim('unique', 4) c WHERE c.job_id = held.job_id;
SELECT job_queue.complete(job_id, lease_token) FROM held WHERE state = 'completed' \g /dev/null
SELECT job_queue.fail(job_id, lease_token, 'broken', retryable => false) FROM held WHERE state = 'failed' \g /dev/null
SELECT job_queue.release(job_id, lease_token), job_queue.cancel(job_id) FROM held WHERE state = 'cancelled' \g /dev/null
INSERT INTO held SELECT state, job_queue.enqueue('unique', '{"n": 1}', 'first', 5, unique_key => state,
		delay => CASE state WHEN 'scheduled' THEN interval '1 h' END)
  FROM unnest('{ready,scheduled}'::text[]) state;
SELECT bag_eq('SELECT job_id, status FROM held JOIN job_queue.jobs USING (job_id)',
	'SELECT job_id, state FROM held', 'there is a job in each state');

-- return
SELECT is(job_queue.enqueue('unique', '{"n": 2}', unique_key => state), job_id,
		'return gives the ' || state || ' job')
  FROM held WHERE state IN ('ready', 'scheduled', 'running');
SELECT is((SELECT array_agg(DISTINCT payload) FROM job_queue.jobs WHERE queue = 'unique'),
	ARRAY['{"n": 1}'::jsonb], 'and changes nothing');

-- error
SELECT pg_temp.refused(format($$SELECT job_queue.enqueue('unique', '{"n": 2}', unique_key => %L,
		on_duplicate => 'error')$$, state), 'JQ004', 'error refuses a second ' || state || ' job')
  FROM held WHERE state IN ('ready', 'scheduled', 'running');

-- replace
SELECT is(job_queue.enqueue('unique', '{"n": 3}', 'second', -3, unique_key => state, on_duplicate => 'replace',
							max_attempts => 9, metadata => '1'),
		job_id, 'replace gives the ' || state || ' job')
  FROM held WHERE state IN ('ready', 'scheduled', 'running');
SELECT results_eq(
	$$SELECT status, payload, priority, run_at IS NOT NULL AND run_at > job_queue.clock(), job_type,
			 max_attempts, metadata
		FROM held JOIN job_queue.jobs USING (job_id)
	   WHERE state IN ('ready', 'scheduled', 'running') ORDER BY state$$,
	$$VALUES ('ready', '{"n": 3}'::jsonb, -3, false, 'first', 3, NULL::jsonb),
			 ('running', '{"n": 1}', 5, false, 'first', 3, NULL),
			 ('ready', '{"n": 3}', -3, false, 'first', 3, NULL)$$,
	'it changes payload, priority and time of a waiting job, and nothing of a running one');
SELECT is((SELECT array_agg(payload ORDER BY job_id) FROM job_queue.claim('unique', 10)),
	ARRAY['{"n": 3}', '{"n": 3}']::jsonb[], 'the replaced jobs are claimed once each, with what they have now');

SELECT job_queue.create_queue('unique order') \gset
SELECT job_queue.enqueue('unique order', '1', unique_key => 'a') \g /dev/null
SELECT job_queue.enqueue('unique order', '2', unique_key => 'b') \g /dev/null
SELECT job_queue.enqueue('unique order', '3', unique_key => 'c') \g /dev/null
SELECT job_queue.enqueue('unique order', '30', priority => -1, unique_key => 'c', on_duplicate => 'replace') \g /dev/null
SELECT job_queue.enqueue('unique order', '10', delay => '1 h', unique_key => 'a', on_duplicate => 'replace') \g /dev/null
SELECT results_eq($$SELECT payload FROM job_queue.claim('unique order', 10, lease => '2 h')$$,
	$$VALUES ('30'::jsonb), ('2')$$, 'a new priority counts at once, and so does a new delay');
SELECT job_queue.advance_clock('1 h') \g /dev/null
CALL job_queue.wait_for_jobs('unique order', '10 s') \gset
SELECT is((SELECT payload FROM job_queue.claim('unique order', 10)), '10', 'the delayed one comes in its time');

-- Finished jobs give their key back.
SELECT isnt(job_queue.enqueue('unique', unique_key => state, on_duplicate => 'error'), job_id,
		'the key of a ' || state || ' job is free')
  FROM held WHERE state IN ('completed', 'failed', 'cancelled');
SELECT pg_temp.refused(format('SELECT job_queue.retry(%s)', job_id), 'JQ004',
		'a ' || state || ' job whose key is taken by now is not retried')
  FROM held WHERE state IN ('failed', 'cancelled');

-- What a key is not.
SELECT ok(job_queue.enqueue('unique other', unique_key => 'ready') <> job_id, 'another queue has keys of its own')
  FROM held WHERE state = 'ready';
SELECT isnt(job_queue.enqueue('unique other'), job_queue.enqueue('unique other'), 'no key is no key');
SELECT isnt(job_queue.enqueue('unique other', unique_key => 'A'), job_queue.enqueue('unique other', unique_key => 'a'),
	'keys are compared exactly');
SELECT ok(job_queue.enqueue('unique other', unique_key => repeat('é', 127) || 'x') > 0, 'a key may have 255 bytes');
SELECT pg_temp.refused($$SELECT job_queue.enqueue('unique other', unique_key => repeat('é', 128))$$, '22023',
	'and no more');
SELECT pg_temp.refused($$SELECT job_queue.enqueue('unique other', unique_key => '')$$, '22023', 'nor none');
SELECT pg_temp.refused($$SELECT job_queue.enqueue('unique other', unique_key => 'x', on_duplicate => mode)
	FROM unnest(ARRAY['', 'Return', 'ignore']) mode$$, '22023', 'on_duplicate is one of three');
SELECT pg_temp.refused($$SELECT job_queue.enqueue('unique other', unique_key => 'x', on_duplicate => NULL)$$, '22004',
	'and not null');

-- Transactions.
BEGIN;
SELECT job_queue.enqueue('unique other', unique_key => 'undone') AS undone \gset
SELECT is(job_queue.enqueue('unique other', unique_key => 'undone'), :undone::bigint,
	'a key is taken within the transaction');
SAVEPOINT s;
SELECT job_queue.enqueue('unique other', unique_key => 'inner') AS inner \gset
ROLLBACK TO s;
SELECT isnt(job_queue.enqueue('unique other', unique_key => 'inner'), :inner::bigint,
	'and free again after a rollback to a savepoint');
ROLLBACK;
SELECT isnt(job_queue.enqueue('unique other', unique_key => 'undone'), :undone::bigint,
	'and after a rollback');
SELECT job_queue.enqueue('unique other', '1', unique_key => 'replaced') AS replaced \gset
BEGIN;
SELECT job_queue.enqueue('unique other', '2', unique_key => 'replaced', on_duplicate => 'replace') \g /dev/null
ROLLBACK;
SELECT is((SELECT payload FROM job_queue.claim('unique other', 100) WHERE job_id = :replaced), '1',
	'a replacement that was rolled back leaves the job claimable as it was');

-- A released, snoozed or failed job keeps its key.
SELECT job_queue.create_queue('unique keep') \gset
SELECT job_queue.enqueue('unique keep', unique_key => 'k') AS job_id \gset
SELECT lease_token FROM job_queue.claim('unique keep') \gset
SELECT job_queue.release(:job_id, :lease_token) \g /dev/null
SELECT is(job_queue.enqueue('unique keep', unique_key => 'k'), :job_id::bigint, 'a released job keeps its key');
SELECT lease_token FROM job_queue.claim('unique keep') \gset
SELECT job_queue.snooze(:job_id, :lease_token, '0 s') \g /dev/null
SELECT is(job_queue.enqueue('unique keep', unique_key => 'k'), :job_id::bigint, 'so does a snoozed one');
SELECT lease_token FROM job_queue.claim('unique keep') \gset
SELECT job_queue.fail(:job_id, :lease_token, 'again') \g /dev/null
SELECT is(job_queue.enqueue('unique keep', unique_key => 'k'), :job_id::bigint, 'and one that will be retried');

SELECT is(job_queue.drop_queue(name, force => true), true, 'cleaned up: ' || name)
  FROM job_queue.queues WHERE name LIKE 'unique%';
SELECT is_empty('SELECT * FROM job_queue.verify()', 'the invariants hold');
SELECT * FROM finish();
