SELECT job_id, payload, attempt, lease_token, lease_expires_at
  FROM job_queue.claim('bench', @BATCH@) @END@
