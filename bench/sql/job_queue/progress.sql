\set percent random(0, 100)
SELECT job_queue.report_progress(:id, :token, :percent, 'page 17 of 42');
