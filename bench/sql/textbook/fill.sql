-- @JOBS@ waiting jobs, by 10,000 in a transaction.
DO $$
BEGIN
	FOR done IN 0..@JOBS@ - 1 BY 10000 LOOP
		INSERT INTO job (queue, payload)
		SELECT 'bench', '@PAYLOAD@' FROM generate_series(1, least(10000, @JOBS@ - done));
		COMMIT;
	END LOOP;
END
$$;
