-- Bytes of WAL of 10,000 heartbeats, and transaction ids taken by one.
SELECT pg_current_wal_insert_lsn() AS wal \gset
DO $$
BEGIN
	FOR i IN 1..10000 LOOP
		PERFORM job_queue.heartbeat(id, token) FROM held WHERE client = 0;
	END LOOP;
END
$$;
BEGIN;
SELECT job_queue.heartbeat(id, token) AS status FROM held WHERE client = 0 \gset
SELECT (pg_current_xact_id_if_assigned() IS NOT NULL)::int AS ids \gset
COMMIT;
SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), :'wal'), :ids;
