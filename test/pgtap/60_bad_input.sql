-- Bad input: a clear error, and nothing changed.
\ir include/setup.sql
SELECT * FROM no_plan();
SELECT job_queue.create_queue('bad') \gset
SELECT job_queue.enqueue_many('bad', '{"1", "2"}') \g /dev/null
SELECT job_id, lease_token FROM job_queue.claim('bad') \gset
CREATE TEMP TABLE running AS SELECT :job_id::bigint AS job_id, :lease_token::bigint AS lease_token;

-- Queue names, in every function that takes one.
CREATE TEMP TABLE named (call text);
INSERT INTO named VALUES ('job_queue.create_queue(%s)'), ('job_queue.alter_queue(%s)'), ('job_queue.pause_queue(%s)'),
	('job_queue.resume_queue(%s)'), ('job_queue.purge_queue(%s)'), ('job_queue.enqueue(%s)'),
	('job_queue.enqueue_many(%s, ''{1}'')'), ('job_queue.claim(%s)'), ('job_queue.drop_queue(%s)'),
	('job_queue.complete_and_claim(%s, ''{}'', ''{}'')');
SELECT pg_temp.refused('SELECT * FROM ' || format(call, 'NULL'), '22004', format(call, 'NULL')) FROM named;
SELECT pg_temp.refused('SELECT * FROM ' || format(call, quote_literal('')), '22023', format(call, 'empty'))
  FROM named WHERE call ~ 'create_queue|enqueue';
SELECT pg_temp.refused('SELECT * FROM ' || format(call, quote_literal(repeat('q', 300))), '22023', format(call, '300 bytes'))
  FROM named WHERE call ~ 'create_queue|enqueue';
SELECT pg_temp.refused('SELECT * FROM ' || format(call, quote_literal(repeat('é', 128))), '22023', format(call, '256 bytes'))
  FROM named WHERE call ~ 'create_queue|enqueue';
SELECT matches(pg_temp.outcome('SELECT * FROM ' || format(call, quote_literal(n.name))), '^(JQ003|22023)$',
		format('%s: no such queue', format(call, left(quote_literal(n.name), 5))))
  FROM named, (VALUES (''), (repeat('q', 300))) n(name) WHERE call !~ 'create_queue|enqueue|drop_queue';

-- Settings of a queue.
CREATE TEMP TABLE setting (setting text, code text);
INSERT INTO setting VALUES
	('max_attempts => 0', '22023'),
	('max_attempts => -1', '22023'),
	('max_attempts => 1000001', '22023'),
	('lease => ''0''', '22023'),
	('lease => ''-1 s''', '22023'),
	('lease => ''1001 years''', '22023'),
	('lease => ''178000000 years''', '22023'),
	('backoff_base => ''-1 s''', '22023'),
	('backoff_base => ''178000000 years''', '22023'),
	('backoff_factor => 0', '22023'),
	('backoff_factor => 0.5', '22023'),
	('backoff_factor => -2', '22023'),
	('backoff_factor => ''NaN''', '22023'),
	('backoff_factor => ''Infinity''', '22023'),
	('backoff_max => ''-1 s''', '22023'),
	('backoff_jitter => -0.1', '22023'),
	('backoff_jitter => 1.1', '22023'),
	('backoff_jitter => ''NaN''', '22023'),
	('job_timeout => ''0''', '22023'),
	('job_timeout => ''-1 s''', '22023'),
	('retention => ''-1 day''', '22023'),
	('max_depth => 0', '22023'),
	('max_depth => -1', '22023'),
	('cleanup_queue => ''''', '22023'),
	('cleanup_queue => repeat(''q'', 300)', '22023'),
	('claim_durability => ''fast''', '22023'),
	('claim_durability => ''''', '22023');
SELECT pg_temp.refused(format('SELECT job_queue.create_queue(%L, %s)', 'bad new', setting), code, 'create_queue: ' || setting) FROM setting;
SELECT pg_temp.refused(format('SELECT job_queue.alter_queue(%L, %s)', 'bad', setting), code, 'alter_queue: ' || setting) FROM setting;
SELECT pg_temp.refused(format('SELECT job_queue.create_queue(%L, %s => NULL)', 'bad new', setting), '22004',
		format('create_queue: %s => NULL', setting))
  FROM unnest('{max_attempts,lease,backoff_base,backoff_factor,backoff_max,backoff_jitter,retention,if_not_exists,claim_durability,notify}'::text[]) setting;

-- Options of a job.
SELECT pg_temp.refused(format('SELECT job_queue.enqueue(%L, %s)', 'bad', option), code, 'enqueue: ' || option)
  FROM (VALUES
	('payload => NULL', '22004'),
	('priority => NULL', '22004'),
	('priority => 32768', '22023'),
	('priority => -32769', '22023'),
	('priority => 2147483647', '22023'),
	('delay => ''-1 s''', '22023'),
	('delay => ''-1 month''', '22023'),
	('delay => ''1001 years''', '22023'),
	('delay => ''178000000 years''', '22023'),
	('delay => ''1 s'', run_at => now()', '22023'),
	('run_at => ''infinity''', '22023'),
	('run_at => ''-infinity''', '22023'),
	('max_attempts => 0', '22023'),
	('max_attempts => -1', '22023'),
	('max_attempts => 1000001', '22023'),
	('unique_key => ''''', '22023'),
	('unique_key => repeat(''k'', 256)', '22023'),
	('unique_key => ''k'', on_duplicate => ''ignore''', '22023'),
	('unique_key => ''k'', on_duplicate => NULL', '22004'),
	('on_duplicate => ''ignore''', '22023'),
	('job_type => ''''', '22023'),
	('job_type => repeat(''t'', 256)', '22023'),
	('user_id => ''''', '22023'),
	('user_id => repeat(''u'', 256)', '22023'),
	('pipeline => ''''', '22023'),
	('pipeline => ''none''', 'JQ011'),
	('session_id => 1', 'JQ011'),
	('job_timeout => ''0''', '22023'),
	('job_timeout => ''-1 s''', '22023'),
	('job_timeout => ''1001 years''', '22023')) bad(option, code);
SELECT pg_temp.refused(format('SELECT job_queue.enqueue_many(%L, %L, %s)', 'bad', '{1,2}', option), code, 'enqueue_many: ' || option)
  FROM (VALUES
	('priority => 32768', '22023'),
	('delay => ''-1 s''', '22023'),
	('delay => ''1 s'', run_at => now()', '22023'),
	('run_at => ''infinity''', '22023'),
	('max_attempts => 0', '22023'),
	('job_type => repeat(''t'', 256)', '22023'),
	('pipeline => ''none''', 'JQ011'),
	('session_id => 1', 'JQ011'),
	('job_timeout => ''0''', '22023')) bad(option, code);
SELECT throws_ok($$SELECT job_queue.enqueue('bad', '{"a": "\u0000"}')$$, '22P05', NULL, 'JSON itself refuses a zero byte');

-- Claims.
SELECT pg_temp.refused(format('SELECT * FROM job_queue.claim(%L, %s)', 'bad', option), code, 'claim: ' || option)
  FROM (VALUES
	('NULL', '22004'),
	('0', '22023'),
	('-1', '22023'),
	('10001', '22023'),
	('2147483647', '22023'),
	('1, ''''', '22023'),
	('1, repeat(''w'', 256)', '22023'),
	('1, lease => ''0''', '22023'),
	('1, lease => ''-1 s''', '22023'),
	('1, lease => ''1001 years''', '22023'),
	('1, lease => ''178000000 years''', '22023')) bad(option, code);
SELECT pg_temp.refused(format('SELECT * FROM job_queue.complete_and_claim(%L, ARRAY[%s], ARRAY[%s], NULL, %s)',
		'bad', job_id, lease_token, option), code, 'complete_and_claim: ' || option)
  FROM running, (VALUES
	('0', '22023'),
	('10001', '22023'),
	('1, repeat(''w'', 256)', '22023'),
	('1, lease => ''-1 s''', '22023')) bad(option, code);
SELECT pg_temp.refused(format('SELECT * FROM job_queue.complete_and_claim(%L, ARRAY[%s], ARRAY[%s])', 'bad none', job_id, lease_token),
	'JQ003', 'complete_and_claim from a queue that does not exist') FROM running;
SELECT pg_temp.refused('SELECT * FROM job_queue.claim(''bad none'')', 'JQ003', 'claim from a queue that does not exist');
SELECT pg_temp.refused(format('CALL job_queue.wait_for_jobs(%s)', arguments), code, format('wait_for_jobs(%s)', arguments))
  FROM (VALUES
	('NULL', '22004'),
	('''bad'', NULL', '22004'),
	('''bad'', ''-1 s''', '22023'),
	('''bad'', ''1001 years''', '22023'),
	('''bad none''', 'JQ003')) bad(arguments, code);
SELECT pg_temp.refused(format('SELECT job_queue.heartbeat(%s, %s, %s)', job_id, lease_token, lease), '22023', 'heartbeat with a lease of ' || lease)
  FROM running, unnest(ARRAY['''0''', '''-1 s''', '''1001 years''']) lease;
SELECT pg_temp.refused(format('SELECT * FROM job_queue.heartbeat_many(ARRAY[%s], ARRAY[%s], %L)', job_id, lease_token, '-1 s'), '22023',
	'heartbeat_many with a negative lease') FROM running;

-- The test clock and the fault points.
SELECT throws_ok('SELECT job_queue.advance_clock(NULL)', '22004', NULL, 'a clock is not moved by nothing');
SELECT throws_ok($$SELECT job_queue.fault_arm('claim-after-pop', 'explode')$$, '22023', NULL, 'a fault is one of five');

-- Settings.
SELECT throws_ok(format('SET job_queue.%s', setting), code, NULL, 'SET ' || setting)
  FROM (VALUES
	('auto_create_queues = maybe', '22023'),
	('max_payload_bytes = -1', '22023'),
	('max_payload_bytes = ''lots''', '22023'),
	('testing = off', '55P02'),
	('max_queues = 1', '55P02'),
	('no_such_setting = 1', '42602')) bad(setting, code);

-- Nothing of all that left a trace.
SELECT results_eq($$SELECT payload::text, status FROM job_queue.jobs WHERE queue = 'bad' ORDER BY job_id$$,
	$$VALUES ('1', 'running'), ('2', 'ready')$$, 'the jobs are as they were');
SELECT is(job_queue.heartbeat(job_id, lease_token), 'held', 'the lease is held') FROM running;
SELECT is((SELECT array_agg(payload) FROM job_queue.claim('bad', 10)), ARRAY['2'::jsonb], 'and the other job is claimed, once');
SELECT is((SELECT count(*)::int FROM job_queue.queues WHERE name IN ('bad new', 'bad none', '') OR octet_length(name) > 255), 0,
	'no queue was made');

SELECT is(job_queue.drop_queue('bad', force => true), true, 'cleaned up');
SELECT is_empty('SELECT * FROM job_queue.verify()', 'the invariants hold');
SELECT * FROM finish();
