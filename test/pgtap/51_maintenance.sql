-- Maintenance: partitions made ahead, rows put in their place, broken invariants named.
\ir include/setup.sql
SELECT * FROM no_plan();
SELECT job_queue.create_queue('maintenance') \gset

-- The partitions that there must be: from today on, in UTC.
CREATE FUNCTION pg_temp.missing_partitions() RETURNS SETOF text
LANGUAGE sql AS $$
	SELECT 'job_history_p' || to_char((job_queue.clock() AT TIME ZONE 'UTC')::date + n, 'YYYYMMDD')
	  FROM generate_series(0, 7) n
	EXCEPT
	SELECT c.relname::text
	  FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
	 WHERE i.inhparent = 'job_queue.job_history'::regclass
$$;
SELECT job_queue.run_maintenance() \g /dev/null
-- (the worker may be at it just now, and we do not wait for it for long)
SELECT pg_temp.wait_until('SELECT count(*) = 0 FROM pg_temp.missing_partitions()') \g /dev/null
SELECT pass('history has partitions for today and a week');

-- On a day without a partition finished jobs go to the default one.
SELECT job_queue.advance_clock('400 days') \g /dev/null
SELECT job_queue.enqueue('maintenance') AS job_id \gset
SELECT lease_token FROM job_queue.claim('maintenance') \gset
SELECT ok(job_queue.complete(:job_id, :lease_token), 'a job finishes a year later');
SELECT is(status, 'completed', 'and is found') FROM job_queue.get_job(:job_id);
SET timezone = 'Asia/Tokyo';
SELECT job_queue.run_maintenance() \g /dev/null
SELECT pg_temp.wait_until('SELECT count(*) = 0 FROM pg_temp.missing_partitions()') \g /dev/null
SELECT pass('maintenance has made partitions for that time, whatever our time zone');
RESET timezone;
SELECT is(status, 'completed', 'the job is found still') FROM job_queue.get_job(:job_id);
SELECT is((SELECT count(*)::int FROM job_queue.job_history WHERE id = :job_id), 1, 'once');

-- By itself too.
SELECT job_queue.advance_clock('30 days') \g /dev/null
SELECT pg_temp.wait_until('SELECT count(*) = 0 FROM pg_temp.missing_partitions()') \g /dev/null
SELECT pass('the maintenance worker does it by itself');
SELECT job_queue.enqueue('maintenance') AS job_id \gset
SELECT lease_token FROM job_queue.claim('maintenance') \gset
SELECT job_queue.complete(:job_id, :lease_token) \g /dev/null
SELECT is((SELECT tableoid::regclass::text FROM job_queue.job_history WHERE id = :job_id),
	'job_queue.job_history_p' || to_char(finished_at AT TIME ZONE 'UTC', 'YYYYMMDD'), 'a finished job goes to the partition of its day')
  FROM job_queue.get_job(:job_id);

-- Every partition has what a lookup needs, and a comment is no obstacle for a drop.
SELECT is_empty(
	$$SELECT i.inhrelid::regclass FROM pg_inherits i
	   WHERE i.inhparent = 'job_queue.job_history'::regclass
		 AND NOT EXISTS (SELECT FROM pg_index x
						  WHERE x.indrelid = i.inhrelid AND x.indisvalid
							AND x.indkey[0] = (SELECT attnum FROM pg_attribute
												WHERE attrelid = i.inhrelid AND attname = 'id'))$$,
	'every partition is indexed by id');
SELECT is_empty(
	$$SELECT i.inhrelid::regclass FROM pg_inherits i
	   WHERE i.inhparent = 'job_queue.job_history'::regclass
		 AND NOT EXISTS (SELECT FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid
						  WHERE d.classid = 'pg_class'::regclass AND d.objid = i.inhrelid
							AND d.refclassid = 'pg_extension'::regclass AND e.extname = 'job_queue')
		 AND i.inhrelid::regclass::text = 'job_queue.job_history_default'$$,
	'the default partition belongs to the extension');

-- Maintenance twice at once or in a transaction of ours does no harm.
BEGIN;
SELECT job_queue.run_maintenance() \g /dev/null
SELECT job_queue.run_maintenance() \g /dev/null
ROLLBACK;
SELECT is_empty('SELECT pg_temp.missing_partitions()', 'partitions survive a rollback of another round');

-- verify() is empty when all is well, and names what is not.
SELECT is_empty('SELECT * FROM job_queue.verify()', 'nothing is wrong');
SELECT job_queue.enqueue('maintenance') AS job_id \gset
CREATE FUNCTION pg_temp.broken(damage text, what text) RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
	found bigint;
BEGIN
	BEGIN
		SET LOCAL session_replication_role = replica;	-- no foreign keys
		EXECUTE damage;
		SELECT count(*) INTO found FROM job_queue.verify();
		RAISE 'undo' USING ERRCODE = 'ZZ001';
	EXCEPTION WHEN SQLSTATE 'ZZ001' THEN
	END;
	RETURN cmp_ok(found, '>', 0::bigint, 'verify finds ' || what);
END
$$;
SELECT pg_temp.broken(format(damage, :job_id), what)
  FROM (VALUES
	('INSERT INTO job_queue.job_history (id, enqueued_at, finished_at, queue_id, enqueued_by, max_attempts, attempt,
		priority, status, cancel_requested, payload)
	  SELECT id, enqueued_at, job_queue.clock(), queue_id, enqueued_by, max_attempts, attempt, priority, ''c'', false, payload
		FROM job_queue.job WHERE id = %s', 'a job in two places'),
	('UPDATE job_queue.job SET queue_id = -1 WHERE id = %s', 'a job of no queue'),
	('INSERT INTO job_queue.checkpoint (job_id, stage, position, attempt, completed_at)
	  VALUES (-%s, ''s'', 1, 1, job_queue.clock())', 'a checkpoint of no job'),
	('INSERT INTO job_queue.attempt (job_id, attempt, ended_at, error_message, retryable)
	  VALUES (-%s, 1, job_queue.clock(), ''x'', true)', 'an attempt of no job')) d(damage, what);
SELECT is_empty('SELECT * FROM job_queue.verify()', 'and nothing when the damage is undone');
SELECT is((SELECT count(*)::int FROM job_queue.claim('maintenance')), 1, 'the job is unharmed');

SELECT job_queue.purge_queue('maintenance') \g /dev/null

-- Finished jobs stay for the retention of their queue, and go with all they had.
SELECT job_queue.create_queue('maintenance short', retention => '2 days') \gset
SELECT job_queue.enqueue_jobs('[{"queue": "maintenance"}, {"queue": "maintenance short"}, {"queue": "maintenance short"}]') \g /dev/null
SELECT job_queue.attach_resource(c.job_id, c.lease_token, 'file:///x'),
	job_queue.checkpoint(c.job_id, c.lease_token, 's'), job_queue.fail(c.job_id, c.lease_token, 'x', retryable => false)
  FROM job_queue.claim('maintenance short') c \g /dev/null
SELECT job_queue.checkpoint(c.job_id, c.lease_token, 's'), job_queue.fail(c.job_id, c.lease_token, 'x', retryable => false)
  FROM (VALUES ('maintenance'), ('maintenance short')) q(name), job_queue.claim(q.name) c \g /dev/null
SELECT is((SELECT count(*)::int FROM job_queue.history(queue => 'maintenance short')), 2, 'two jobs are finished here');
SELECT job_queue.advance_clock('47 h') \g /dev/null
SELECT job_queue.run_maintenance() \g /dev/null
SELECT is((SELECT count(*)::int FROM job_queue.history(queue => 'maintenance short')), 2, 'they are there after 47 hours');
SELECT is_empty($$SELECT * FROM job_queue.cleanup('maintenance short')$$, 'and not to be cleaned up');
SELECT job_queue.advance_clock('2 h') \g /dev/null
SELECT job_queue.run_maintenance() \g /dev/null
SELECT is((SELECT count(*)::int FROM job_queue.history(queue => 'maintenance short')), 1, 'after two days only the one with a resource is');
SELECT is((SELECT count(*)::int FROM job_queue.history(queue => 'maintenance')
			WHERE finished_at > job_queue.clock() - interval '3 days' AND status = 'failed'), 1, 'another queue keeps its own');
SELECT is_empty('SELECT * FROM job_queue.verify()', 'nothing is left of what went');
SELECT ok((SELECT sum(deleted) FROM job_queue.cleanup('maintenance', older_than => '0 s')) > 0, 'cleanup deletes sooner when asked');
SELECT is_empty($$SELECT * FROM job_queue.history(queue => 'maintenance')$$, 'everything then');

SELECT is(job_queue.drop_queue('maintenance short', force => true), true, 'cleaned up');
SELECT is(job_queue.drop_queue('maintenance', force => true), true, 'cleaned up');
SELECT * FROM finish();
