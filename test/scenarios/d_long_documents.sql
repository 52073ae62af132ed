-- Scenario D: long documents.  Heartbeats keep a lease, saved stages are not
-- paid for twice, and a worker that lost its lease can do no harm.
\ir ../pgtap/include/setup.sql
SELECT * FROM no_plan();

SELECT job_queue.create_queue('documents', lease => '10 min') \gset
SELECT job_queue.define_pipeline('document', '{extract,save,chunk,embed}', keep_from => 'chunk') \g /dev/null
CREATE TABLE document (id bigint PRIMARY KEY, ready boolean NOT NULL DEFAULT false);
CREATE TABLE chunk (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, document bigint NOT NULL REFERENCES document, n int);
INSERT INTO document VALUES (1);

-- 1. A long job with a heartbeat every five minutes is never stalled.
SELECT job_queue.enqueue('documents', '{"document": 1}', pipeline => 'document') AS job_id \gset
SELECT lease_token AS token FROM job_queue.claim('documents', worker => 'first') \gset
SELECT job_queue.advance_clock('5 min') \g /dev/null
SELECT is(job_queue.heartbeat(:job_id, :token), 'held', 'heartbeat at 5 min');
SELECT job_queue.advance_clock('9 min') \g /dev/null
SELECT is_empty('SELECT * FROM job_queue.recover_stalled()', 'nothing is stalled at 14 min');
SELECT is(status, 'running', 'the document is still being worked on') FROM job_queue.get_job(:job_id);

-- 4. Killed after the expensive extraction: the retry gets the saved result.
SELECT ok(job_queue.begin_stage(:job_id, :token, 'extract'), 'extraction is to be done');
SELECT job_queue.checkpoint(:job_id, :token, 'extract', '{"text": "saved", "cost": 0.40}') \g /dev/null
SELECT job_queue.advance_clock('11 min') \g /dev/null
SELECT pg_temp.wait_until(format('SELECT status = %L FROM job_queue.get_job(%s)', 'ready', :job_id)) \g /dev/null
SELECT attempt, lease_token AS second, coalesce(stage, '') AS stage, completed_stages, checkpoint FROM job_queue.claim('documents', worker => 'second') \gset
SELECT is(:attempt, 2, 'another worker has it');
SELECT is(:'stage'::text, '', 'before keep_from it starts afresh');
SELECT is(:'completed_stages'::text, '{extract}', 'but knows what is done');
SELECT is(:'checkpoint'::jsonb #>> '{extract,text}', 'saved'::text, 'and has the saved result');
SELECT ok(NOT job_queue.begin_stage(:job_id, :second, 'extract'), 'the expensive call is not made again');

-- 5. The first worker wakes up and tries everything it can.
SELECT throws_ok(format(call, :job_id, :token), 'JQ001', NULL, call)
  FROM unnest(ARRAY[
	'SELECT job_queue.heartbeat(%s, %s)',
	'SELECT job_queue.report_progress(%s, %s, 90)',
	'SELECT job_queue.checkpoint(%s, %s, ''chunk'')',
	'SELECT job_queue.begin_stage(%s, %s, ''embed'')',
	'SELECT job_queue.fail(%s, %s, ''late'')',
	'SELECT job_queue.snooze(%s, %s, ''1 min'')',
	'SELECT job_queue.release(%s, %s)',
	'SELECT job_queue.assert_lease(%s, %s)',
	'SELECT job_queue.complete(%s, %s)']) call;
SELECT results_eq(format('SELECT status, attempt, worker FROM job_queue.get_job(%s)', :job_id),
	$$VALUES ('running', 2, 'second')$$, 'nothing has changed');

-- Partial chunks are known as such; after "chunk" they are kept.
INSERT INTO chunk (document, n) SELECT 1, n FROM generate_series(1, 7) n;
BEGIN;
SELECT job_queue.assert_lease(:job_id, :second) \g /dev/null
DELETE FROM chunk;
INSERT INTO chunk (document, n) SELECT 1, n FROM generate_series(1, 61) n;
SELECT job_queue.checkpoint(:job_id, :second, 'save') \g /dev/null
SELECT job_queue.checkpoint(:job_id, :second, 'chunk', '{"chunks": 61}') \g /dev/null
COMMIT;
SELECT array_agg(id ORDER BY id) AS ids FROM chunk \gset
SELECT job_queue.advance_clock('11 min') \g /dev/null
SELECT pg_temp.wait_until(format('SELECT status = %L FROM job_queue.get_job(%s)', 'ready', :job_id)) \g /dev/null
SELECT lease_token AS third, stage, checkpoint FROM job_queue.claim('documents', worker => 'third') \gset
SELECT is(:'stage'::text, 'chunk', 'from keep_from on the work goes on where it stopped');
SELECT is(:'checkpoint'::jsonb #>> '{chunk,chunks}', '61'::text, 'with the chunks that are there');

-- 6. The document is ready, and its follow-up job enqueued, or neither; once.
BEGIN;
UPDATE document SET ready = true WHERE id = 1;
SELECT job_queue.enqueue('connections', '{"document": 1}', unique_key => 'document 1') \g /dev/null
SELECT job_queue.complete(:job_id, :third) \g /dev/null
ROLLBACK;
SELECT is((SELECT ready FROM document), false, 'a completion that is rolled back leaves the document as it was');
SELECT is((SELECT count(*)::int FROM job_queue.jobs WHERE queue = 'connections'), 0, 'and no follow-up');
BEGIN;
UPDATE document SET ready = true WHERE id = 1;
SELECT job_queue.enqueue('connections', '{"document": 1}', unique_key => 'document 1') \g /dev/null
SELECT ok(job_queue.complete(:job_id, :third), 'the third worker completes it');
COMMIT;
SELECT is((SELECT array_agg(id ORDER BY id) FROM chunk), :'ids'::bigint[], 'the 61 chunks kept their ids');
SELECT is((SELECT count(*)::int FROM job_queue.jobs WHERE queue = 'connections' AND status = 'ready'), 1, 'one follow-up waits');
SELECT is(job_queue.enqueue('connections', '{"document": 1}', unique_key => 'document 1'),
	(SELECT job_id FROM job_queue.jobs WHERE queue = 'connections'), 'however often the document is processed');
SELECT is((SELECT count(*)::int FROM job_queue.attempts WHERE job_id = :job_id), 2, 'two attempts are on record');

-- 7. A job of an older application, with no pipeline and no stages, runs as before.
SELECT job_queue.enqueue('documents', '{"document": 2}') AS plain \gset
SELECT lease_token AS token, coalesce(stage, '') AS stage, coalesce(completed_stages::text, '') AS completed_stages,
	coalesce(checkpoint::text, '') AS checkpoint FROM job_queue.claim('documents') \gset
SELECT is(concat(:'stage', :'completed_stages', :'checkpoint'), '', 'a plain job has no stages');
SELECT ok(job_queue.complete(:plain, :token), 'and completes');

SELECT is_empty('SELECT * FROM job_queue.verify()', 'the invariants hold');
DROP TABLE chunk, document;
SELECT job_queue.drop_queue(name, force => true) FROM unnest('{documents,connections}'::text[]) name \g /dev/null
SELECT * FROM finish();
