-- Completes the job before and claims the next in one transaction; the first
-- time around the arrays are empty.
SELECT ARRAY[job_id] AS ids, ARRAY[lease_token] AS tokens,
       payload, attempt, lease_expires_at
  FROM job_queue.complete_and_claim('bench', :ids, :tokens) \gset
