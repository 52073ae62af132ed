SELECT job_queue.enqueue('bench', :payload);
