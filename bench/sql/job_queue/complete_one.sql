SELECT job_queue.complete(:job_id, :lease_token);
