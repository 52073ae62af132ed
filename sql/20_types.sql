-- Types of the calls.

CREATE TYPE job_queue.lease_status AS ENUM ('held', 'cancel_requested', 'lost');
COMMENT ON TYPE job_queue.lease_status IS
	'What a worker learns about its lease: held, cancel_requested (finish early, then fail or release), '
	'lost (only from heartbeat_many; elsewhere error JQ001).';

CREATE TYPE job_queue.claimed_job AS (
	job_id				bigint,
	queue				text,
	job_type			text,
	payload				jsonb,
	metadata			jsonb,
	priority			int,
	attempt				int,
	max_attempts		int,
	lease_token			bigint,
	lease_expires_at	timestamptz,
	enqueued_at			timestamptz,
	session_id			bigint,
	user_id				text,
	pipeline			text,
	stage				text,
	completed_stages	text[],
	checkpoint			jsonb,
	job_timeout			interval
);
COMMENT ON TYPE job_queue.claimed_job IS 'A job as its worker gets it.';
COMMENT ON COLUMN job_queue.claimed_job.attempt IS
	'Attempt number from 1; release and snooze give theirs back.';
COMMENT ON COLUMN job_queue.claimed_job.lease_token IS
	'Proof of the lease, for every further call about the job; below 2^53.';
COMMENT ON COLUMN job_queue.claimed_job.stage IS
	'Last completed stage worth keeping; null: start afresh, discard partial output.';
COMMENT ON COLUMN job_queue.claimed_job.completed_stages IS
	'Stages that earlier attempts completed, in order of completion.';
COMMENT ON COLUMN job_queue.claimed_job.checkpoint IS
	'Object of the states saved by checkpoint(), by stage.';
