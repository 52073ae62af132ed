-- How many jobs there are, are running, are done.
SELECT count(*),
       count(*) FILTER (WHERE state = 'running'),
       count(*) FILTER (WHERE state = 'done')
  FROM job;
