-- @JOBS@ finished jobs, as a queue that has run for a while has them.
INSERT INTO job (queue, state, attempt, token, lease_expires_at, payload)
SELECT 'bench', 'done', 1, 1, now(), '@PAYLOAD@' FROM generate_series(1, @JOBS@);
