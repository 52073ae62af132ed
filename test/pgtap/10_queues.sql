-- Queues: made, changed, paused, purged, dropped.
\ir include/setup.sql
SELECT * FROM no_plan();

-- Making one.
SELECT ok(job_queue.create_queue('queues'), 'a queue is created');
SELECT results_eq(
	$$SELECT max_attempts, lease, backoff_base, backoff_factor, backoff_max, backoff_jitter,
			 job_timeout, retention, max_depth, cleanup_queue, claim_durability, notify, paused
		FROM job_queue.queue WHERE name = 'queues'$$,
	$$VALUES (3, interval '5 min', interval '1 s', 2::double precision, interval '60 s',
			  0.1::double precision, NULL::interval, interval '7 days', NULL::bigint,
			  NULL::text, 'durable', true, false)$$,
	'it has the defaults of the contract');
SELECT throws_ok($$SELECT job_queue.create_queue('queues')$$, '42710', NULL,
	'a queue is not created twice');
SELECT ok(NOT job_queue.create_queue('queues', max_attempts => 9, if_not_exists => true),
	'if_not_exists says that the queue was there');
SELECT is(max_attempts, 3, 'if_not_exists leaves an existing queue as it is')
  FROM job_queue.queue WHERE name = 'queues';

SELECT ok(job_queue.create_queue('queues all', 7, '10 min', '2 s', 3, '90 s', 0.5, '1 h',
	'2 days', 1000, 'queues', false, 'relaxed', false), 'every setting can be given');
SELECT results_eq(
	$$SELECT max_attempts, lease, backoff_base, backoff_factor, backoff_max, backoff_jitter,
			 job_timeout, retention, max_depth, cleanup_queue, claim_durability, notify
		FROM job_queue.queue WHERE name = 'queues all'$$,
	$$VALUES (7, interval '10 min', interval '2 s', 3::double precision, interval '90 s',
			  0.5::double precision, interval '1 h', interval '2 days', 1000::bigint,
			  'queues', 'relaxed', false)$$,
	'every setting is kept');

SELECT ok(job_queue.create_queue(name), 'a name is kept exactly: ' || to_jsonb(name)::text)
  FROM unnest(ARRAY[E'it''s "quoted"', E'two\nlines', E'back\\slash', 'pg_catalog', ' ', '🚀', repeat('x', 255)]) name;
SELECT is((SELECT count(*)::int FROM job_queue.queues
			WHERE name = ANY (ARRAY[E'it''s "quoted"', E'two\nlines', E'back\\slash', 'pg_catalog', ' ', '🚀', repeat('x', 255)])),
	7, 'view queues shows those names');
SELECT ok(job_queue.enqueue(name) > 0 AND job_queue.drop_queue(name, force => true),
	'such a queue takes jobs: ' || to_jsonb(name)::text)
  FROM unnest(ARRAY[E'it''s "quoted"', E'two\nlines', E'back\\slash', 'pg_catalog', ' ', '🚀', repeat('x', 255)]) name;

-- A queue whose creation was rolled back never was.
BEGIN;
SELECT job_queue.create_queue('queues undone', max_attempts => 9) \gset
SELECT job_queue.enqueue('queues undone') AS undone \gset
ROLLBACK;
SELECT ok(job_queue.enqueue('queues undone') <> :undone, 'the name is free after a rollback');
SELECT is(max_attempts, 3, 'and the queue is made anew with defaults')
  FROM job_queue.queue WHERE name = 'queues undone';
SELECT ok(job_queue.drop_queue('queues undone', force => true), 'cleaned up');

-- Changing one.
SELECT lives_ok($$SELECT job_queue.alter_queue('queues', lease => '1 min')$$, 'one setting is changed');
SELECT results_eq(
	$$SELECT max_attempts, lease, backoff_base, backoff_factor, backoff_max, backoff_jitter,
			 job_timeout, retention, max_depth, cleanup_queue, claim_durability, notify
		FROM job_queue.queue WHERE name = 'queues'$$,
	$$VALUES (3, interval '1 min', interval '1 s', 2::double precision, interval '60 s',
			  0.1::double precision, NULL::interval, interval '7 days', NULL::bigint,
			  NULL::text, 'durable', true)$$,
	'the other settings are not');
SELECT job_queue.enqueue('queues') \gset
SELECT is(pg_temp.seconds(lease_expires_at - job_queue.clock())::int, 60,
		'a claim takes the new lease') FROM job_queue.claim('queues');
SELECT lives_ok($$SELECT job_queue.alter_queue('queues', 7, '10 min', '2 s', 3, '90 s', 0.5, '1 h',
	'2 days', 1000, 'queues all', 'relaxed', false)$$, 'all settings are changed');
SELECT results_eq(
	$$SELECT max_attempts, lease, backoff_base, backoff_factor, backoff_max, backoff_jitter,
			 job_timeout, retention, max_depth, cleanup_queue, claim_durability, notify
		FROM job_queue.queue WHERE name = 'queues'$$,
	$$VALUES (7, interval '10 min', interval '2 s', 3::double precision, interval '90 s',
			  0.5::double precision, interval '1 h', interval '2 days', 1000::bigint,
			  'queues all', 'relaxed', false)$$,
	'all settings are kept');
SELECT pg_temp.refused($$SELECT job_queue.alter_queue('queues none', lease => '1 min')$$,
	'JQ003', 'a queue that does not exist is not altered');
SELECT job_queue.enqueue('queues') AS job_id \gset
SELECT is(max_attempts, 7, 'a job takes the new number of attempts')
  FROM job_queue.jobs WHERE job_id = :job_id;

-- Pausing.
SELECT ok(job_queue.pause_queue('queues'), 'a queue is paused');
SELECT ok(NOT job_queue.pause_queue('queues'), 'pausing it again changes nothing');
SELECT is((SELECT paused FROM job_queue.queues WHERE name = 'queues'), true, 'view queues shows it');
SELECT is_empty($$SELECT * FROM job_queue.claim('queues')$$, 'a paused queue gives no job');
CALL job_queue.wait_for_jobs('queues', '0 s') \gset
SELECT ok(NOT :'available', 'a paused queue has nothing to wait for');
SELECT job_queue.enqueue('queues') \gset
SELECT is_empty($$SELECT * FROM job_queue.claim('queues', 10)$$, 'nor has it a new job to give');
SELECT ok(job_queue.resume_queue('queues'), 'a queue is resumed');
SELECT ok(NOT job_queue.resume_queue('queues'), 'resuming it again changes nothing');
CALL job_queue.wait_for_jobs('queues', '10 s') \gset
SELECT ok(:'available', 'a resumed queue says that it has jobs');
SELECT is((SELECT count(*)::int FROM job_queue.claim('queues', 10)), 2, 'and gives them');
SELECT pg_temp.refused(format('SELECT job_queue.%I(%L)', verb, 'queues none'), 'JQ003',
		verb || ' names a queue that does not exist')
  FROM unnest('{pause_queue,resume_queue,purge_queue}'::text[]) verb;

BEGIN;
SELECT job_queue.pause_queue('queues') \gset
ROLLBACK;
SELECT job_queue.enqueue('queues') \gset
SELECT is((SELECT count(*)::int FROM job_queue.claim('queues')), 1, 'a pause that was rolled back is none');

-- A running job is not hindered by a pause.
SELECT job_queue.create_queue('queues pause') \gset
SELECT job_queue.enqueue('queues pause') \gset
SELECT * FROM job_queue.claim('queues pause') \gset
SELECT job_queue.pause_queue('queues pause') \gset
SELECT is(job_queue.heartbeat(:job_id, :lease_token), 'held', 'a job of a paused queue keeps its lease');
SELECT ok(job_queue.complete(:job_id, :lease_token), 'and completes');
SELECT job_queue.resume_queue('queues pause') \gset

-- Purging cancels what waits, and nothing else.
SELECT job_queue.create_queue('queues purge') \gset
SELECT job_queue.enqueue('queues purge', priority => -1) AS running \gset
SELECT job_id, lease_token FROM job_queue.claim('queues purge') \gset
SELECT job_queue.enqueue('queues purge') AS ready \gset
SELECT job_queue.enqueue('queues purge', delay => '1 h') AS scheduled \gset
SELECT is(job_queue.purge_queue('queues purge'), 2::bigint, 'the waiting jobs are purged and counted');
SELECT results_eq(
	$$SELECT status FROM job_queue.jobs WHERE queue = 'queues purge' ORDER BY job_id$$,
	$$VALUES ('running'), ('cancelled'), ('cancelled')$$,
	'ready and scheduled jobs are cancelled, the running one is not');
SELECT is_empty($$SELECT * FROM job_queue.claim('queues purge', 10)$$, 'a purged job is not claimed');
SELECT is(job_queue.purge_queue('queues purge'), 0::bigint, 'an empty queue has nothing to purge');
SELECT ok(job_queue.complete(:job_id, :lease_token), 'the running job completes');

-- Dropping.
SELECT job_queue.create_queue('queues drop') \gset
SELECT ok(job_queue.drop_queue('queues drop'), 'an empty queue is dropped');
SELECT is((SELECT count(*)::int FROM job_queue.queues WHERE name = 'queues drop'), 0, 'it is gone');
SELECT job_queue.create_queue('queues drop') \gset
SELECT job_queue.enqueue('queues drop') \gset
SELECT pg_temp.refused($$SELECT job_queue.drop_queue('queues drop')$$, 'JQ008',
	'a queue with a waiting job is not dropped');
SELECT job_id AS dropped, lease_token FROM job_queue.claim('queues drop') \gset
SELECT pg_temp.refused($$SELECT job_queue.drop_queue('queues drop')$$, 'JQ008',
	'a queue with a running job is not dropped');
SELECT job_queue.enqueue('queues drop') \gset
SELECT ok(job_queue.drop_queue('queues drop', force => true), 'unless forced');
SELECT throws_ok(format('SELECT job_queue.heartbeat(%s, %s)', :dropped, :lease_token), 'JQ001', NULL,
	'a job of a dropped queue has no lease');
SELECT is((SELECT count(*)::int FROM job_queue.job j LEFT JOIN job_queue.queue q ON q.id = j.queue_id
			WHERE q.id IS NULL), 0, 'no job is left of it');
SELECT job_queue.create_queue('queues drop') \gset
SELECT is_empty($$SELECT * FROM job_queue.claim('queues drop', 10)$$,
	'a queue made again under that name is empty');
SELECT job_queue.enqueue('queues drop') AS job_id \gset
SELECT is((SELECT job_id FROM job_queue.claim('queues drop', 10)), :job_id::bigint, 'and works');
SELECT ok(NOT job_queue.drop_queue('queues none'), 'a queue that does not exist is not dropped');

-- A queue whose drop was rolled back goes on.
SELECT job_queue.enqueue('queues drop') AS job_id \gset
BEGIN;
SELECT job_queue.drop_queue('queues drop', force => true) \gset
ROLLBACK;
SELECT is((SELECT job_id FROM job_queue.claim('queues drop', 10)), :job_id::bigint,
	'a job survives a drop that was rolled back');

-- Queues by themselves.
SELECT job_queue.enqueue('queues auto') AS job_id \gset
SELECT is((SELECT row(max_attempts, lease) FROM job_queue.queue WHERE name = 'queues auto'),
	row(3, interval '5 min'), 'enqueue makes a queue with the defaults');
SET job_queue.auto_create_queues = off;
SELECT pg_temp.refused($$SELECT job_queue.enqueue('queues off')$$, 'JQ003',
	'enqueue makes no queue when told not to');
SELECT pg_temp.refused($$SELECT job_queue.enqueue_many('queues off', '{"{}"}')$$, 'JQ003',
	'nor does enqueue_many');
SELECT pg_temp.refused($$SELECT job_queue.enqueue_jobs('[{"queue": "queues off"}]')$$, 'JQ003',
	'nor does enqueue_jobs');
SELECT ok(job_queue.enqueue('queues auto') > 0, 'a queue that exists takes jobs all the same');
RESET job_queue.auto_create_queues;
SELECT throws_ok($$SELECT count(*) FROM job_queue.claim('queues none')$$, 'JQ003', NULL,
	'a claim makes no queue');

-- Queues that are gone, or never were, take no shared memory.
SELECT job_queue.enqueue('queues auto') \g /dev/null
SELECT 1 FROM job_queue.claim('queues auto') \g /dev/null
BEGIN;
SELECT job_queue.create_queue('queues slot') \gset
SELECT job_queue.enqueue('queues slot') \g /dev/null
SELECT 1 FROM job_queue.claim('queues slot') \g /dev/null
ROLLBACK;
SELECT job_queue.drop_queue('queues auto', force => true) \g /dev/null
SELECT is_empty($$SELECT * FROM job_queue._ready_index() WHERE queue_id NOT IN (SELECT id FROM job_queue.queue)$$,
	'queues that were dropped or rolled back have no index');

SELECT is(job_queue.drop_queue(name, force => true), true, 'cleaned up: ' || name)
  FROM job_queue.queues WHERE name LIKE 'queues%';
SELECT is_empty('SELECT * FROM job_queue.verify()', 'the invariants hold');
SELECT * FROM finish();
