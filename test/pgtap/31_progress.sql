-- Progress: seen at once by everybody, checked, told back whether to go on.
\ir include/setup.sql
SELECT * FROM no_plan();
SELECT job_queue.create_queue('progress') \gset
SELECT job_queue.enqueue('progress') AS job_id \gset
SELECT lease_token FROM job_queue.claim('progress') \gset
SELECT results_eq(format('SELECT progress, message, bytes_done, bytes_total FROM job_queue.jobs WHERE job_id = %s', :job_id),
	'VALUES (NULL::double precision, NULL::text, NULL::bigint, NULL::bigint)', 'a job starts without progress');
SELECT is(job_queue.report_progress(:job_id, :lease_token, 12.5, 'reading', 125, 1000), 'held', 'progress is reported');
SELECT results_eq(format('SELECT progress, message, bytes_done, bytes_total FROM job_queue.jobs WHERE job_id = %s', :job_id),
	$$VALUES (12.5::double precision, 'reading', 125::bigint, 1000::bigint)$$, 'and seen at once');
SELECT results_eq(format('SELECT progress, message FROM job_queue.get_job(%s)', :job_id),
	$$VALUES (12.5::double precision, 'reading')$$, 'by get_job too');
SELECT results_eq(format('SELECT progress, message FROM job_queue.running_jobs WHERE job_id = %s', :job_id),
	$$VALUES (12.5::double precision, 'reading')$$, 'and in view running_jobs');
SELECT is(job_queue.report_progress(:job_id, :lease_token, 0), 'held', 'nothing is the least');
SELECT is(job_queue.report_progress(:job_id, :lease_token, 100, repeat('é', 200)), 'held', 'all is the most');
SELECT is(progress, 100::double precision, 'and kept') FROM job_queue.jobs WHERE job_id = :job_id;
SELECT is(job_queue.report_progress(:job_id, :lease_token, 20, 'two', 9223372036854775807, 9223372036854775807), 'held', 'bytes may be many');

SELECT pg_temp.refused(format('SELECT job_queue.report_progress(%s, %s, %s)', :job_id, :lease_token, arguments), code, arguments)
  FROM (VALUES
	('NULL', '22004'),
	('-0.1', '22023'),
	('100.1', '22023'),
	('$$NaN$$', '22023'),
	('$$Infinity$$', '22023'),
	('1, bytes_done => -1', '22023'),
	('1, bytes_total => -1', '22023')) bad(arguments, code);

-- The row has it after maintenance, for who looks after a crash.
SELECT job_queue.run_maintenance() \g /dev/null
SELECT is(progress, 20::double precision, 'maintenance writes progress to the row') FROM job_queue.job WHERE id = :job_id;
SELECT is(job_queue.heartbeat(:job_id, :lease_token), 'held', 'and does not disturb the lease');
SELECT ok(job_queue.complete(:job_id, :lease_token), 'nor the completion');
SELECT results_eq(format('SELECT message, bytes_done FROM job_queue.jobs WHERE job_id = %s', :job_id),
	$$VALUES ('two', 9223372036854775807)$$, 'a finished job keeps its last report');

-- Progress that was not written yet is kept by the completion.
SELECT job_queue.enqueue('progress') AS job_id \gset
SELECT lease_token FROM job_queue.claim('progress') \gset
SELECT job_queue.report_progress(:job_id, :lease_token, 40, 'last', 4, 10) \g /dev/null
SELECT job_queue.fail(:job_id, :lease_token, 'x', retryable => false) \g /dev/null
SELECT results_eq(format('SELECT progress, message, bytes_done, bytes_total FROM job_queue.jobs WHERE job_id = %s', :job_id),
	$$VALUES (40::double precision, 'last', 4::bigint, 10::bigint)$$, 'a failed job shows how far it came');

-- Many at once.
SELECT job_queue.enqueue_many('progress', array_fill('{}'::jsonb, '{500}')) \g /dev/null
SELECT job_queue.report_progress(job_id, lease_token, row_number() OVER () % 100, 'n' || row_number() OVER ())
  FROM job_queue.claim('progress', 500) \g /dev/null
SELECT is((SELECT count(DISTINCT message)::int FROM job_queue.jobs WHERE queue = 'progress' AND status = 'running'), 500,
	'every job has its own');

SELECT is(job_queue.drop_queue('progress', force => true), true, 'cleaned up');
SELECT is_empty('SELECT * FROM job_queue.verify()', 'the invariants hold');
SELECT * FROM finish();
