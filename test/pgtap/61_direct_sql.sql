-- An administrator's plain SQL on the table of jobs: shared memory follows it.
\ir include/setup.sql
SELECT * FROM no_plan();
SELECT job_queue.create_queue('direct') \gset
SELECT id AS queue_id FROM job_queue.queue WHERE name = 'direct' \gset
SELECT format('INSERT INTO job_queue.job (enqueued_at, queue_id, enqueued_by, max_attempts, payload) VALUES (job_queue.clock(), %s, %L::regrole, 3, %s)',
	:queue_id, current_user, '$1') AS insert \gset
PREPARE insert_job (jsonb) AS :insert;

-- INSERT and COPY.
EXECUTE insert_job('1');
SELECT results_eq($$SELECT payload::int, attempt FROM job_queue.claim('direct', 10)$$, 'VALUES (1, 1)', 'an inserted job is claimed');
BEGIN;
EXECUTE insert_job('2');
ROLLBACK;
SELECT is_empty($$SELECT * FROM job_queue.claim('direct', 10)$$, 'unless it was rolled back');
INSERT INTO job_queue.queue (id, name) VALUES (1000001, 'direct copy');
COPY job_queue.job (queue_id, enqueued_by, max_attempts, enqueued_at, priority, run_at, payload) FROM STDIN;
1000001	10	3	2026-01-01	0	\N	"two"
1000001	10	3	2026-01-01	-1	\N	"one"
1000001	10	3	2026-01-01	0	2026-01-01	"three"
1000001	10	3	2026-01-01	0	9999-01-01	"never"
1000001	10	3	2026-01-01	1	\N	"four"
\.
SELECT results_eq($$SELECT payload #>> '{}' FROM job_queue.claim('direct copy', 10)$$, $$VALUES ('one'), ('two'), ('three'), ('four')$$,
	'copied jobs are claimed in order');
SET session_replication_role = replica;
EXECUTE insert_job('3');
RESET session_replication_role;
SELECT results_eq($$SELECT payload::int FROM job_queue.claim('direct', 10)$$, 'VALUES (3)', 'so are those that a subscription brings');

-- UPDATE of waiting jobs.
SELECT job_queue.enqueue('direct', to_jsonb(n)) FROM generate_series(1, 4) n \g /dev/null
UPDATE job_queue.job SET priority = -1 WHERE queue_id = :queue_id AND payload = '3' AND state = 'w';
UPDATE job_queue.job SET run_at = job_queue.clock() + interval '1 h' WHERE queue_id = :queue_id AND payload = '1' AND state = 'w';
UPDATE job_queue.job SET payload = '44' WHERE queue_id = :queue_id AND payload = '4' AND state = 'w';
SELECT results_eq($$SELECT payload::int FROM job_queue.claim('direct', 10)$$, 'VALUES (3), (2), (44)',
	'a changed priority, time or payload counts');
UPDATE job_queue.job SET run_at = NULL WHERE queue_id = :queue_id AND state = 'w';
SELECT results_eq($$SELECT payload::int FROM job_queue.claim('direct', 10)$$, 'VALUES (1)', 'a job whose time is taken away is ready');
SELECT job_queue.create_queue('direct other') \gset
SELECT job_queue.enqueue('direct', '"moved"') AS moved \gset
UPDATE job_queue.job SET queue_id = (SELECT id FROM job_queue.queue WHERE name = 'direct other') WHERE id = :moved;
SELECT is_empty($$SELECT * FROM job_queue.claim('direct', 10)$$, 'a job that moved to another queue is gone from here');
SELECT is((SELECT job_id FROM job_queue.claim('direct other', 10)), :moved::bigint, 'and there');

-- UPDATE and DELETE of running jobs.
SELECT job_queue.enqueue('direct', '"back"') \g /dev/null
SELECT job_id, lease_token FROM job_queue.claim('direct') \gset
UPDATE job_queue.job SET state = 'w', lease_token = NULL, started_at = NULL, lease_expires_at = NULL, worker = NULL WHERE id = :job_id;
SELECT throws_ok(format('SELECT job_queue.heartbeat(%s, %s)', :job_id, :lease_token), 'JQ001', NULL,
	'a job that is made waiting has no lease any more');
SELECT throws_ok(format('SELECT job_queue.complete(%s, %s)', :job_id, :lease_token), 'JQ001', NULL, 'and is not completed');
SELECT is((SELECT job_id FROM job_queue.claim('direct', 10)), :job_id::bigint, 'it is claimed again');
DELETE FROM job_queue.job WHERE id = :job_id;
SELECT throws_ok(format('SELECT job_queue.heartbeat(%s, %s)', :job_id, :lease_token), 'JQ001', NULL, 'a deleted job has no lease');
SELECT job_queue.enqueue('direct', to_jsonb(n)) FROM generate_series(1, 3) n \g /dev/null
BEGIN;
DELETE FROM job_queue.job WHERE queue_id = :queue_id AND state = 'w' AND payload = '1';
ROLLBACK;
DELETE FROM job_queue.job WHERE queue_id = :queue_id AND state = 'w' AND payload = '2';
SELECT results_eq($$SELECT payload::int FROM job_queue.claim('direct', 10)$$, 'VALUES (1), (3)',
	'deleted waiting jobs are not claimed, others are');

-- The schema keeps out what could not be.
SELECT job_queue.define_pipeline('direct some', '{a}') \g /dev/null
SELECT throws_ok(format($$UPDATE job_queue.job SET %s WHERE queue_id = %s$$, damage, :queue_id), code, NULL, damage)
  FROM (VALUES
	('state = ''z''', '23514'),
	('state = ''w''', '23514'),
	('lease_token = NULL', '23514'),
	('lease_token = 0', '23514'),
	('lease_token = 9007199254740992', '23514'),
	('attempt = max_attempts + 1', '23514'),
	('attempt = -1', '23514'),
	('progress = 101', '23514'),
	('progress = ''NaN''', '23514'),
	('queue_id = -1', '23503'),
	('pipeline = ''direct none''', '23503'),
	('payload = NULL', '23502'),
	('id = 1', '23505')) bad(damage, code);

-- Queues changed by hand: every session sees the new settings.
UPDATE job_queue.queue SET paused = true WHERE id = :queue_id;
SELECT job_queue.enqueue('direct', '"p"') \g /dev/null
SELECT is_empty($$SELECT * FROM job_queue.claim('direct', 10)$$, 'a queue that is paused by hand is paused');
UPDATE job_queue.queue SET paused = false, lease = '7 min' WHERE id = :queue_id;
SELECT is(round(pg_temp.seconds(lease_expires_at - job_queue.clock())), 420::double precision, 'a lease that is set by hand counts')
  FROM job_queue.claim('direct', 10);

-- An administrator's own indexes are kept up, whatever their kind.
CREATE INDEX direct_gin ON job_queue.job USING gin (metadata);
CREATE INDEX direct_brin ON job_queue.job USING brin (enqueued_at);
CREATE INDEX direct_hash ON job_queue.job USING hash (user_id);
CREATE INDEX direct_expression ON job_queue.job ((payload ->> 'n'));
CREATE INDEX direct_partial ON job_queue.job (worker) WHERE state = 'r';
SELECT job_queue.enqueue('direct', '{"n": "a"}', user_id => 'u', metadata => '{"m": 1}') AS indexed \gset
ALTER INDEX job_queue.direct_gin SET (fastupdate = off);
ANALYZE job_queue.job;
SELECT job_queue.enqueue_many('direct', '{"{\"n\": \"b\"}", "{\"n\": \"c\"}"}', user_id => 'u', metadata => '{"m": 1}') \g /dev/null
SELECT lease_token AS indexed_token FROM job_queue.claim('direct', worker => 'indexed') \gset
SET enable_seqscan = off;
SET enable_indexscan = off;
SELECT is((SELECT count(*)::int FROM job_queue.job WHERE metadata @> '{"m": 1}'), 3, 'a GIN index finds all three');
SELECT is((SELECT count(*)::int FROM job_queue.job WHERE user_id = 'u'), 3, 'so does a hash index');
SELECT is((SELECT count(*)::int FROM job_queue.job WHERE payload ->> 'n' = 'b'), 1, 'one on an expression finds one');
SELECT is((SELECT count(*)::int FROM job_queue.job WHERE worker = 'indexed' AND state = 'r'), 1, 'and one on what a claim writes the claimed one');
RESET enable_seqscan;
RESET enable_indexscan;
SELECT ok(job_queue.complete(:indexed, :indexed_token), 'it completes');
DROP INDEX job_queue.direct_gin, job_queue.direct_brin, job_queue.direct_hash, job_queue.direct_expression, job_queue.direct_partial;
SELECT is((SELECT count(*)::int FROM job_queue.claim('direct', 10)), 2, 'and without these indexes everything goes on');

-- TRUNCATE, VACUUM FULL, CLUSTER, REINDEX: others go on.
SELECT job_queue.enqueue('direct', to_jsonb(n), priority => n % 2) FROM generate_series(1, 50) n \g /dev/null
DELETE FROM job_queue.job WHERE queue_id = :queue_id AND state = 'w' AND (payload #>> '{}')::int % 5 = 0;
VACUUM FULL job_queue.job;
SELECT is((SELECT array_agg(payload #>> '{}') FROM job_queue.claim('direct', 3)), '{2,4,6}', 'after VACUUM FULL jobs are claimed in order');
CLUSTER job_queue.job USING job_pkey;
SELECT is((SELECT array_agg(payload #>> '{}') FROM job_queue.claim('direct', 3)), '{8,12,14}', 'after CLUSTER too');
REINDEX TABLE job_queue.job;
SELECT is((SELECT array_agg(payload #>> '{}') FROM job_queue.claim('direct', 3)), '{16,18,22}', 'after REINDEX too');
VACUUM job_queue.job;
SELECT job_id, lease_token FROM job_queue.claim('direct') \gset
VACUUM FULL job_queue.job;
SELECT is(job_queue.heartbeat(:job_id, :lease_token), 'held', 'a lease survives them');
SELECT ok(job_queue.complete(:job_id, :lease_token), 'and completes');
BEGIN;
TRUNCATE job_queue.job;
ROLLBACK;
SELECT is((SELECT count(*)::int FROM job_queue.claim('direct', 100)), 30, 'a TRUNCATE that was rolled back takes nothing');
SELECT job_id, lease_token FROM job_queue.jobs j JOIN job_queue.job r ON r.id = j.job_id WHERE status = 'running' LIMIT 1 \gset
SELECT job_queue.enqueue('direct') \g /dev/null
TRUNCATE job_queue.job;
SELECT is_empty($$SELECT * FROM job_queue.claim('direct', 100)$$, 'after TRUNCATE there is nothing to claim');
SELECT throws_ok(format('SELECT job_queue.complete(%s, %s)', :job_id, :lease_token), 'JQ001', NULL, 'nor to complete');
SELECT job_queue.enqueue('direct', '"new"') \g /dev/null
SELECT is((SELECT payload FROM job_queue.claim('direct', 100)), '"new"', 'and new jobs come as ever');

-- Leases of jobs that are gone are in nobody's way.
SELECT job_queue.create_queue('direct leases', lease => '5 min', backoff_base => '0', backoff_jitter => 0) \gset
SELECT count(*) FROM job_queue.enqueue_many('direct leases', array_fill('{}'::jsonb, '{3000}')) \g /dev/null
SELECT count(job_queue.report_progress(job_id, lease_token, 50)) FROM job_queue.claim('direct leases', 3000) \g /dev/null
TRUNCATE job_queue.job;
SELECT count(*) FROM job_queue.enqueue_many('direct leases', array_fill('{}'::jsonb, '{20}')) \g /dev/null
SELECT count(*) FROM job_queue.claim('direct leases', 20) \g /dev/null
SELECT job_queue.advance_clock('6 min') \g /dev/null
SELECT pg_temp.wait_until($$SELECT count(*) = 20 FROM job_queue.jobs WHERE queue = 'direct leases' AND status = 'ready'$$) \g /dev/null
SELECT pass('after TRUNCATE under 3000 leases the next twenty are recovered');

SELECT is(job_queue.drop_queue(name, force => true), true, 'cleaned up: ' || name)
  FROM job_queue.queues WHERE name LIKE 'direct%';
SELECT is_empty('SELECT * FROM job_queue.verify()', 'the invariants hold');
SELECT * FROM finish();
