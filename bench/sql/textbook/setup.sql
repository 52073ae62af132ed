-- The textbook queue: one table, one partial index, finished rows kept.
CREATE TABLE job (
	id					bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	queue				text NOT NULL,
	priority			smallint NOT NULL DEFAULT 0,
	state				text NOT NULL DEFAULT 'ready',
	run_at				timestamptz NOT NULL DEFAULT now(),
	attempt				int NOT NULL DEFAULT 0,
	lease_expires_at	timestamptz,
	token				bigint,
	payload				jsonb NOT NULL
);
CREATE INDEX job_ready_idx ON job (queue, priority, id) WHERE state = 'ready';
