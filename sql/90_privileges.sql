-- Privileges: nobody but the owner has any, until a later part grants some.

REVOKE ALL ON SCHEMA job_queue FROM PUBLIC;
REVOKE ALL ON ALL TABLES IN SCHEMA job_queue FROM PUBLIC;
REVOKE ALL ON ALL SEQUENCES IN SCHEMA job_queue FROM PUBLIC;
REVOKE ALL ON ALL ROUTINES IN SCHEMA job_queue FROM PUBLIC;
REVOKE ALL ON TYPE job_queue.lease_status, job_queue.claimed_job FROM PUBLIC;
-- The row types of tables and views.
REVOKE ALL ON TYPE
	job_queue.attempt, job_queue.attempts, job_queue.checkpoint, job_queue.failed_jobs,
	job_queue._finished, job_queue.job, job_queue.job_history, job_queue.job_history_default,
	job_queue.jobs, job_queue.pipeline, job_queue.queue, job_queue.queues, job_queue.resource,
	job_queue.resources, job_queue.running_jobs, job_queue.stages, job_queue.stalled_jobs,
	job_queue._unfinished
	FROM PUBLIC;
