-- @JOBS@ waiting jobs, by 10,000 in a transaction.
DO $$
BEGIN
	FOR done IN 0..@JOBS@ - 1 BY 10000 LOOP
		PERFORM count(*) FROM job_queue.enqueue_many('bench',
			array_fill(jsonb '@PAYLOAD@', ARRAY[least(10000, @JOBS@ - done)]));
		COMMIT;
	END LOOP;
END
$$;
