-- Everything here works with and without the library in
-- shared_preload_libraries.
\set SHOW_CONTEXT never

-- A queue is made by the first job, or before it.
SELECT job_queue.create_queue('mail', max_attempts => 5);
SELECT job_queue.create_queue('mail', if_not_exists => true);
SELECT job_queue.create_queue('mail');
SELECT job_queue.enqueue('mail', '{"to": "anna"}') > 0 AS enqueued;
SELECT job_queue.enqueue('mail', '{"to": "bert"}', priority => -1, delay => '1 h') > 0 AS enqueued;
SELECT count(*) FROM job_queue.enqueue_many('report', '{"1", "2", "3"}', job_type => 'weekly');
SELECT queue, payload, job_type, status, priority, max_attempts FROM job_queue.jobs ORDER BY queue, job_id;
SELECT name, ready, scheduled, running, paused FROM job_queue.queues ORDER BY name;

-- Jobs as JSON.
SELECT ordinal, created FROM job_queue.enqueue_jobs('[
	{"queue": "mail", "payload": {"to": "carl"}, "unique_key": "carl"},
	{"queue": "mail", "payload": {"to": "carl"}, "unique_key": "carl"},
	{"queue": "import", "priority": 7}]');
SELECT * FROM job_queue.enqueue_jobs('[{"queue": "mail"}, {"queue": "mail", "color": "red"}]');

-- A job exists once the transaction that enqueued it commits, and not before.
BEGIN;
SELECT job_queue.enqueue('mail', '{"to": "dora"}') AS job_id \gset
ROLLBACK;
SELECT count(*) FROM job_queue.jobs WHERE job_id = :job_id;

-- A unique key is taken until its job is finished.
SELECT job_queue.enqueue('mail', unique_key => 'k') AS job_id \gset
SELECT job_queue.enqueue('mail', unique_key => 'k') = :job_id AS same;
SELECT job_queue.enqueue('mail', '{"to": "emil"}', unique_key => 'k', on_duplicate => 'replace') = :job_id AS same;
SELECT payload FROM job_queue.get_job(:job_id);
\set VERBOSITY sqlstate
SELECT job_queue.enqueue('mail', unique_key => 'k', on_duplicate => 'error');
\set VERBOSITY default

-- What is wrong is said.
SELECT job_queue.enqueue(NULL);
SELECT job_queue.enqueue('');
SELECT job_queue.enqueue('mail', NULL);
SELECT job_queue.enqueue('mail', priority => 100000);
SELECT job_queue.enqueue('mail', delay => '-1 s');
SELECT job_queue.enqueue('mail', delay => '1 s', run_at => '2099-01-01');
SELECT job_queue.enqueue('mail', run_at => 'infinity');
SELECT job_queue.enqueue('mail', pipeline => 'none');
SELECT job_queue.enqueue('mail', session_id => 1);
SELECT job_queue.enqueue_many('mail', ARRAY['1', NULL]::jsonb[]);
SET job_queue.auto_create_queues = off;
SELECT job_queue.enqueue('post');
RESET job_queue.auto_create_queues;
SELECT job_queue.get_job(0);
SELECT job_queue.drop_queue('mail');
SELECT job_queue.pause_queue('post');

-- A queue may be bounded.
SELECT job_queue.create_queue('small', max_depth => 2);
SELECT count(*) FROM job_queue.enqueue_many('small', '{"1", "2"}');
SELECT job_queue.enqueue('small');

-- Everything can be written and read by a dump.
SELECT queue, status, count(*) FROM job_queue.jobs GROUP BY queue, status ORDER BY queue, status;
SELECT count(*) AS broken FROM job_queue.verify();
