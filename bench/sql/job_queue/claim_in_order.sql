-- How many of 1,000 jobs a claim brings, and how many stand where they ought to.
CREATE TEMP TABLE due AS
SELECT row_number() OVER (ORDER BY priority, id) AS place, id
  FROM (SELECT priority, id FROM job_queue.job ORDER BY priority, id LIMIT 1000) AS job;
CREATE TEMP TABLE claimed AS
SELECT row_number() OVER () AS place, job_id FROM job_queue.claim('bench', 1000);
SELECT count(*), count(*) FILTER (WHERE due.id = claimed.job_id)
  FROM claimed LEFT JOIN due USING (place);
