SELECT job_queue.heartbeat(:id, :token);
