-- job_queue: turns a database into a job queue.
--
-- The script runs with search_path = pg_catalog, pg_temp, so unqualified
-- names are the system's; everything of ours is qualified.
\echo Use "CREATE EXTENSION job_queue" to load this file. \quit

CREATE SCHEMA job_queue;
COMMENT ON SCHEMA job_queue IS
	'A job queue: enqueue, claim with a lease, checkpoint, complete.';
