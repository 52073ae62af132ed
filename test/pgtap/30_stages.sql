-- Stages and checkpoints: what was saved once is not done twice.
\ir include/setup.sql
SELECT * FROM no_plan();
SELECT job_queue.create_queue('stages', max_attempts => 20, backoff_base => '0', backoff_jitter => 0) \gset
SELECT job_queue.define_pipeline('stages doc', '{extract,chunk,embed,index}', '{10,20,30,40}', 'chunk') \gset

-- Claims the one job of the queue after it has failed; an attempt of its own.
CREATE PROCEDURE pg_temp.again(INOUT job_id bigint, INOUT lease_token bigint, INOUT stage text DEFAULT NULL,
							   INOUT completed_stages text[] DEFAULT NULL, INOUT checkpoint jsonb DEFAULT NULL)
LANGUAGE plpgsql AS $$
BEGIN
	PERFORM job_queue.fail(job_id, lease_token, 'killed', retry_in => '0 s');
	LOOP
		COMMIT;
		SELECT c.lease_token, coalesce(c.stage, ''), c.completed_stages, c.checkpoint
		  INTO lease_token, stage, completed_stages, checkpoint FROM job_queue.claim('stages') c;
		EXIT WHEN FOUND;
		PERFORM pg_sleep(0.002);
	END LOOP;
END
$$;

SELECT job_queue.enqueue('stages', pipeline => 'stages doc') AS job_id \gset
SELECT lease_token, coalesce(stage, '') AS stage, pipeline FROM job_queue.claim('stages') \gset
SELECT is(:'pipeline' || '/' || :'stage', 'stages doc/', 'a fresh job of a pipeline has no stage');
SELECT ok(job_queue.begin_stage(:job_id, :lease_token, 'extract', 'page 1'), 'a stage is to be done');
SELECT results_eq(format('SELECT stage, message FROM job_queue.jobs WHERE job_id = %s', :job_id),
	$$VALUES ('extract', 'page 1')$$, 'everybody sees it');
SELECT is(job_queue.get_checkpoint(:job_id, 'extract'), NULL, 'nothing is saved yet');
SELECT is(job_queue.checkpoint(:job_id, :lease_token, 'extract', '{"pages": 3}'), 'held', 'a stage is completed');
SELECT is(job_queue.get_checkpoint(:job_id, 'extract'), '{"pages": 3}', 'what it saved can be read');
SELECT is(progress, 10::double precision, 'progress is the weight of the stage') FROM job_queue.jobs WHERE job_id = :job_id;
SELECT ok(NOT job_queue.begin_stage(:job_id, :lease_token, 'extract'), 'a stage that is done is to be skipped');
SELECT is(job_queue.checkpoint(:job_id, :lease_token, 'extract', '{"pages": 3}'), 'held', 'repeating it is harmless');
SELECT is(progress, 10::double precision, 'and adds no progress') FROM job_queue.jobs WHERE job_id = :job_id;

-- Before keep_from a new attempt starts afresh, with what was saved.
CALL pg_temp.again(:job_id, :lease_token) \gset
SELECT is(:'stage'::text, '', 'killed before keep_from: no stage to go on from');
SELECT is(:'completed_stages'::text[], '{extract}', 'but the completed stages are known');
SELECT is(:'checkpoint'::jsonb, '{"extract": {"pages": 3}}', 'with what they saved');
SELECT ok(NOT job_queue.begin_stage(:job_id, :lease_token, 'extract'), 'and are skipped');
SELECT ok(job_queue.begin_stage(:job_id, :lease_token, 'chunk'), 'the next one is not');
CALL pg_temp.again(:job_id, :lease_token) \gset
SELECT is(:'stage'::text, '', 'killed within the stage of keep_from: the same');
SELECT ok(job_queue.begin_stage(:job_id, :lease_token, 'chunk'), 'it is to be done again');
SELECT is(job_queue.checkpoint(:job_id, :lease_token, 'chunk', '[61]'), 'held', 'the stage of keep_from is completed');
SELECT is(progress, 30::double precision, 'progress is the sum of the weights so far') FROM job_queue.jobs WHERE job_id = :job_id;
CALL pg_temp.again(:job_id, :lease_token) \gset
SELECT is(:'stage'::text, 'chunk', 'killed after keep_from: the last completed stage');
SELECT is(:'completed_stages'::text[], '{extract,chunk}', 'completed stages come in their order');
SELECT is(:'checkpoint'::jsonb, '{"extract": {"pages": 3}, "chunk": [61]}', 'each with what it saved');
SELECT is(job_queue.checkpoint(:job_id, :lease_token, 'embed', progress => 55), 'held', 'a checkpoint may say its progress');
SELECT is(progress, 55::double precision, 'which counts then') FROM job_queue.jobs WHERE job_id = :job_id;
SELECT is(job_queue.get_checkpoint(:job_id, 'embed'), NULL, 'and may have nothing to save');
SELECT ok(NOT job_queue.begin_stage(:job_id, :lease_token, 'embed'), 'it is completed all the same');
CALL pg_temp.again(:job_id, :lease_token) \gset
SELECT is(:'stage'::text, 'embed', 'the last completed stage moves on');
SELECT is(:'checkpoint'::jsonb -> 'chunk', '[61]', 'the states are still there');
SELECT ok(job_queue.complete(:job_id, :lease_token), 'the job completes');
SELECT is(job_queue.get_checkpoint(:job_id, 'chunk'), '[61]', 'and its checkpoints stay');

-- Checkpoints belong to their transaction and to the holder of the lease.
SELECT job_queue.enqueue('stages') AS job_id \gset
SELECT lease_token FROM job_queue.claim('stages') \gset
BEGIN;
SELECT job_queue.checkpoint(:job_id, :lease_token, 'one', '1') \g /dev/null
ROLLBACK;
SELECT is(job_queue.get_checkpoint(:job_id, 'one'), NULL, 'a checkpoint that was rolled back is none');
SELECT ok(job_queue.begin_stage(:job_id, :lease_token, 'one'), 'and its stage is to be done');
SELECT job_queue.checkpoint(:job_id, :lease_token, 'one', '1') \g /dev/null
BEGIN;
SAVEPOINT s;
SELECT job_queue.checkpoint(:job_id, :lease_token, 'two', '2') \g /dev/null
ROLLBACK TO s;
SELECT ok(job_queue.begin_stage(:job_id, :lease_token, 'two'), 'the same with savepoints');
SELECT job_queue.checkpoint(:job_id, :lease_token, 'two', '22') \g /dev/null
COMMIT;
SELECT is(job_queue.get_checkpoint(:job_id, 'two'), '22', 'what was committed counts');
SELECT :lease_token AS old_token \gset
CALL pg_temp.again(:job_id, :lease_token) \gset
SELECT is(:'completed_stages'::text[], '{one,two}', 'stages need no pipeline');
SELECT pg_temp.refused(format('SELECT job_queue.checkpoint(%s, %s, %L, %L)', :job_id, :old_token, 'one', '"old"'), 'JQ001',
	'a worker that lost its lease saves nothing');
SELECT pg_temp.refused(format('SELECT job_queue.begin_stage(%s, %s, %L)', :job_id, :old_token, 'one'), 'JQ001',
	'and begins nothing');

-- A checkpoint is a heartbeat.
SELECT job_queue.advance_clock('4 min') \g /dev/null
SELECT job_queue.checkpoint(:job_id, :lease_token, 'three') \g /dev/null
SELECT is(round(pg_temp.seconds(lease_expires_at - job_queue.clock())), 300::double precision, 'a checkpoint counts as a heartbeat')
  FROM job_queue.jobs WHERE job_id = :job_id;

-- Large states and odd names.
SELECT job_queue.checkpoint(:job_id, :lease_token, E'it''s\n"big"', to_jsonb(repeat('x', 1000000))) \g /dev/null
SELECT is(length(job_queue.get_checkpoint(:job_id, E'it''s\n"big"') #>> '{}'), 1000000, 'a state of 1 MB is kept');
CALL pg_temp.again(:job_id, :lease_token) \gset
SELECT is(length(:'checkpoint'::jsonb ->> E'it''s\n"big"'), 1000000, 'and handed to the next attempt');
SELECT is(:'completed_stages'::text[], ARRAY['one', 'two', 'three', E'it''s\n"big"'], 'whatever the name of the stage');

-- retry keeps checkpoints, restart forgets them.
SELECT job_queue.fail(:job_id, :lease_token, 'x', retryable => false) \g /dev/null
SELECT job_queue.retry(:job_id) \g /dev/null
SELECT lease_token, attempt, completed_stages FROM job_queue.claim('stages') \gset
SELECT is(:'completed_stages'::text[], ARRAY['one', 'two', 'three', E'it''s\n"big"'], 'retry keeps the checkpoints');
SELECT job_queue.fail(:job_id, :lease_token, 'x', retryable => false) \g /dev/null
SELECT job_queue.restart(:job_id) \g /dev/null
SELECT lease_token, concat(stage, nullif(completed_stages, '{}'), nullif(checkpoint, '{}')) AS resume FROM job_queue.claim('stages') \gset
SELECT is(:'resume'::text, '', 'restart forgets them');
SELECT ok(job_queue.begin_stage(:job_id, :lease_token, 'one'), 'and does everything again');
SELECT is(job_queue.get_checkpoint(:job_id, 'one'), NULL, 'nothing is saved');

-- Defining pipelines.
SELECT lives_ok($$SELECT job_queue.define_pipeline('stages doc', '{a,b}')$$, 'a pipeline may be defined anew');
SELECT job_queue.enqueue('stages', pipeline => 'stages doc', priority => -1) AS equal \gset
SELECT lease_token AS equal_token FROM job_queue.claim('stages') \gset
SELECT job_queue.checkpoint(:equal, :equal_token, 'a') \g /dev/null
SELECT is(progress, 50::double precision, 'without weights all stages weigh the same') FROM job_queue.jobs WHERE job_id = :equal;
SELECT job_queue.checkpoint(:equal, :equal_token, 'b') \g /dev/null
SELECT is(progress, 100::double precision, 'and sum up to all') FROM job_queue.jobs WHERE job_id = :equal;
SELECT pg_temp.refused(format('SELECT job_queue.define_pipeline(%s)', arguments), code, arguments)
  FROM (VALUES
	('NULL, $${a}$$', '22004'),
	('$$$$, $${a}$$', '22023'),
	('repeat($$x$$, 300), $${a}$$', '22023'),
	('$$p$$, NULL', '22004'),
	('$$p$$, $${}$$', '22023'),
	('$$p$$, $${a,NULL}$$', '22023'),
	('$$p$$, $${a,""}$$', '22023'),
	('$$p$$, $${a,a}$$', '22023'),
	('$$p$$, $${{a},{b}}$$', '22023'),
	('$$p$$, $${a,b}$$, $${1}$$', '2202E'),
	('$$p$$, $${a,b}$$, $${1,NULL}$$', '22023'),
	('$$p$$, $${a,b}$$, $${1,-1}$$', '22023'),
	('$$p$$, $${a,b}$$, $${1,NaN}$$', '22023'),
	('$$p$$, $${a,b}$$, $${1,Infinity}$$', '22023'),
	('$$p$$, $${a,b}$$, $${0,0}$$', '22023'),
	('$$p$$, $${a,b}$$, keep_from => $$c$$', '22023')) bad(arguments, code);
SELECT pg_temp.refused($$SELECT job_queue.enqueue('stages', pipeline => 'stages none')$$, 'JQ011', 'a pipeline that does not exist');
SELECT pg_temp.refused(format('SELECT job_queue.%s', replace(call, 'JOB', format('%s, %s', :job_id, :lease_token))), code, call)
  FROM (VALUES
	('begin_stage(JOB, NULL)', '22004'),
	('begin_stage(JOB, $$$$)', '22023'),
	('begin_stage(JOB, repeat($$x$$, 300))', '22023'),
	('checkpoint(JOB, NULL)', '22004'),
	('checkpoint(JOB, $$$$)', '22023'),
	('checkpoint(JOB, repeat($$x$$, 300))', '22023'),
	('checkpoint(JOB, $$s$$, progress => -1)', '22023'),
	('checkpoint(JOB, $$s$$, progress => 100.5)', '22023'),
	('checkpoint(JOB, $$s$$, progress => $$NaN$$)', '22023'),
	('get_checkpoint(NULL, $$s$$)', '22004'),
	('get_checkpoint(1, NULL)', '22004')) bad(call, code);
SELECT is(job_queue.get_checkpoint(0, 'one'), NULL, 'a job that does not exist has no checkpoint');

SELECT is(job_queue.drop_queue('stages', force => true), true, 'cleaned up');
SELECT is_empty('SELECT * FROM job_queue.verify()', 'the invariants hold');
SELECT * FROM finish();
