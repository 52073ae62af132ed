-- A running job for each client, of which it finds its own in table held.
CREATE TABLE held AS
WITH claimed AS (
	UPDATE job
	   SET state = 'running', attempt = 1, token = id + 1000000,
	       lease_expires_at = now() + interval '5 min'
	 WHERE id IN (SELECT id FROM job WHERE state = 'ready' ORDER BY id LIMIT @CLIENTS@)
	RETURNING id, token)
SELECT row_number() OVER (ORDER BY id) - 1 AS client, id, token FROM claimed;
VACUUM ANALYZE held;
