VACUUM ANALYZE job_queue.job, job_queue.job_history;
