SELECT array_agg(job_id) AS ids, array_agg(lease_token) AS tokens,
       count(payload) AS payloads_read
  FROM job_queue.claim('bench', @BATCH@) \gset
