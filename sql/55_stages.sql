-- Pipelines, stages, checkpoints.

CREATE FUNCTION job_queue._check_pipeline(
	stages		text[],
	weights		double precision[],
	keep_from	text)
RETURNS void
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	problem text := CASE
		WHEN coalesce(array_ndims(stages), 0) <> 1 OR cardinality(stages) > 1000
			THEN 'argument "stages" must be a list of 1 to 1000 names'
		WHEN cardinality(stages) <> (SELECT count(DISTINCT s) FROM unnest(stages) s)
			THEN 'the stages must differ from one another and not be null'
		WHEN array_ndims(weights) <> 1 OR array_position(weights, NULL) IS NOT NULL
			OR NOT (SELECT bool_and(w BETWEEN 0 AND 1e9) AND sum(w) > 0 FROM unnest(weights) w)
			THEN 'the weights must be between 0 and 1e9 and not all 0'
		WHEN keep_from <> ALL (stages)
			THEN format('keep_from "%s" is not one of the stages', keep_from)
	END;
BEGIN
	IF problem IS NOT NULL THEN
		RAISE EXCEPTION '%', problem USING ERRCODE = '22023';
	END IF;
	IF cardinality(weights) <> cardinality(stages) THEN
		RAISE EXCEPTION 'arguments "stages" and "weights" differ in length: % and %',
				cardinality(stages), cardinality(weights)
			USING ERRCODE = '2202E';
	END IF;
	PERFORM job_queue._check_text('stages', s, 255) FROM unnest(stages) s;
END
$$;
COMMENT ON FUNCTION job_queue._check_pipeline(text[], double precision[], text) IS
	'Internal: raises 22023 or 2202E unless these make a pipeline.';

CREATE FUNCTION job_queue.define_pipeline(
	name		text,
	stages		text[],
	weights		double precision[] DEFAULT NULL,
	keep_from	text DEFAULT NULL)
RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	equal double precision[];
BEGIN
	PERFORM job_queue._check_not_null('name', name);
	PERFORM job_queue._check_text('name', name, 255);
	PERFORM job_queue._check_not_null('stages', stages);
	PERFORM job_queue._check_pipeline(stages, weights, keep_from);
	equal := array_fill(1::double precision, ARRAY[cardinality(stages)]);

	INSERT INTO job_queue.pipeline AS p (name, stages, weights, keep_from)
	VALUES (define_pipeline.name, define_pipeline.stages, coalesce(define_pipeline.weights, equal),
			define_pipeline.keep_from)
	ON CONFLICT ON CONSTRAINT pipeline_pkey DO UPDATE
	   SET stages = excluded.stages, weights = excluded.weights, keep_from = excluded.keep_from;
END
$$;
COMMENT ON FUNCTION job_queue.define_pipeline(text, text[], double precision[], text) IS
	'Defines, or defines anew, the ordered stages of a kind of job.  weights (equal): share of each stage in the '
	'progress; keep_from (every stage): first stage whose completion makes earlier output worth keeping.';

CREATE FUNCTION job_queue._check_stage(j job_queue.job, stage text)
RETURNS void
LANGUAGE plpgsql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	PERFORM job_queue._check_not_null('stage', stage);
	PERFORM job_queue._check_text('stage', stage, 255);
	IF EXISTS (SELECT FROM job_queue.pipeline p
				WHERE p.name = j.pipeline AND _check_stage.stage <> ALL (p.stages))
	THEN
		RAISE EXCEPTION 'stage "%" is not in pipeline "%" of job %', stage, j.pipeline, j.id
			USING ERRCODE = '22023', HINT = 'Add it with job_queue.define_pipeline().';
	END IF;
END
$$;
COMMENT ON FUNCTION job_queue._check_stage(job_queue.job, text) IS
	'Internal: raises 22023 unless the job can have such a stage.';

CREATE FUNCTION job_queue.begin_stage(
	job_id		bigint,
	lease_token	bigint,
	stage		text,
	message		text DEFAULT NULL)
RETURNS boolean
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	j job_queue.job;
	completed boolean;
BEGIN
	PERFORM job_queue._check_not_null('job_id', job_id);
	PERFORM job_queue._check_not_null('lease_token', lease_token);
	PERFORM job_queue._check_text('message', message, 40000);
	SELECT held.* INTO j
	  FROM job_queue.job held
	 WHERE held.id = begin_stage.job_id AND held.lease_token = begin_stage.lease_token AND held.state = 'r';
	IF NOT FOUND THEN
		PERFORM job_queue._lease_lost(job_id);
	END IF;
	PERFORM job_queue._check_stage(j, stage);

	completed := EXISTS (SELECT FROM job_queue.checkpoint c
						  WHERE c.job_id = begin_stage.job_id AND c.stage = begin_stage.stage);
	-- Nothing is written: what runs now is of interest only while it runs.
	PERFORM job_queue._set_live(job_id, lease_token, CASE WHEN NOT completed THEN stage END,
		CASE WHEN NOT completed THEN message END, NULL);
	RETURN NOT completed;
END
$$;
COMMENT ON FUNCTION job_queue.begin_stage(bigint, bigint, text, text) IS
	'Says which stage a job works on; false if an earlier attempt completed it: skip it.  message (unchanged): '
	'shown to who asks.  Counts as a heartbeat.';

CREATE FUNCTION job_queue.checkpoint(
	job_id		bigint,
	lease_token	bigint,
	stage		text,
	state		jsonb DEFAULT NULL,
	progress	double precision DEFAULT NULL)
RETURNS job_queue.lease_status
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
	j job_queue.job;
	percent double precision;
BEGIN
	PERFORM job_queue._check_range('progress', checkpoint.progress, 0, 100);
	PERFORM job_queue._check_size('state', checkpoint.state, 16);
	j := job_queue._lock_lease(checkpoint.job_id, checkpoint.lease_token);
	PERFORM job_queue._check_stage(j, checkpoint.stage);

	-- The lock on the job makes this the only writer of its checkpoints.
	INSERT INTO job_queue.checkpoint (job_id, stage, position, state, attempt, completed_at)
	VALUES (j.id, checkpoint.stage,
			(SELECT coalesce(max(c.position), 0) + 1 FROM job_queue.checkpoint c WHERE c.job_id = j.id),
			checkpoint.state, j.attempt, job_queue.clock())
	ON CONFLICT ON CONSTRAINT checkpoint_pkey DO NOTHING;
	IF FOUND THEN
		percent := coalesce(checkpoint.progress, job_queue._pipeline_progress(j.id, j.pipeline));
		UPDATE job_queue.job k
		   SET stage = checkpoint.stage, progress = coalesce(percent, k.progress)
		 WHERE k.id = j.id;
		PERFORM job_queue._set_live(j.id, j.lease_token, checkpoint.stage, NULL, percent);
	ELSE
		PERFORM job_queue._set_live(j.id, j.lease_token, NULL, NULL, NULL);
	END IF;
	RETURN CASE WHEN j.cancel_requested THEN 'cancel_requested'::job_queue.lease_status ELSE 'held' END;
END
$$;
COMMENT ON FUNCTION job_queue.checkpoint(bigint, bigint, text, jsonb, double precision) IS
	'Completes a stage, durably: later attempts skip it and get its state (none; up to 16 times '
	'job_queue.max_payload_bytes) back.  progress in percent (by the weights of the pipeline, else unchanged).  '
	'Counts as a heartbeat; repeating it changes nothing.';

CREATE FUNCTION job_queue.get_checkpoint(job_id bigint, stage text)
RETURNS jsonb
LANGUAGE plpgsql STABLE PARALLEL SAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	PERFORM job_queue._check_not_null('job_id', job_id);
	PERFORM job_queue._check_not_null('stage', stage);
	RETURN (SELECT c.state
			  FROM job_queue.checkpoint c
			 WHERE c.job_id = get_checkpoint.job_id AND c.stage = get_checkpoint.stage);
END
$$;
COMMENT ON FUNCTION job_queue.get_checkpoint(bigint, text) IS
	'State saved with the completed stage of a job; null if there is none.';
