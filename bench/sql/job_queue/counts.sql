-- How many jobs there are, are running, are done.
SELECT unfinished + done, running, done
  FROM (SELECT count(*), count(*) FILTER (WHERE state = 'r') FROM job_queue.job)
           AS job (unfinished, running),
       (SELECT count(*) FILTER (WHERE status = 'c') FROM job_queue.job_history)
           AS history (done);
