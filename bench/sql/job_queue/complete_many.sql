SELECT bool_and(completed) FROM job_queue.complete_many(:ids, :tokens);
