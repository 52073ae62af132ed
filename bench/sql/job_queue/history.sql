-- @JOBS@ finished jobs, as a queue that has run for a while has them.
DO $$
BEGIN
	FOR done IN 0..@JOBS@ - 1 BY 10000 LOOP
		PERFORM count(*) FROM job_queue.enqueue_many('bench',
			array_fill(jsonb '@PAYLOAD@', ARRAY[least(10000, @JOBS@ - done)]));
		COMMIT;
		PERFORM count(*)
		   FROM (SELECT array_agg(job_id) AS ids, array_agg(lease_token) AS tokens
		           FROM job_queue.claim('bench', 10000)) AS claimed,
		        job_queue.complete_many(claimed.ids, claimed.tokens);
		COMMIT;
	END LOOP;
END
$$;
