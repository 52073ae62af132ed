-- Names, arguments, defaults, results and columns are the contract that
-- clients are written against; a new argument may only be added at the end.
\ir include/setup.sql
SET intervalstyle = 'postgres';

CREATE TEMP TABLE expected (
	name	text,
	kind	"char",		-- f function, p procedure
	args	text,
	result	text
);

INSERT INTO expected VALUES
('create_queue', 'f', $$name text, max_attempts int = 3, lease interval = '5 min', backoff_base interval = '1 s', backoff_factor double precision = 2, backoff_max interval = '60 s', backoff_jitter double precision = 0.1, job_timeout interval = null, retention interval = '7 days', max_depth bigint = null, cleanup_queue text = null, if_not_exists boolean = false, claim_durability text = 'durable', notify boolean = true$$, 'boolean'),
('alter_queue', 'f', $$name text, max_attempts int = null, lease interval = null, backoff_base interval = null, backoff_factor double precision = null, backoff_max interval = null, backoff_jitter double precision = null, job_timeout interval = null, retention interval = null, max_depth bigint = null, cleanup_queue text = null, claim_durability text = null, notify boolean = null$$, 'void'),
('drop_queue', 'f', 'name text, force boolean = false', 'boolean'),
('pause_queue', 'f', 'name text', 'boolean'),
('resume_queue', 'f', 'name text', 'boolean'),
('purge_queue', 'f', 'name text', 'bigint'),
('enqueue', 'f', $$queue text, payload jsonb = '{}', job_type text = null, priority int = 0, delay interval = null, run_at timestamptz = null, max_attempts int = null, unique_key text = null, on_duplicate text = 'return', session_id bigint = null, pipeline text = null, job_timeout interval = null, user_id text = null, metadata jsonb = null$$, 'bigint'),
('enqueue_many', 'f', $$queue text, payloads jsonb[], job_type text = null, priority int = 0, delay interval = null, run_at timestamptz = null, max_attempts int = null, session_id bigint = null, pipeline text = null, job_timeout interval = null, user_id text = null, metadata jsonb = null$$, 'setof bigint'),
('enqueue_jobs', 'f', 'jobs jsonb', 'setof (ordinal int, job_id bigint, created boolean)'),
('claim', 'f', 'queue text, max_jobs int = 1, worker text = null, lease interval = null', 'setof job_queue.claimed_job'),
('wait_for_jobs', 'p', $$queue text, timeout interval = '30 s', available boolean = null$$, '(available boolean)'),
('heartbeat', 'f', 'job_id bigint, lease_token bigint, lease interval = null', 'job_queue.lease_status'),
('heartbeat_many', 'f', 'job_ids bigint[], lease_tokens bigint[], lease interval = null', 'setof (job_id bigint, status job_queue.lease_status)'),
('report_progress', 'f', 'job_id bigint, lease_token bigint, progress double precision, message text = null, bytes_done bigint = null, bytes_total bigint = null', 'job_queue.lease_status'),
('begin_stage', 'f', 'job_id bigint, lease_token bigint, stage text, message text = null', 'boolean'),
('checkpoint', 'f', 'job_id bigint, lease_token bigint, stage text, state jsonb = null, progress double precision = null', 'job_queue.lease_status'),
('get_checkpoint', 'f', 'job_id bigint, stage text', 'jsonb'),
('complete', 'f', 'job_id bigint, lease_token bigint, result jsonb = null', 'boolean'),
('complete_many', 'f', 'job_ids bigint[], lease_tokens bigint[], results jsonb[] = null', 'setof (job_id bigint, completed boolean)'),
('complete_and_claim', 'f', 'queue text, job_ids bigint[], lease_tokens bigint[], results jsonb[] = null, max_jobs int = 1, worker text = null, lease interval = null', 'setof job_queue.claimed_job'),
('fail', 'f', 'job_id bigint, lease_token bigint, error_message text, error_code text = null, retryable boolean = true, retry_in interval = null, details jsonb = null', 'text'),
('snooze', 'f', 'job_id bigint, lease_token bigint, delay interval, reason text = null, reset_attempts boolean = false', 'void'),
('release', 'f', 'job_id bigint, lease_token bigint', 'void'),
('assert_lease', 'f', 'job_id bigint, lease_token bigint', 'void'),
('attach_resource', 'f', 'job_id bigint, lease_token bigint, uri text, kind text = null', 'void'),
('define_pipeline', 'f', 'name text, stages text[], weights double precision[] = null, keep_from text = null', 'void'),
('get_job', 'f', 'job_id bigint', 'job_queue.jobs'),
('cancel', 'f', 'job_id bigint, reason text = null', 'text'),
('retry', 'f', $$job_id bigint, delay interval = '0'$$, 'void'),
('restart', 'f', 'job_id bigint', 'void'),
('is_job_stale', 'f', 'job_id bigint', 'boolean'),
('history', 'f', $$user_id text = null, queue text = null, status text = null, finished_after timestamptz = null, limit_rows int = 100$$, 'setof job_queue.jobs'),
('recover_stalled', 'f', 'queue text = null', 'setof (job_id bigint, new_status text)'),
('run_maintenance', 'f', '', 'void'),
('cleanup', 'f', 'queue text = null, older_than interval = null, max_jobs int = 10000', 'setof (queue text, deleted bigint)'),
('verify', 'f', '', 'setof (check_name text, object text, detail text)'),
('advance_clock', 'f', 'by interval', NULL),
('clock', 'f', '', 'timestamp with time zone');

-- A default as the value that it gives, whichever way it was written.
CREATE FUNCTION pg_temp.value_of(expression text, type text) RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
	answer text;
BEGIN
	EXECUTE format('SELECT CAST(%s AS %s)::text', expression, type) INTO answer;
	RETURN answer;
END
$$;

-- An argument list of the contract as "name type [= value]", one per element.
CREATE FUNCTION pg_temp.contract_args(args text) RETURNS text[]
LANGUAGE sql AS $$
	SELECT coalesce(array_agg(
		format('%s %s%s', m[1], m[2]::regtype,
			   ' = ' || CASE WHEN m[3] IS NOT NULL
							 THEN coalesce(pg_temp.value_of(m[3], m[2]), 'null') END)
		ORDER BY n), '{}')
	  FROM string_to_table(args, ', ') WITH ORDINALITY a(arg, n),
		   regexp_match(arg, '^(\w+) ([^=]+?)(?: = (.*))?$') m
$$;

-- The arguments that callers pass, of a function that exists, in that form.
CREATE FUNCTION pg_temp.actual_args(f regproc) RETURNS text[]
LANGUAGE sql AS $$
	SELECT coalesce(array_agg(
		format('%s %s%s', name, format_type(type, NULL),
			   ' = ' || CASE WHEN pg_get_function_arg_default(p.oid, position) IS NOT NULL
							 THEN coalesce(pg_temp.value_of(
									 pg_get_function_arg_default(p.oid, position),
									 format_type(type, NULL)), 'null') END)
		ORDER BY position), '{}')
	  FROM pg_proc p,
		   LATERAL (SELECT a.name, a.type, row_number() OVER (ORDER BY a.n)::int AS position
					  FROM unnest(p.proargnames,
								  coalesce(p.proallargtypes, p.proargtypes::oid[]),
								  p.proargmodes) WITH ORDINALITY a(name, type, mode, n)
					 WHERE a.type IS NOT NULL
					   AND coalesce(a.mode, 'i') IN ('i', 'b', 'v')) a
	 WHERE p.oid = f::oid
$$;

-- What a function gives back, in the form of the table above.
CREATE FUNCTION pg_temp.actual_result(f regproc) RETURNS text
LANGUAGE sql AS $$
	SELECT CASE WHEN p.proretset THEN 'setof ' ELSE '' END
		|| coalesce(
			(SELECT '(' || string_agg(format('%s %s', a.name, format_type(a.type, NULL)),
									  ', ' ORDER BY a.n) || ')'
			   FROM unnest(p.proargnames, p.proallargtypes, p.proargmodes)
					WITH ORDINALITY a(name, type, mode, n)
			  WHERE a.mode IN ('o', 'b', 't')),
			format_type(p.prorettype, NULL))
	  FROM pg_proc p WHERE p.oid = f::oid
$$;

SELECT * FROM no_plan();

SELECT is(count(*)::int, 1, format('%s has one signature', e.name))
  FROM expected e LEFT JOIN pg_proc p
	ON p.proname = e.name AND p.pronamespace = 'job_queue'::regnamespace
 GROUP BY e.name ORDER BY e.name;

SELECT is(
		(pg_temp.actual_args(p.oid))[:cardinality(pg_temp.contract_args(e.args))]
			|| (SELECT array_agg(extra || ' has no default') FROM
				unnest((pg_temp.actual_args(p.oid))[cardinality(pg_temp.contract_args(e.args)) + 1:]) extra
				WHERE extra !~ ' = '),
		pg_temp.contract_args(e.args),
		format('%s takes the arguments of the contract', e.name))
  FROM expected e LEFT JOIN pg_proc p
	ON p.proname = e.name AND p.pronamespace = 'job_queue'::regnamespace
 ORDER BY e.name;

SELECT is(p.prokind, e.kind, format('%s is of the right kind', e.name))
  FROM expected e LEFT JOIN pg_proc p
	ON p.proname = e.name AND p.pronamespace = 'job_queue'::regnamespace
 ORDER BY e.name;

SELECT is(
		replace(replace(pg_temp.actual_result(p.oid), 'integer', 'int'), 'setof job_queue.jobs',
			CASE WHEN e.name = 'get_job' THEN 'job_queue.jobs' ELSE 'setof job_queue.jobs' END),
		coalesce(e.result, pg_temp.actual_result(p.oid)),
		format('%s gives the result of the contract', e.name))
  FROM expected e LEFT JOIN pg_proc p
	ON p.proname = e.name AND p.pronamespace = 'job_queue'::regnamespace
 ORDER BY e.name;

-- Types.
SELECT enum_has_labels('job_queue', 'lease_status', '{held,cancel_requested,lost}',
	'lease_status has its three values');
SELECT results_eq(
	$$SELECT attname::text COLLATE "default", format_type(atttypid, atttypmod)
	    FROM pg_attribute
	   WHERE attrelid = 'job_queue.claimed_job'::regclass AND attnum > 0 AND NOT attisdropped
	   ORDER BY attnum LIMIT 18$$,
	$$VALUES ('job_id', 'bigint'), ('queue', 'text'), ('job_type', 'text'),
		('payload', 'jsonb'), ('metadata', 'jsonb'), ('priority', 'integer'),
		('attempt', 'integer'), ('max_attempts', 'integer'), ('lease_token', 'bigint'),
		('lease_expires_at', 'timestamp with time zone'),
		('enqueued_at', 'timestamp with time zone'), ('session_id', 'bigint'),
		('user_id', 'text'), ('pipeline', 'text'), ('stage', 'text'),
		('completed_stages', 'text[]'), ('checkpoint', 'jsonb'),
		('job_timeout', 'interval')$$,
	'claimed_job has the columns of the contract');

-- Views.
SELECT results_eq(
	$$SELECT attname::text COLLATE "default", format_type(atttypid, atttypmod)
	    FROM pg_attribute
	   WHERE attrelid = 'job_queue.jobs'::regclass AND attnum > 0
		 AND attname <> 'enqueued_by'
	   ORDER BY attnum LIMIT 33$$,
	$$VALUES ('job_id', 'bigint'), ('queue', 'text'), ('job_type', 'text'),
		('status', 'text'), ('priority', 'integer'), ('attempt', 'integer'),
		('max_attempts', 'integer'), ('progress', 'double precision'),
		('stage', 'text'), ('message', 'text'), ('bytes_done', 'bigint'),
		('bytes_total', 'bigint'), ('payload', 'jsonb'), ('metadata', 'jsonb'),
		('result', 'jsonb'), ('error_code', 'text'), ('error_message', 'text'),
		('error_details', 'jsonb'), ('error_retryable', 'boolean'),
		('unique_key', 'text'), ('session_id', 'bigint'), ('user_id', 'text'),
		('pipeline', 'text'), ('worker', 'text'), ('cancel_requested', 'boolean'),
		('enqueued_at', 'timestamp with time zone'),
		('run_at', 'timestamp with time zone'),
		('started_at', 'timestamp with time zone'),
		('finished_at', 'timestamp with time zone'),
		('lease_expires_at', 'timestamp with time zone'),
		('run_time', 'interval'), ('version', 'bigint')$$,
	'view jobs has the columns of the contract, enqueued_by aside');
SELECT is((SELECT attnum::int FROM pg_attribute
			WHERE attrelid = 'job_queue.jobs'::regclass AND attname = 'enqueued_by'),
	23, 'view jobs has enqueued_by in its place');
SELECT has_view('job_queue', name::name, format('view %s exists', name))
  FROM unnest('{jobs,running_jobs,stalled_jobs,failed_jobs,attempts,stages,queues,resources}'::text[]) name;

-- Columns that the texts name.
SELECT has_column('job_queue', 'queues', name::name, format('view queues has %s', name))
  FROM unnest('{name,paused,ready,scheduled,running,oldest_ready_age}'::text[]) name;

-- Volatility and parallel safety.
SELECT is_empty(
	$$SELECT p.proname FROM pg_proc p JOIN expected e ON e.name = p.proname
	   WHERE p.pronamespace = 'job_queue'::regnamespace AND p.provolatile <> 'v'
		 AND e.name NOT IN ('get_checkpoint', 'get_job', 'is_job_stale', 'history', 'clock', 'verify')$$,
	'what writes is volatile');
SELECT is_empty(
	$$SELECT p.proname FROM pg_proc p
	   WHERE p.pronamespace = 'job_queue'::regnamespace AND p.provolatile <> 's'
		 AND p.proname IN ('get_checkpoint', 'get_job', 'is_job_stale', 'history')$$,
	'what only reads is stable');
SELECT is_empty(
	$$SELECT p.proname FROM pg_proc p JOIN expected e ON e.name = p.proname
	   WHERE p.pronamespace = 'job_queue'::regnamespace AND p.proparallel <> 'u'
		 AND e.name <> 'get_checkpoint'$$,
	'what touches shared memory is not run in parallel workers');

-- Every object says what it is.
CREATE FUNCTION pg_temp.members() RETURNS TABLE (classid oid, objid oid, name text)
LANGUAGE sql AS $$
	SELECT d.classid, d.objid, pg_describe_object(d.classid, d.objid, 0)
	  FROM pg_depend d JOIN pg_extension e ON d.refobjid = e.oid
	 WHERE d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e'
	   AND e.extname = 'job_queue'
$$;
SELECT cmp_ok((SELECT count(*)::int FROM pg_temp.members()), '>', 40,
	'the objects of the extension are found');
SELECT is_empty(
	$$SELECT name FROM pg_temp.members() m
	   WHERE obj_description(m.objid, m.classid::regclass::name) IS NULL
		 -- the row and array types of a relation, and the sequence of an identity column
		 AND NOT (m.classid = 'pg_type'::regclass
				  AND EXISTS (SELECT FROM pg_type t LEFT JOIN pg_class c ON c.oid = t.typrelid
							   WHERE t.oid = m.objid AND (t.typcategory = 'A' OR c.relkind <> 'c')))
		 AND NOT EXISTS (SELECT FROM pg_class c
						  WHERE m.classid = 'pg_class'::regclass AND c.oid = m.objid
							AND c.relkind = 'S')$$,
	'every object has a comment');
SELECT is_empty(
	$$SELECT attrelid::regclass, attname FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
	   WHERE c.relnamespace = 'job_queue'::regnamespace AND c.relkind = 'v'
		 AND c.relname = 'queues' AND attnum > 0
		 AND col_description(attrelid, attnum) IS NULL$$,
	'the columns of view queues say what they count');

-- Search paths, and what others may do.
SELECT is_empty(
	$$SELECT p.oid::regprocedure FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang
	   WHERE p.pronamespace = 'job_queue'::regnamespace AND l.lanname IN ('sql', 'plpgsql')
		 AND p.prokind = 'f'
		 AND NOT coalesce(p.proconfig, '{}') @> ARRAY['search_path=pg_catalog, pg_temp']$$,
	'functions in SQL and PL/pgSQL pin their search path');
SELECT is_empty(
	$$SELECT p.oid::regprocedure FROM pg_proc p
	   WHERE p.pronamespace = 'job_queue'::regnamespace
		 AND has_function_privilege('public', p.oid, 'execute')$$,
	'the public may execute nothing');
SELECT is_empty(
	$$SELECT c.oid::regclass FROM pg_class c
	   WHERE c.relnamespace = 'job_queue'::regnamespace AND c.relkind IN ('r', 'p', 'v', 'S')
		 AND (CASE WHEN c.relkind = 'S' THEN has_sequence_privilege('public', c.oid, 'usage,select,update')
			  ELSE has_table_privilege('public', c.oid, 'select,insert,update,delete,truncate') END)$$,
	'the public may read and write nothing');

SELECT * FROM finish();
