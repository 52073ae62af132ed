ANALYZE job_queue.job;
