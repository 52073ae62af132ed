-- For tests only: each needs job_queue.testing = on and a superuser.

CREATE FUNCTION job_queue.advance_clock("by" interval)
RETURNS void
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'job_queue_advance_clock';
COMMENT ON FUNCTION job_queue.advance_clock(interval) IS
	'Moves the extension''s time, in all databases and for the workers too.';

CREATE FUNCTION job_queue.fault_arm(name text, action text, value int DEFAULT 0)
RETURNS void
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'job_queue_fault_arm';
COMMENT ON FUNCTION job_queue.fault_arm(text, text, int) IS
	'Arms a fault point of the C code: whoever comes there does action: error, wait (until it is disarmed), sleep '
	'(value milliseconds), exit, or kill (SIGKILL to itself).  value (0): for sleep only.';

CREATE FUNCTION job_queue.fault_disarm(name text DEFAULT NULL)
RETURNS void
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'job_queue_fault_disarm';
COMMENT ON FUNCTION job_queue.fault_disarm(text) IS
	'Disarms a fault point, or (null, the default) all; lets go who waits there.';

CREATE FUNCTION job_queue.fault_points()
RETURNS TABLE (name text, action text, value int, hits bigint, waiting int)
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'job_queue_fault_points';
COMMENT ON FUNCTION job_queue.fault_points() IS
	'The armed fault points: how often each was hit, and how many sessions wait there.';
