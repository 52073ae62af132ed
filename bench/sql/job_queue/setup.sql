-- A queue at the defaults, but for what @DURABILITY@ says.
CREATE EXTENSION job_queue;
SELECT job_queue.create_queue('bench', claim_durability => '@DURABILITY@');
SELECT job_queue.run_maintenance();
