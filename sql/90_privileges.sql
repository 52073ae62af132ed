-- Privileges: nobody but the owner has any, until a later part grants some.

REVOKE ALL ON SCHEMA job_queue FROM PUBLIC;
REVOKE ALL ON ALL TABLES IN SCHEMA job_queue FROM PUBLIC;
REVOKE ALL ON ALL SEQUENCES IN SCHEMA job_queue FROM PUBLIC;
REVOKE ALL ON ALL ROUTINES IN SCHEMA job_queue FROM PUBLIC;
REVOKE ALL ON TYPE job_queue.lease_status, job_queue.claimed_job FROM PUBLIC;
