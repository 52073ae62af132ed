-- Many jobs at once: enqueue_many for jobs alike, enqueue_jobs for any.
\ir include/setup.sql
SELECT * FROM no_plan();
SELECT job_queue.create_queue('many') \gset

CREATE TEMP TABLE id AS
	SELECT n, job_id FROM job_queue.enqueue_many('many',
		(SELECT array_agg(jsonb_build_object('n', i) ORDER BY i) FROM generate_series(1, 1000) i))
		WITH ORDINALITY e(job_id, n);
SELECT is((SELECT count(DISTINCT job_id)::int FROM id), 1000, 'each payload gives a job');
SELECT is_empty('SELECT n, job_id FROM id JOIN job_queue.jobs USING (job_id)
	WHERE (payload ->> $$n$$)::int <> n', 'ids come in the order of the payloads');
SELECT results_eq($$SELECT (payload ->> 'n')::int FROM job_queue.claim('many', 1000)$$,
	'SELECT generate_series(1, 1000)', 'they are claimed in that order');

SELECT is_empty($$SELECT job_queue.enqueue_many('many', '{}')$$, 'no payload, no job');
SELECT job_queue.define_pipeline('many', '{a,b}') \gset
SELECT job_queue.enqueue_many('many', '{"1", "2"}', 'a type', -5, '1 h', NULL, 8, NULL, 'many', '2 h',
	'a user', '{"m": 2}') \g /dev/null
SELECT results_eq(
	$$SELECT v.payload, v.job_type, v.status, v.priority, v.max_attempts, v.pipeline, v.user_id, v.metadata,
			 j.job_timeout, round(pg_temp.seconds(v.run_at - v.enqueued_at))::int
		FROM job_queue.jobs v JOIN job_queue.job j ON j.id = v.job_id
	   WHERE v.user_id = 'a user' ORDER BY job_id$$,
	$$SELECT n::text::jsonb, 'a type', 'scheduled', -5, 8, 'many', 'a user', '{"m": 2}'::jsonb,
			 interval '2 h', 3600
		FROM generate_series(1, 2) n$$,
	'every option is kept');
SELECT job_queue.purge_queue('many') \g /dev/null

SELECT pg_temp.refused($$SELECT job_queue.enqueue_many('many', NULL)$$, '22004', 'no array');
SELECT pg_temp.refused($$SELECT job_queue.enqueue_many('many', ARRAY['1', NULL]::jsonb[])$$, '22004',
	'an array with a null in it');
SELECT pg_temp.refused($$SELECT job_queue.enqueue_many('many', '{{"1", "2"}, {"3", "4"}}')$$, '2202E',
	'an array of arrays');
SELECT pg_temp.refused($$SELECT job_queue.enqueue_many('many', '{"1"}', delay => '1 s',
	run_at => job_queue.clock())$$, '22023', 'delay and run_at');
SELECT is_empty($$SELECT * FROM job_queue.claim('many')$$, 'none of them left a job to claim');

-- enqueue_jobs.
CREATE TEMP TABLE job AS
	SELECT * FROM job_queue.enqueue_jobs('[
		{"queue": "many", "payload": {"n": 1}},
		{"queue": "many other", "payload": {"n": 2}, "job_type": "a type", "priority": -5,
		 "delay": "1 h", "max_attempts": 8, "unique_key": "a key", "on_duplicate": "error",
		 "pipeline": "many", "job_timeout": "2 h", "user_id": "a user", "metadata": {"m": 2}},
		{"queue": "many", "unique_key": "b"},
		{"queue": "many", "unique_key": "b"},
		{"queue": "many", "run_at": "2999-01-01 00:00:00+00"},
		{"queue": "many", "job_type": null, "delay": null, "run_at": null}
	]');
SELECT results_eq('SELECT ordinal, created FROM job ORDER BY ordinal',
	'VALUES (1, true), (2, true), (3, true), (4, false), (5, true), (6, true)',
	'a row per job in order; created tells whether it is new');
SELECT is((SELECT count(DISTINCT job_id)::int FROM job WHERE ordinal IN (3, 4)), 1,
	'a key that comes twice gives the same job twice');
SELECT results_eq(
	$$SELECT v.queue, v.payload, v.job_type, v.status, v.priority, v.max_attempts, v.unique_key, v.pipeline,
			 v.user_id, v.metadata, j.job_timeout, round(pg_temp.seconds(v.run_at - v.enqueued_at))::int
		FROM job JOIN job_queue.jobs v USING (job_id) JOIN job_queue.job j ON j.id = v.job_id
	   WHERE ordinal = 2$$,
	$$VALUES ('many other', '{"n": 2}'::jsonb, 'a type', 'scheduled', -5, 8, 'a key', 'many', 'a user',
			  '{"m": 2}'::jsonb, interval '2 h', 3600)$$,
	'every key is kept');
SELECT is((SELECT run_at FROM job JOIN job_queue.jobs USING (job_id) WHERE ordinal = 5),
	'2999-01-01 00:00:00+00'::timestamptz, 'run_at is a time');
SELECT results_eq(
	'SELECT status, job_type, run_at, payload FROM job JOIN job_queue.jobs USING (job_id) WHERE ordinal = 6',
	$$VALUES ('ready', NULL::text, NULL::timestamptz, '{}'::jsonb)$$,
	'a null is the same as nothing');
SELECT results_eq($$SELECT ordinal FROM job_queue.claim('many', 10) JOIN job USING (job_id)
	WHERE ordinal <> 4 ORDER BY ordinal$$, 'VALUES (1), (3), (6)', 'they are claimed');
SELECT is_empty($$SELECT * FROM job_queue.enqueue_jobs('[]')$$, 'no object, no job');

SELECT pg_temp.refused(format('SELECT * FROM job_queue.enqueue_jobs(%L)', jobs), code, description)
  FROM (VALUES
	(NULL, '22004', 'no jobs'),
	('{"queue": "many"}', '22023', 'an object, not an array'),
	('"many"', '22023', 'a string'),
	('null', '22023', 'a JSON null'),
	('[1]', '22023', 'a number in the array'),
	('[[]]', '22023', 'an array in the array'),
	('[null]', '22023', 'a null in the array'),
	('[{}]', '22004', 'no queue'),
	('[{"queue": null}]', '22004', 'a null as queue'),
	('[{"queue": ""}]', '22023', 'an empty queue name'),
	('[{"queue": "many"}, {"queue": "many", "prioritty": 1}]', '22023', 'an unknown key after a good job'),
	('[{"queue": "many", "priority": "high"}]', '22023', 'a priority that is no number'),
	('[{"queue": "many", "priority": 1.5}]', '22023', 'a priority that is no whole number'),
	('[{"queue": "many", "priority": 40000}]', '22023', 'a priority out of range'),
	('[{"queue": "many", "priority": 1e30}]', '22003', 'a priority far out of range'),
	('[{"queue": "many", "delay": "soon"}]', '22007', 'a delay that is no interval'),
	('[{"queue": "many", "delay": "-1 s"}]', '22023', 'a negative delay'),
	('[{"queue": "many", "run_at": "yesterweek"}]', '22007', 'a time that is none'),
	('[{"queue": "many", "run_at": "infinity"}]', '22023', 'an infinite time'),
	('[{"queue": "many", "delay": "1 s", "run_at": "2999-01-01"}]', '22023', 'delay and run_at'),
	('[{"queue": "many", "job_type": {"a": 1}}]', '22023', 'a job_type that is an object'),
	('[{"queue": "many", "on_duplicate": "maybe"}]', '22023', 'an unknown on_duplicate'),
	('[{"queue": "many", "pipeline": "none"}]', 'JQ011', 'an unknown pipeline'),
	('[{"queue": "many", "session_id": 1}]', 'JQ011', 'an unknown session'),
	('[{"queue": "many", "unique_key": "k"}, {"queue": "many", "unique_key": "k", "on_duplicate": "error"}]',
		'JQ004', 'a key that comes twice')
  ) bad(jobs, code, description);
SELECT is_empty($$SELECT * FROM job_queue.claim('many')$$, 'none of them left a job to claim');
SELECT is((SELECT count(*)::int FROM job_queue.queues WHERE name = ''), 0, 'nor a queue');

-- More jobs in one transaction than it can take notes of, and one that waits.
SELECT job_queue.create_queue('many in one', lease => '1 day') \gset
BEGIN;
SELECT count(*) FROM job_queue.enqueue_many('many in one', array_fill('{}'::jsonb, '{70000}')) \g /dev/null
SELECT job_queue.enqueue('many in one', '"delayed"', priority => -1, delay => '1 h') \g /dev/null
SELECT job_queue.enqueue('many in one', '"urgent"', priority => -2) \g /dev/null
COMMIT;
SELECT is((SELECT payload FROM job_queue.claim('many in one')), '"urgent"', 'after 70000 jobs in one transaction the urgent one is first');
SELECT is((SELECT count(DISTINCT c.job_id)::int FROM generate_series(1, 7) n, LATERAL job_queue.claim('many in one', 10000 + n * 0) c),
	70000, 'the others are all claimed');
SELECT job_queue.advance_clock('1 h') \g /dev/null
CALL job_queue.wait_for_jobs('many in one', '10 s') \gset
SELECT is((SELECT payload FROM job_queue.claim('many in one')), '"delayed"', 'and the delayed one when it is due');

SELECT is(job_queue.drop_queue(name, force => true), true, 'cleaned up: ' || name)
  FROM job_queue.queues WHERE name LIKE 'many%';
SELECT is_empty('SELECT * FROM job_queue.verify()', 'the invariants hold');
SELECT * FROM finish();
