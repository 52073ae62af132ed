-- The token is the worker's own, so that the server need not make one.
\set token random(1, 9007199254740991)
UPDATE job
   SET state = 'running', attempt = attempt + 1, token = :token,
       lease_expires_at = now() + interval '5 min'
  FROM (SELECT id FROM job
         WHERE queue = 'bench' AND state = 'ready' AND run_at <= now()
         ORDER BY priority, id LIMIT @BATCH@ FOR UPDATE SKIP LOCKED) AS next
 WHERE job.id = next.id
RETURNING job.id, job.payload, job.attempt, job.lease_expires_at @END@
