-- The extension comes and goes as a whole.
SELECT extversion IS NOT NULL AS installed, extrelocatable, extnamespace::regnamespace
  FROM pg_extension WHERE extname = 'job_queue';
SELECT count(*) AS left_in_public FROM pg_class WHERE relnamespace = 'public'::regnamespace;
DROP EXTENSION job_queue;
SELECT to_regnamespace('job_queue') IS NULL AS gone;
CREATE EXTENSION job_queue;

-- Nothing is taken over from somebody who was there first.
DROP EXTENSION job_queue;
CREATE SCHEMA job_queue;
CREATE EXTENSION job_queue;
DROP SCHEMA job_queue;
CREATE EXTENSION job_queue SCHEMA public;
CREATE EXTENSION job_queue;

-- It can be made and dropped in a transaction, with jobs in it.
BEGIN;
DROP EXTENSION job_queue;
CREATE EXTENSION job_queue;
SELECT job_queue.enqueue('install') > 0 AS enqueued;
ROLLBACK;
SELECT count(*) AS jobs FROM job_queue.jobs;
SELECT job_queue.enqueue('install') > 0 AS enqueued;
DROP EXTENSION job_queue;
CREATE EXTENSION job_queue;
SELECT count(*) AS jobs FROM job_queue.jobs;

-- A role without rights can do nothing.
CREATE ROLE regress_job_queue_nobody;
SET ROLE regress_job_queue_nobody;
SELECT job_queue.enqueue('install');
SELECT count(*) FROM job_queue.jobs;
RESET ROLE;
DROP ROLE regress_job_queue_nobody;
