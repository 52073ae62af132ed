-- A running job for each client, of which it finds its own in table held.
CREATE TABLE held AS
SELECT row_number() OVER () - 1 AS client, job_id AS id, lease_token AS token
  FROM job_queue.claim('bench', @CLIENTS@);
VACUUM ANALYZE held;
