\set token random(1, 9007199254740991)
WITH claimed AS (
	UPDATE job
	   SET state = 'running', attempt = attempt + 1, token = :token,
	       lease_expires_at = now() + interval '5 min'
	  FROM (SELECT id FROM job
	         WHERE queue = 'bench' AND state = 'ready' AND run_at <= now()
	         ORDER BY priority, id LIMIT @BATCH@ FOR UPDATE SKIP LOCKED) AS next
	 WHERE job.id = next.id
	RETURNING job.id, job.payload)
SELECT array_agg(id) AS ids, count(payload) AS payloads_read FROM claimed \gset
