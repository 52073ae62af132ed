-- An error at any step undoes the whole step, in shared memory too.
\ir include/setup.sql
SELECT * FROM no_plan();
SELECT job_queue.create_queue('faults', lease => '1 day') \gset
SELECT job_queue.enqueue_many('faults', '{"1", "2", "3"}') \g /dev/null
SELECT job_id AS running, lease_token AS token FROM job_queue.claim('faults') \gset

CREATE TEMP TABLE point (name text, call text);
INSERT INTO point VALUES
	('enqueue-before-insert', 'SELECT job_queue.enqueue(''faults'')'),
	('enqueue-after-insert', 'SELECT job_queue.enqueue(''faults'')'),
	('enqueue-after-insert', 'SELECT job_queue.enqueue_many(''faults'', ''{1,2,3}'')'),
	('claim-after-pop', 'SELECT * FROM job_queue.claim(''faults'', 10)'),
	('claim-before-update', 'SELECT * FROM job_queue.claim(''faults'', 10)'),
	('claim-after-update', 'SELECT * FROM job_queue.claim(''faults'', 10)'),
	('complete-before-delete', format('SELECT job_queue.complete(%s, %s)', :running, :token)),
	('complete-after-delete', format('SELECT job_queue.complete(%s, %s)', :running, :token)),
	('complete-after-delete', format('SELECT * FROM job_queue.complete_and_claim(''faults'', ARRAY[%s], ARRAY[%s])', :running, :token)),
	('claim-after-update', format('SELECT * FROM job_queue.complete_and_claim(''faults'', ARRAY[%s], ARRAY[%s])', :running, :token));

-- Calls with the point armed, and tells what came of it.
CREATE FUNCTION pg_temp.faulty(name text, call text) RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
	answer text;
	hits bigint;
BEGIN
	PERFORM job_queue.fault_arm(name, 'error');
	answer := pg_temp.outcome(call);
	SELECT f.hits INTO hits FROM job_queue.fault_points() f WHERE f.name = faulty.name;
	PERFORM job_queue.fault_disarm(name);
	RETURN format('%s, %s', answer, CASE WHEN hits > 0 THEN 'reached' ELSE 'not reached' END);
END
$$;
SELECT is(pg_temp.faulty(name, call), '38000, reached', name || ': ' || call) FROM point;
SELECT is(job_queue.heartbeat(:running, :token), 'held', 'the running job keeps its lease');
SELECT results_eq($$SELECT payload::int, attempt FROM job_queue.claim('faults', 10)$$, 'VALUES (2, 1), (3, 1)',
	'the others are claimed in order, once');

-- An index that is rebuilt: jobs are found again after an error half-way.
SELECT job_queue.enqueue_many('faults', array_fill('{}'::jsonb, '{100}')) \g /dev/null
VACUUM FULL job_queue.job;
SELECT is(pg_temp.faulty('refill-before-scan', 'SELECT * FROM job_queue.claim(''faults'', 10)'), '38000, reached', 'refill-before-scan');
SELECT is(pg_temp.faulty('refill-during-scan', 'SELECT * FROM job_queue.claim(''faults'', 10)'), '38000, reached', 'refill-during-scan');
SELECT is((SELECT count(DISTINCT job_id)::int FROM job_queue.claim('faults', 1000)), 100, 'all hundred are claimed');

-- An error at the commit itself.  It needs a transaction of its own.
SELECT job_queue.enqueue('faults', '"kept"') AS kept \gset
\set ON_ERROR_STOP off
BEGIN;
SELECT job_queue.fault_arm('xact-precommit', 'error') \g /dev/null
ROLLBACK;
SELECT job_queue.enqueue('faults', '"undone"') \g /dev/null
\set enqueued :SQLSTATE
SELECT 1 FROM job_queue.claim('faults', 10) \g /dev/null
\set claimed :SQLSTATE
SELECT job_queue.complete(:running, :token) \g /dev/null
\set completed :SQLSTATE
BEGIN;
SELECT job_queue.fault_disarm('xact-precommit') \g /dev/null
ROLLBACK;
\set ON_ERROR_STOP on
SELECT is(ARRAY[:'enqueued', :'claimed', :'completed'], '{38000,38000,38000}', 'an error at the commit');
SELECT is((SELECT array_agg(payload) FROM job_queue.claim('faults', 10)), '{"\"kept\""}', 'undoes enqueue and claim');
SELECT ok(job_queue.complete(:running, :token), 'and completion');

SELECT job_queue.fault_disarm() \g /dev/null
SELECT is_empty('SELECT * FROM job_queue.fault_points()', 'nothing is armed');
SELECT throws_ok($$SELECT job_queue.fault_arm(NULL, 'error')$$, '22004', NULL, 'a point has a name');
SELECT throws_ok($$SELECT job_queue.fault_arm('x', NULL)$$, '22004', NULL, 'and an action');

SELECT is(job_queue.drop_queue('faults', force => true), true, 'cleaned up');
SELECT is_empty('SELECT * FROM job_queue.verify()', 'the invariants hold');
SELECT * FROM finish();
