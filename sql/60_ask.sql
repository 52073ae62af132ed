-- Asking: the views, and what an administrator or a client asks about one job.

/*
 * Two views under the view jobs.  Each names every column once; who wants only
 * unfinished or only finished jobs does not pay for the others.
 *
 * version: the transaction that wrote the row, then what happened in shared
 * memory since; below 2^53, so that JSON clients keep it exact.
 */
CREATE VIEW job_queue._unfinished WITH (security_barrier = true) AS
SELECT j.id AS job_id,
	q.name COLLATE "default" AS queue,
	j.job_type,
	CASE
		WHEN j.state = 'r' THEN 'running'
		WHEN j.run_at > (SELECT job_queue.clock()) THEN 'scheduled'
		ELSE 'ready'
	END AS status,
	j.priority::int AS priority,
	j.attempt,
	j.max_attempts,
	coalesce(live.progress, j.progress) AS progress,
	coalesce(live.stage, j.stage) AS stage,
	coalesce(live.message, j.message) AS message,
	coalesce(live.bytes_done, j.bytes_done) AS bytes_done,
	coalesce(live.bytes_total, j.bytes_total) AS bytes_total,
	j.payload,
	j.metadata,
	NULL::jsonb AS result,
	NULL::text AS error_code,
	NULL::text AS error_message,
	NULL::jsonb AS error_details,
	NULL::boolean AS error_retryable,
	j.unique_key,
	j.session_id,
	j.user_id,
	j.enqueued_by,
	j.pipeline,
	j.worker,
	j.cancel_requested OR coalesce(live.cancel_requested, false) AS cancel_requested,
	j.enqueued_at,
	j.run_at,
	j.started_at,
	NULL::timestamptz AS finished_at,
	CASE WHEN j.state = 'r' THEN
		job_queue._effective_lease_end(j.id, j.lease_token, j.lease_expires_at,
			coalesce(j.lease_expires_at - j.lease, j.started_at))
	END AS lease_expires_at,
	job_queue.clock() - j.started_at AS run_time,
	(j.xmin::text::bigint << 21) + least(coalesce(live.version, 0), 2097151) AS version,
	live.last_heartbeat
  FROM job_queue.job j
  JOIN job_queue.queue q ON q.id = j.queue_id
  -- OFFSET 0 keeps this a subquery, so that waiting jobs do not even call the function.
  LEFT JOIN LATERAL (
	SELECT l.* FROM job_queue._live(j.id, j.lease_token) l WHERE j.state = 'r' OFFSET 0
  ) live ON true;
COMMENT ON VIEW job_queue._unfinished IS
	'Internal: the waiting and running jobs of view jobs, and the last heartbeat of running ones.';

CREATE VIEW job_queue._finished WITH (security_barrier = true) AS
SELECT h.id AS job_id,
	q.name COLLATE "default" AS queue,
	h.job_type,
	CASE h.status WHEN 'c' THEN 'completed' WHEN 'f' THEN 'failed' ELSE 'cancelled' END AS status,
	h.priority::int AS priority,
	h.attempt,
	h.max_attempts,
	CASE WHEN h.status = 'c' THEN 100 ELSE h.progress END AS progress,
	h.stage,
	coalesce(h.cancel_reason, h.message) AS message,
	h.bytes_done,
	h.bytes_total,
	h.payload,
	h.metadata,
	h.result,
	h.error_code,
	h.error_message,
	h.error_details,
	h.error_retryable,
	h.unique_key,
	h.session_id,
	h.user_id,
	h.enqueued_by,
	h.pipeline,
	h.worker,
	h.cancel_requested,
	h.enqueued_at,
	h.run_at,
	h.started_at,
	h.finished_at,
	NULL::timestamptz AS lease_expires_at,
	h.finished_at - h.started_at AS run_time,
	h.xmin::text::bigint << 21 AS version
  FROM job_queue.job_history h
  JOIN job_queue.queue q ON q.id = h.queue_id;
COMMENT ON VIEW job_queue._finished IS 'Internal: the finished jobs of view jobs.';

CREATE VIEW job_queue.jobs WITH (security_barrier = true) AS
SELECT job_id, queue, job_type, status, priority, attempt, max_attempts, progress, stage, message,
	bytes_done, bytes_total, payload, metadata, result, error_code, error_message, error_details,
	error_retryable, unique_key, session_id, user_id, enqueued_by, pipeline, worker, cancel_requested,
	enqueued_at, run_at, started_at, finished_at, lease_expires_at, run_time, version
  FROM job_queue._unfinished
UNION ALL
SELECT job_id, queue, job_type, status, priority, attempt, max_attempts, progress, stage, message,
	bytes_done, bytes_total, payload, metadata, result, error_code, error_message, error_details,
	error_retryable, unique_key, session_id, user_id, enqueued_by, pipeline, worker, cancel_requested,
	enqueued_at, run_at, started_at, finished_at, lease_expires_at, run_time, version
  FROM job_queue._finished;
COMMENT ON VIEW job_queue.jobs IS 'One row per job, finished ones included until their retention ends.';
COMMENT ON COLUMN job_queue.jobs.status IS 'scheduled, ready, running, completed, failed or cancelled.';
COMMENT ON COLUMN job_queue.jobs.priority IS 'Lower first.';
COMMENT ON COLUMN job_queue.jobs.attempt IS
	'Attempts used, the current one included; release and snooze give theirs back.';
COMMENT ON COLUMN job_queue.jobs.progress IS 'Percent, 0 to 100; null if the job never said.';
COMMENT ON COLUMN job_queue.jobs.stage IS 'The stage begun last, or completed last if none is under way.';
COMMENT ON COLUMN job_queue.jobs.message IS 'What the worker said last; why a job was snoozed or cancelled.';
COMMENT ON COLUMN job_queue.jobs.error_message IS
	'Why the job failed; what went wrong in attempts before that is in view attempts.';
COMMENT ON COLUMN job_queue.jobs.enqueued_by IS 'The role that enqueued the job.';
COMMENT ON COLUMN job_queue.jobs.cancel_requested IS 'The worker was asked to stop.';
COMMENT ON COLUMN job_queue.jobs.run_at IS 'Not before this time; null: at once.';
COMMENT ON COLUMN job_queue.jobs.started_at IS 'Start of the current attempt, or of the last one.';
COMMENT ON COLUMN job_queue.jobs.lease_expires_at IS 'End of a running job''s lease, heartbeats included.';
COMMENT ON COLUMN job_queue.jobs.run_time IS 'Length of the current attempt so far, or of the last one.';
COMMENT ON COLUMN job_queue.jobs.version IS
	'Another number, as a rule a higher one, after every change of the job.';

CREATE VIEW job_queue.running_jobs WITH (security_barrier = true) AS
SELECT * FROM job_queue._unfinished WHERE status = 'running';
COMMENT ON VIEW job_queue.running_jobs IS
	'The running jobs, as in view jobs, and last_heartbeat (null: none since the server started).';

CREATE VIEW job_queue.stalled_jobs WITH (security_barrier = true) AS
SELECT *, (SELECT job_queue.clock()) - lease_expires_at AS stalled_for
  FROM job_queue._unfinished
 WHERE status = 'running' AND lease_expires_at <= (SELECT job_queue.clock());
COMMENT ON VIEW job_queue.stalled_jobs IS
	'Running jobs whose lease has ended, as in view running_jobs; recovered within a second as a rule.';

CREATE VIEW job_queue.failed_jobs WITH (security_barrier = true) AS
SELECT * FROM job_queue._finished WHERE status = 'failed' AND error_message IS NOT NULL;
COMMENT ON VIEW job_queue.failed_jobs IS 'The failed jobs, as in view jobs.';

CREATE VIEW job_queue.attempts WITH (security_barrier = true) AS
SELECT a.job_id, a.attempt, a.worker, a.started_at, a.ended_at, a.ended_at - a.started_at AS run_time,
	a.error_code, a.error_message, a.retryable, a.details, a.counted
  FROM job_queue.attempt a;
COMMENT ON VIEW job_queue.attempts IS 'One row per failed attempt of a job, until the job''s retention ends.';
COMMENT ON COLUMN job_queue.attempts.counted IS
	'False for attempts before the job was retried by hand or its attempts were reset.';

CREATE VIEW job_queue.stages WITH (security_barrier = true) AS
SELECT c.job_id, c.stage, c.position, c.attempt, c.completed_at, c.state
  FROM job_queue.checkpoint c;
COMMENT ON VIEW job_queue.stages IS 'One row per completed stage of a job, until the job''s retention ends.';
COMMENT ON COLUMN job_queue.stages.position IS 'Order of completion within the job, from 1.';
COMMENT ON COLUMN job_queue.stages.attempt IS 'The attempt that completed it.';

CREATE VIEW job_queue.queues WITH (security_barrier = true) AS
SELECT q.name COLLATE "default" AS name, q.paused,
	coalesce(d.ready, 0) AS ready, coalesce(d.scheduled, 0) AS scheduled, coalesce(d.running, 0) AS running,
	(SELECT job_queue.clock()) - d.oldest_ready AS oldest_ready_age,
	q.max_attempts, q.lease, q.backoff_base, q.backoff_factor, q.backoff_max, q.backoff_jitter,
	q.job_timeout, q.retention, q.max_depth, q.cleanup_queue, q.claim_durability, q.notify, q.created_at
  FROM job_queue.queue q
  LEFT JOIN (
	SELECT j.queue_id,
		count(*) FILTER (WHERE j.state = 'w' AND NOT s.scheduled) AS ready,
		count(*) FILTER (WHERE j.state = 'w' AND s.scheduled) AS scheduled,
		count(*) FILTER (WHERE j.state = 'r') AS running,
		min(greatest(j.enqueued_at, j.run_at)) FILTER (WHERE j.state = 'w' AND NOT s.scheduled) AS oldest_ready
	  FROM job_queue.job j
	 CROSS JOIN LATERAL (
		SELECT j.run_at IS NOT NULL AND j.run_at > (SELECT job_queue.clock()) AS scheduled) s
	 GROUP BY j.queue_id
  ) d ON d.queue_id = q.id;
COMMENT ON VIEW job_queue.queues IS 'One row per queue: unfinished jobs by state, and the settings.';
COMMENT ON COLUMN job_queue.queues.name IS 'Name of the queue.';
COMMENT ON COLUMN job_queue.queues.paused IS 'Nothing can be claimed.';
COMMENT ON COLUMN job_queue.queues.ready IS 'Jobs that can be claimed now.';
COMMENT ON COLUMN job_queue.queues.scheduled IS 'Jobs that wait for their time.';
COMMENT ON COLUMN job_queue.queues.running IS 'Jobs that a worker has, stalled ones included.';
COMMENT ON COLUMN job_queue.queues.max_attempts IS 'Claims a job gets before it fails.';
COMMENT ON COLUMN job_queue.queues.lease IS 'How long a claim holds without a heartbeat.';
COMMENT ON COLUMN job_queue.queues.backoff_base IS 'Delay before the second attempt.';
COMMENT ON COLUMN job_queue.queues.backoff_factor IS 'Growth of the delay from attempt to attempt.';
COMMENT ON COLUMN job_queue.queues.backoff_max IS 'Longest delay between attempts, but for jitter.';
COMMENT ON COLUMN job_queue.queues.backoff_jitter IS 'Random part of the delay, as a fraction, up or down.';
COMMENT ON COLUMN job_queue.queues.job_timeout IS 'Longest run of one attempt; null: no limit.';
COMMENT ON COLUMN job_queue.queues.retention IS 'How long finished jobs stay.';
COMMENT ON COLUMN job_queue.queues.max_depth IS 'Waiting jobs allowed; null: no limit.';
COMMENT ON COLUMN job_queue.queues.cleanup_queue IS 'Queue that gets the resources of deleted jobs; null: none.';
COMMENT ON COLUMN job_queue.queues.claim_durability IS 'durable, or relaxed: claims do not wait for the disk.';
COMMENT ON COLUMN job_queue.queues.notify IS 'Notifications are sent.';
COMMENT ON COLUMN job_queue.queues.created_at IS 'When the queue was created.';
COMMENT ON COLUMN job_queue.queues.oldest_ready_age IS
	'How long the oldest ready job could have been claimed; null if none is ready.';

CREATE VIEW job_queue.resources WITH (security_barrier = true) AS
SELECT r.job_id, r.uri, r.kind, r.attached_at
  FROM job_queue.resource r;
COMMENT ON VIEW job_queue.resources IS 'One row per file or object that was attached to a job.';

/*
 * One job.
 */

CREATE FUNCTION job_queue.get_job(job_id bigint)
RETURNS job_queue.jobs
LANGUAGE plpgsql STABLE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	job job_queue.jobs;
BEGIN
	PERFORM job_queue._check_not_null('job_id', job_id);
	SELECT j.* INTO job FROM job_queue.jobs j WHERE j.job_id = get_job.job_id;
	IF NOT FOUND THEN
		PERFORM job_queue._no_such_job(job_id);
	END IF;
	RETURN job;
END
$$;
COMMENT ON FUNCTION job_queue.get_job(bigint) IS 'The job''s row of view jobs; JQ006 if there is no such job.';

CREATE FUNCTION job_queue.is_job_stale(job_id bigint)
RETURNS boolean
LANGUAGE plpgsql STABLE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	lease_end timestamptz := (job_queue.get_job(job_id)).lease_expires_at;
BEGIN
	RETURN lease_end IS NOT NULL AND lease_end <= job_queue.clock();
END
$$;
COMMENT ON FUNCTION job_queue.is_job_stale(bigint) IS
	'Whether the job is running and its lease has ended; JQ006 if there is no such job.';

CREATE FUNCTION job_queue.cancel(job_id bigint, reason text DEFAULT NULL)
RETURNS text
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	state "char";
BEGIN
	PERFORM job_queue._check_not_null('job_id', job_id);
	PERFORM job_queue._check_text('reason', reason, 40000);

	-- Once more when the job was claimed, released, finished or retried between two statements.
	LOOP
		IF job_queue._finish(ARRAY[job_id], NULL, 'x', reason => reason) > 0 THEN
			RETURN 'cancelled';
		END IF;

		UPDATE job_queue.job j
		   SET cancel_requested = true, cancel_reason = coalesce(j.cancel_reason, cancel.reason)
		 WHERE j.id = cancel.job_id AND j.state = 'r';
		IF FOUND THEN
			RETURN 'cancel_requested';
		END IF;

		state := job_queue._job_state(job_id);
		IF state IS NULL THEN
			PERFORM job_queue._no_such_job(job_id);
		END IF;
		EXIT WHEN state NOT IN ('w', 'r');
	END LOOP;
	RETURN 'finished';
END
$$;
COMMENT ON FUNCTION job_queue.cancel(bigint, text) IS
	'Cancels a job.  Returns cancelled if it was waiting, cancel_requested if it is running (its worker is told '
	'at its next call), finished if there was nothing left to cancel.  reason (none): shown as its message.';

-- The way back from history: the opposite of _finish().
CREATE FUNCTION job_queue._revive(job_id bigint, run_at timestamptz, keep_stages boolean)
RETURNS boolean
LANGUAGE sql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
	WITH gone AS (
		DELETE FROM job_queue.job_history h
		 WHERE h.id = _revive.job_id AND h.status IN ('f', 'x')
		RETURNING h.*
	), revived AS (
		INSERT INTO job_queue.job (id, enqueued_at, queue_id, enqueued_by, max_attempts, priority, progress,
			stage, run_at, job_timeout, session_id, job_type, unique_key, user_id, pipeline, metadata, payload)
		SELECT g.id, g.enqueued_at, g.queue_id, g.enqueued_by, g.max_attempts, g.priority,
			CASE WHEN _revive.keep_stages AND g.stage IS NOT NULL THEN g.progress END,
			CASE WHEN _revive.keep_stages THEN g.stage END, _revive.run_at, g.job_timeout, g.session_id,
			g.job_type, g.unique_key, g.user_id, g.pipeline, g.metadata, g.payload
		  FROM gone g
		RETURNING 1
	)
	SELECT EXISTS (SELECT FROM revived)
$$;
COMMENT ON FUNCTION job_queue._revive(bigint, timestamptz, boolean) IS
	'Internal: moves a failed or cancelled job from history back to the waiting ones; returns whether it did.';

CREATE FUNCTION job_queue._retry(job_id bigint, run_at timestamptz, keep_stages boolean)
RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	state "char";
BEGIN
	-- Once more when the job changed its place between two statements.
	WHILE NOT job_queue._revive(job_id, run_at, keep_stages) LOOP
		state := job_queue._job_state(job_id);
		IF state IS NULL THEN
			PERFORM job_queue._no_such_job(job_id);
		ELSIF state NOT IN ('f', 'x') THEN
			RAISE EXCEPTION 'job % is %', job_id,
					CASE state WHEN 'w' THEN 'waiting already' WHEN 'r' THEN 'running' ELSE 'completed' END
				USING ERRCODE = 'JQ008', HINT = 'Only failed and cancelled jobs can be retried.';
		END IF;
	END LOOP;

	PERFORM job_queue._forgive_attempts(job_id);
EXCEPTION WHEN unique_violation THEN
	RAISE EXCEPTION 'the unique key of job % is taken by another unfinished job', job_id
		USING ERRCODE = 'JQ004', HINT = 'Retry it once the other one has finished.';
END
$$;
COMMENT ON FUNCTION job_queue._retry(bigint, timestamptz, boolean) IS
	'Internal: retry() and restart(); raises JQ004, JQ006 or JQ008.';

CREATE FUNCTION job_queue.retry(job_id bigint, delay interval DEFAULT '0')
RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	PERFORM job_queue._check_not_null('job_id', job_id);
	PERFORM job_queue._check_not_null('delay', delay);
	PERFORM job_queue._check_interval('delay', delay, true);
	PERFORM job_queue._retry(job_id, CASE WHEN delay > '0' THEN job_queue.clock() + delay END, true);
END
$$;
COMMENT ON FUNCTION job_queue.retry(bigint, interval) IS
	'A failed or cancelled job waits again, for delay (0) at least, with all its attempts; completed stages are '
	'kept.  JQ008 if it is unfinished or completed.';

CREATE FUNCTION job_queue.restart(job_id bigint)
RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	PERFORM job_queue._check_not_null('job_id', job_id);
	PERFORM job_queue._retry(job_id, NULL, false);
	DELETE FROM job_queue.checkpoint c WHERE c.job_id = restart.job_id;
END
$$;
COMMENT ON FUNCTION job_queue.restart(bigint) IS
	'retry() from the very start: completed stages are forgotten.';

CREATE FUNCTION job_queue.history(
	user_id			text DEFAULT NULL,
	queue			text DEFAULT NULL,
	status			text DEFAULT NULL,
	finished_after	timestamptz DEFAULT NULL,
	limit_rows		int DEFAULT 100)
RETURNS SETOF job_queue.jobs
LANGUAGE plpgsql STABLE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
	PERFORM job_queue._check_not_null('limit_rows', history.limit_rows);
	PERFORM job_queue._check_range('limit_rows', history.limit_rows, 1, 10000);
	IF history.status NOT IN ('completed', 'failed', 'cancelled') THEN
		RAISE EXCEPTION 'argument "status" must not be "%"', history.status
			USING ERRCODE = '22023',
				HINT = 'Use completed, failed or cancelled; unfinished jobs are in view job_queue.jobs.';
	END IF;

	RETURN QUERY
	SELECT f.*
	  FROM job_queue._finished f
	 WHERE (history.user_id IS NULL OR f.user_id = history.user_id)
	   AND (history.queue IS NULL OR f.queue = history.queue)
	   AND (history.status IS NULL OR f.status = history.status)
	   AND (history.finished_after IS NULL OR f.finished_at > history.finished_after)
	 ORDER BY f.finished_at DESC, f.job_id DESC
	 LIMIT history.limit_rows;
END
$$;
COMMENT ON FUNCTION job_queue.history(text, text, text, timestamptz, int) IS
	'Finished jobs, newest first, as in view jobs; each filter null (the default): all.  status: completed, '
	'failed or cancelled; finished_after: later than this; limit_rows (100; at most 10000).';
