-- What can be asked: one row per job, in whatever state it is.
\ir include/setup.sql
SELECT * FROM no_plan();
SELECT job_queue.create_queue('views', max_attempts => 5) \gset
SELECT job_queue.create_queue('views other') \gset

-- One job in each state, and a name to call it by.
CREATE TEMP TABLE j (state text, job_id bigint, lease_token bigint);
INSERT INTO j SELECT state, job_queue.enqueue('views', to_jsonb(state), user_id => CASE WHEN state < 'f' THEN 'anna' ELSE 'bert' END)
  FROM unnest('{running,completed,failed,cancelled,retrying}'::text[]) state;
UPDATE j SET lease_token = c.lease_token FROM job_queue.claim('views', 5, 'w') c WHERE c.job_id = j.job_id;
SELECT job_queue.complete(job_id, lease_token) FROM j WHERE state = 'completed' \g /dev/null
SELECT job_queue.fail(job_id, lease_token, 'bad', 'E') FROM j WHERE state = 'retrying' \g /dev/null
SELECT job_queue.fail(job_id, lease_token, 'worse', 'F', retryable => false) FROM j WHERE state = 'failed' \g /dev/null
SELECT job_queue.cancel(job_id), job_queue.release(job_id, lease_token) FROM j WHERE state = 'cancelled' \g /dev/null
INSERT INTO j SELECT state, job_queue.enqueue('views', to_jsonb(state), delay => CASE state WHEN 'scheduled' THEN interval '1 h' END)
  FROM unnest('{ready,scheduled}'::text[]) state;

SELECT results_eq(
	$$SELECT state, status FROM j JOIN job_queue.jobs USING (job_id) ORDER BY state COLLATE "C"$$,
	$$VALUES ('cancelled', 'cancelled'), ('completed', 'completed'), ('failed', 'failed'), ('ready', 'ready'),
			 ('retrying', 'scheduled'), ('running', 'running'), ('scheduled', 'scheduled')$$,
	'view jobs has each job once, with its status');
SELECT is(g.status, v.status, 'get_job gives the same of the ' || state || ' job')
  FROM j JOIN job_queue.jobs v USING (job_id), job_queue.get_job(j.job_id) g;
SELECT throws_ok('SELECT * FROM job_queue.get_job(0)', 'JQ006', NULL, 'get_job of a job that does not exist');
SELECT throws_ok('SELECT * FROM job_queue.get_job(NULL)', '22004', NULL, 'get_job of null');
SELECT results_eq($$SELECT state FROM j JOIN job_queue.running_jobs USING (job_id)$$, $$VALUES ('running')$$,
	'view running_jobs has the running one');
SELECT is_empty($$SELECT * FROM j JOIN job_queue.stalled_jobs USING (job_id)$$, 'view stalled_jobs has none');
SELECT results_eq($$SELECT state, error_code, error_message FROM j JOIN job_queue.attempts USING (job_id) ORDER BY state$$,
	$$VALUES ('failed', 'F', 'worse'), ('retrying', 'E', 'bad')$$, 'view attempts has one row per failed attempt');

-- Versions rise with every change.
SELECT version AS before FROM j JOIN job_queue.jobs USING (job_id) WHERE state = 'running' \gset
SELECT job_queue.report_progress(job_id, lease_token, 5) FROM j WHERE state = 'running' \g /dev/null
SELECT cmp_ok(version, '>', :before::bigint, 'a report of progress raises the version')
  FROM j JOIN job_queue.jobs USING (job_id) WHERE state = 'running';
SELECT version AS before FROM j JOIN job_queue.jobs USING (job_id) WHERE state = 'running' \gset
SELECT job_queue.complete(job_id, lease_token) FROM j WHERE state = 'running' \g /dev/null
SELECT cmp_ok(version, '>', :before::bigint, 'and so does the end')
  FROM j JOIN job_queue.jobs USING (job_id) WHERE state = 'running';

-- History.
SELECT results_eq($$SELECT payload #>> '{}' FROM job_queue.history(queue => 'views') ORDER BY job_id$$,
	$$VALUES ('running'), ('completed'), ('failed'), ('cancelled')$$, 'history has the finished jobs of a queue');
SELECT results_eq($$SELECT payload #>> '{}' FROM job_queue.history(user_id => 'anna', queue => 'views') ORDER BY job_id$$,
	$$VALUES ('completed'), ('cancelled')$$, 'of a user');
SELECT results_eq($$SELECT payload #>> '{}' FROM job_queue.history(queue => 'views', status => 'failed')$$, $$VALUES ('failed')$$,
	'of a status');
SELECT is((SELECT array_agg(payload #>> '{}') FROM job_queue.history(queue => 'views', limit_rows => 1)), '{running}',
	'the last finished first');
SELECT finished_at FROM j JOIN job_queue.jobs USING (job_id) WHERE state = 'running' \gset
SELECT is_empty(format($$SELECT * FROM job_queue.history(queue => 'views', finished_after => %L)$$, :'finished_at'),
	'and those after a time');
SELECT is((SELECT count(*)::int FROM job_queue.history(queue => 'views', finished_after => :'finished_at'::timestamptz - interval '1 h')), 4,
	'or all of them');
SELECT is_empty($$SELECT * FROM job_queue.history(queue => 'views none')$$, 'a queue without jobs has no history');
SELECT pg_temp.refused(format('SELECT * FROM job_queue.history(%s)', arguments), code, 'history: ' || arguments)
  FROM (VALUES ('status => $$done$$', '22023'), ('limit_rows => 0', '22023'), ('limit_rows => 10001', '22023'),
	('limit_rows => NULL', '22004')) bad(arguments, code);

-- Queues: depth by state.
SELECT results_eq(
	$$SELECT name, ready, scheduled, running FROM job_queue.queues WHERE name LIKE 'views%' ORDER BY name$$,
	$$VALUES ('views', 1::bigint, 2::bigint, 0::bigint), ('views other', 0, 0, 0)$$,
	'view queues counts the unfinished jobs by state, empty queues too');
SELECT lease_token AS t, job_id AS id FROM job_queue.claim('views') \gset
SELECT results_eq($$SELECT ready, scheduled, running FROM job_queue.queues WHERE name = 'views'$$,
	$$VALUES (0::bigint, 2::bigint, 1::bigint)$$, 'and follows each change');
BEGIN;
SELECT job_queue.enqueue('views') \g /dev/null
SELECT is(ready, 1::bigint, 'within a transaction too') FROM job_queue.queues WHERE name = 'views';
ROLLBACK;
SELECT is(ready, 0::bigint, 'and back') FROM job_queue.queues WHERE name = 'views';
SELECT is((SELECT sum(ready + scheduled + running)::bigint FROM job_queue.queues),
	(SELECT count(*) FROM job_queue.jobs WHERE status IN ('ready', 'scheduled', 'running')), 'the sums agree with the jobs');

-- A finished job stays visible for its queue's retention, under any name.
SELECT is((SELECT count(*)::int FROM job_queue.jobs WHERE queue IS NULL), 0, 'every job knows its queue');

SELECT is(job_queue.drop_queue(name, force => true), true, 'cleaned up: ' || name)
  FROM job_queue.queues WHERE name LIKE 'views%';
SELECT is_empty('SELECT * FROM job_queue.verify()', 'the invariants hold');
SELECT * FROM finish();
