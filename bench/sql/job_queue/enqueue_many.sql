SELECT count(*) FROM job_queue.enqueue_many('bench', array_fill(:payload::jsonb, ARRAY[@BATCH@]));
