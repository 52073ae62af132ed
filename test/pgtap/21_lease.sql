-- Leases: kept by heartbeats, proved by tokens, lost for good.
\ir include/setup.sql
SELECT * FROM no_plan();
SELECT job_queue.create_queue('lease', lease => '5 min') \gset
SELECT job_queue.enqueue_many('lease', '{"1", "2", "3", "4"}') \g /dev/null
CREATE TEMP TABLE c AS SELECT row_number() OVER () AS n, * FROM job_queue.claim('lease', 3);
SELECT job_id AS one, lease_token AS one_token, lease_expires_at AS one_end FROM c WHERE n = 1 \gset
SELECT job_id AS two, lease_token AS two_token FROM c WHERE n = 2 \gset
SELECT job_id AS three, lease_token AS three_token FROM c WHERE n = 3 \gset
SELECT job_id AS waiting FROM job_queue.jobs WHERE queue = 'lease' AND status = 'ready' \gset

-- Heartbeats.
SELECT job_queue.advance_clock('4 min') \g /dev/null
SELECT is(job_queue.heartbeat(:one, :one_token), 'held', 'a heartbeat says that the lease is held');
SELECT is(round(pg_temp.seconds(lease_expires_at - job_queue.clock())), 300::double precision,
	'the lease is the whole of the queue''s again') FROM job_queue.jobs WHERE job_id = :one;
SELECT is(job_queue.heartbeat(:two, :two_token, '20 min'), 'held', 'a heartbeat may ask for another lease');
SELECT is(round(pg_temp.seconds(lease_expires_at - job_queue.clock())), 1200::double precision, 'and gets it')
  FROM job_queue.jobs WHERE job_id = :two;
SELECT is(job_queue.report_progress(:three, :three_token, 1), 'held', 'a report of progress');
SELECT is(round(pg_temp.seconds(lease_expires_at - job_queue.clock())), 300::double precision, 'counts as a heartbeat')
  FROM job_queue.jobs WHERE job_id = :three;
SELECT job_queue.advance_clock('4 min') \g /dev/null
SELECT job_queue.run_maintenance() \g /dev/null
SELECT is((SELECT count(*)::int FROM job_queue.jobs WHERE queue = 'lease' AND status = 'running'), 3,
	'eight minutes after the claim all three still run');
SELECT job_queue.heartbeat(:three, :three_token) \g /dev/null
BEGIN;
SELECT job_queue.heartbeat(:one, :one_token) \g /dev/null
SELECT job_queue.report_progress(:two, :two_token, 50, 'half', 1, 2) \g /dev/null
SELECT ok(pg_current_xact_id_if_assigned() IS NULL, 'heartbeats and progress take no transaction id');
COMMIT;

CREATE FUNCTION pg_temp.wal_of(query text) RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
	plan json;
BEGIN
	EXECUTE 'EXPLAIN (ANALYZE, WAL, FORMAT JSON) ' || query INTO plan;
	RETURN plan -> 0 -> 'Plan' ->> 'WAL Bytes';
END
$$;
CREATE TABLE lease_logged (n int);
SELECT cmp_ok(pg_temp.wal_of('INSERT INTO lease_logged VALUES (1)'), '>', 0::bigint, 'WAL is measured');
DROP TABLE lease_logged;
SELECT is(pg_temp.wal_of(format('SELECT job_queue.heartbeat(%s, %s)', :one, :one_token)), 0::bigint,
	'a heartbeat writes no WAL');
SELECT is(pg_temp.wal_of(format('SELECT job_queue.report_progress(%s, %s, 60)', :one, :one_token)), 0::bigint,
	'nor does progress');

-- A heartbeat in a transaction that is rolled back has been heard all the same.
SELECT job_queue.advance_clock('1 min') \g /dev/null
BEGIN;
SELECT job_queue.heartbeat(:one, :one_token) \g /dev/null
ROLLBACK;
SELECT is(round(pg_temp.seconds(lease_expires_at - job_queue.clock())), 300::double precision,
	'a heartbeat counts at once') FROM job_queue.jobs WHERE job_id = :one;

-- Many heartbeats.
SELECT results_eq(
	format('SELECT job_id, status::text FROM job_queue.heartbeat_many(ARRAY[%s, %s, %s, %s, 0], ARRAY[%s, %s, %s, 1, 1])',
		   :three, :one, :two, :waiting, :three_token, :one_token, :one_token),
	format($$VALUES (%s::bigint, 'held'), (%s, 'held'), (%s, 'lost'), (%s, 'lost'), (0, 'lost')$$, :three, :one, :two, :waiting),
	'many heartbeats at once answer in their order, with lost for those that are');
SELECT is((SELECT count(*)::int FROM job_queue.heartbeat_many(ARRAY[:three, :one]::bigint[],
			ARRAY[:three_token, :one_token]::bigint[], '15 min')), 2, 'they may ask for another lease');
SELECT is(array_agg(round(pg_temp.seconds(lease_expires_at - job_queue.clock()))::int), '{900,900}', 'and get it')
  FROM job_queue.jobs WHERE job_id IN (:three, :one);
SELECT is_empty($$SELECT * FROM job_queue.heartbeat_many('{}', '{}')$$, 'none is none');
SELECT is((SELECT count(*)::int FROM job_queue.heartbeat_many(ARRAY[:one, :one]::bigint[],
			ARRAY[:one_token, :one_token]::bigint[])), 2, 'the same one twice is two answers');

-- Tokens: every verb, every kind of wrong one.
CREATE TEMP TABLE verb (call text);
INSERT INTO verb VALUES ('job_queue.heartbeat(%s, %s)'), ('job_queue.report_progress(%s, %s, 10)'),
	('job_queue.begin_stage(%s, %s, ''s'')'), ('job_queue.checkpoint(%s, %s, ''s'')'),
	('job_queue.complete(%s, %s)'), ('job_queue.fail(%s, %s, ''x'')'),
	('job_queue.snooze(%s, %s, ''1 s'')'), ('job_queue.release(%s, %s)'),
	('job_queue.assert_lease(%s, %s)'), ('job_queue.attach_resource(%s, %s, ''file:///x'')');
SELECT job_queue.enqueue('lease', priority => -1) AS finished \gset
SELECT lease_token AS finished_token FROM job_queue.claim('lease') \gset
SELECT job_queue.complete(:finished, :finished_token) \g /dev/null
SELECT job_queue.enqueue('lease', priority => -1) AS again \gset
SELECT lease_token AS old_token FROM job_queue.claim('lease') \gset
SELECT job_queue.release(:again, :old_token) \g /dev/null
SELECT lease_token AS new_token FROM job_queue.claim('lease') \gset

SELECT pg_temp.refused('SELECT ' || format(call, w.job_id, w.token), 'JQ001', format(call, 'job', w.description))
  FROM verb, (VALUES
	(:one::bigint, :two_token::bigint, 'the token of another job'),
	(:one, :one_token + 1, 'a token nobody has'),
	(:one, 0, 'zero'),
	(:one, -1, 'minus one'),
	(:one, 9223372036854775807, 'the largest number'),
	(:waiting, 1, 'some token'),
	(:again, :old_token, 'a token from before'),
	(:finished, :finished_token + 1, 'some token after the end'),
	(0, 1, 'some token of no job'),
	(9223372036854775807, 1, 'some token of a job far away')) w(job_id, token, description);
SELECT pg_temp.refused('SELECT ' || format(call, :finished, :finished_token), 'JQ001', format(call, 'finished job', 'its token'))
  FROM verb WHERE call !~ 'complete';
SELECT pg_temp.refused('SELECT ' || format(call, 'NULL', :one_token), '22004', format(call, 'NULL', 'token')) FROM verb;
SELECT pg_temp.refused('SELECT ' || format(call, :one, 'NULL'), '22004', format(call, 'job', 'NULL')) FROM verb;

SELECT is(job_queue.heartbeat(:one, :one_token), 'held', 'after all that the lease is held');
SELECT lives_ok(format('SELECT job_queue.assert_lease(%s, %s)', :one, :one_token), 'and asserted');
SELECT ok(job_queue.complete(:one, :one_token), 'and completes');
SELECT ok(job_queue.complete(:again, :new_token), 'so does the job that was claimed again');

-- Ends of leases.
SELECT job_queue.heartbeat(:two, :two_token, '30 min') \g /dev/null
SELECT job_queue.advance_clock('29 min') \g /dev/null
SELECT job_queue.run_maintenance() \g /dev/null
SELECT is(status, 'running', 'with a lease of 30 minutes a job runs after 29') FROM job_queue.get_job(:two);
SELECT ok(NOT job_queue.is_job_stale(:two), 'and is not stale');
SELECT job_queue.advance_clock('2 min') \g /dev/null
SELECT pg_temp.wait_until(format('SELECT status <> %L FROM job_queue.get_job(%s)', 'running', :two)) \g /dev/null
SELECT pass('after 31 it does not, by itself');
SELECT pg_temp.refused('SELECT ' || format(call, :two, :two_token), 'JQ001', format(call, 'job', 'a token that ran out'))
  FROM verb;
SELECT throws_ok($$SELECT * FROM job_queue.heartbeat_many('{1,2}', '{1}')$$, '2202E', NULL, 'arrays of unequal length');
SELECT pg_temp.refused($$SELECT * FROM job_queue.heartbeat_many('{1,NULL}', '{1,2}')$$, '22004', 'a null among the ids');
SELECT pg_temp.refused($$SELECT * FROM job_queue.heartbeat_many('{1,2}', '{1,NULL}')$$, '22004', 'a null among the tokens');
SELECT pg_temp.refused($$SELECT * FROM job_queue.heartbeat_many(NULL, '{1}')$$, '22004', 'no ids');
SELECT pg_temp.refused($$SELECT * FROM job_queue.heartbeat_many('{1}', NULL)$$, '22004', 'no tokens');

SELECT is(job_queue.drop_queue('lease', force => true), true, 'cleaned up');
SELECT is_empty('SELECT * FROM job_queue.verify()', 'the invariants hold');
SELECT * FROM finish();
