/*-------------------------------------------------------------------------
 *
 * enqueue.c
 *		Enqueueing jobs.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "commands/sequence.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

#include "args.h"
#include "clock.h"
#include "error.h"
#include "fault.h"
#include "owner.h"
#include "queue.h"
#include "shmem.h"
#include "store.h"
#include "xact.h"

/* Rows written at a time by enqueue_many: bounds memory and locks. */
#define INSERT_BATCH 1000

/* What to do when the unique key is taken. */
static const char *const duplicate_rules[] = {"return", "replace", "error"};

/* The options that one job or many alike are enqueued with, checked. */
typedef struct Options
{
	JqQueue queue;
	text *job_type;
	int16 priority;
	TimestampTz run_at; /* DT_NOBEGIN: at once */
	int max_attempts;	/* 0 until the queue is locked: its default */
	int64 session_id;	/* 0: none */
	text *pipeline;
	Datum job_timeout; /* interval; 0: the queue's */
	text *user_id;
	Datum metadata; /* jsonb; 0: none */
	text *unique_key;
	const char *on_duplicate;
} Options;

/* Numbers of the arguments, which differ between the functions. */
typedef struct ArgNumbers
{
	int job_type, priority, delay, run_at, max_attempts, session_id, pipeline,
		job_timeout, user_id, metadata;
	int unique_key, on_duplicate; /* -1: the function has none */
} ArgNumbers;

static const ArgNumbers one_args = {.job_type = 2,
									.priority = 3,
									.delay = 4,
									.run_at = 5,
									.max_attempts = 6,
									.unique_key = 7,
									.on_duplicate = 8,
									.session_id = 9,
									.pipeline = 10,
									.job_timeout = 11,
									.user_id = 12,
									.metadata = 13};

static const ArgNumbers many_args = {.job_type = 2,
									 .priority = 3,
									 .delay = 4,
									 .run_at = 5,
									 .max_attempts = 6,
									 .unique_key = -1,
									 .on_duplicate = -1,
									 .session_id = 7,
									 .pipeline = 8,
									 .job_timeout = 9,
									 .user_id = 10,
									 .metadata = 11};

/*
 * Arguments.
 */

/* When a job is to run: delay and run_at exclude each other. */
static TimestampTz
read_run_at(FunctionCallInfo fcinfo, const ArgNumbers *args)
{
	TimestampTz run_at;

	if (!PG_ARGISNULL(args->delay))
	{
		int64 us = jq_arg_interval(fcinfo, args->delay, "delay", 0, 0);

		if (!PG_ARGISNULL(args->run_at))
			ereport(ERROR,
					errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					errmsg("arguments \"delay\" and \"run_at\" exclude each "
						   "other"));
		return us > 0 ? jq_now() + us : DT_NOBEGIN;
	}
	if (PG_ARGISNULL(args->run_at))
		return DT_NOBEGIN;

	run_at = PG_GETARG_TIMESTAMPTZ(args->run_at);
	if (TIMESTAMP_NOT_FINITE(run_at))
		ereport(ERROR,
				errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				errmsg("argument \"run_at\" must be finite"));
	return run_at;
}

static const char *
read_on_duplicate(FunctionCallInfo fcinfo, int n)
{
	char *rule;

	jq_arg_require(fcinfo, n, "on_duplicate");
	rule = text_to_cstring(PG_GETARG_TEXT_PP(n));
	for (int i = 0; i < (int) lengthof(duplicate_rules); i++)
		if (strcmp(rule, duplicate_rules[i]) == 0)
			return duplicate_rules[i];
	ereport(ERROR,
			errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			errmsg("argument \"on_duplicate\" must not be \"%s\"", rule),
			errhint("Use return, replace or error."));
}

/* The user that the job is for: the argument, or the session's setting. */
static text *
read_user_id(FunctionCallInfo fcinfo, int n)
{
	text *user_id = jq_arg_name(fcinfo, n, "user_id", true);

	if (user_id != NULL || jq_user_id == NULL || jq_user_id[0] == '\0')
		return user_id;
	if (strlen(jq_user_id) > JQ_MAX_NAME_BYTES)
		ereport(ERROR,
				errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				errmsg("\"job_queue.user_id\" must have at most %d bytes",
					   JQ_MAX_NAME_BYTES));
	return cstring_to_text(jq_user_id);
}

/* Does one row answer a query with one argument? */
static bool
exists(JqStatement *query, Datum argument)
{
	bool found;

	SPI_connect();
	found = jq_owner_run(query, &argument, NULL, 1) > 0;
	SPI_finish();
	return found;
}

static void
check_pipeline(text *pipeline)
{
	static JqStatement find = {
		.sql = "SELECT FROM job_queue.pipeline"
			   " WHERE name OPERATOR(pg_catalog.=) $1",
		.expected = SPI_OK_SELECT,
		.nargs = 1,
		.types = {TEXTOID},
	};

	if (pipeline != NULL && !exists(&find, PointerGetDatum(pipeline)))
		ereport(
			ERROR,
			errcode(JQ_ERRCODE_NO_SESSION),
			errmsg("pipeline \"%s\" does not exist", text_to_cstring(pipeline)),
			errhint("Define it with job_queue.define_pipeline()."));
}

static void
check_session(int64 session_id)
{
	ereport(ERROR,
			errcode(JQ_ERRCODE_NO_SESSION),
			errmsg("session " INT64_FORMAT " does not exist", session_id),
			errhint("Leave \"session_id\" out to enqueue a job of its own."));
}

static void
read_options(FunctionCallInfo fcinfo, const ArgNumbers *args, Options *options)
{
	text *queue = jq_arg_name(fcinfo, 0, "queue", false);

	memset(options, 0, sizeof(Options));
	options->job_type = jq_arg_name(fcinfo, args->job_type, "job_type", true);
	jq_arg_require(fcinfo, args->priority, "priority");
	options->priority = (int16) jq_arg_int(
		fcinfo, args->priority, "priority", PG_INT16_MIN, PG_INT16_MAX, 0);
	options->run_at = read_run_at(fcinfo, args);
	options->max_attempts =
		jq_arg_int(fcinfo, args->max_attempts, "max_attempts", 1, 1000000, 0);
	options->pipeline = jq_arg_name(fcinfo, args->pipeline, "pipeline", true);
	if (jq_arg_interval(fcinfo, args->job_timeout, "job_timeout", 1, 0) > 0)
		options->job_timeout = PG_GETARG_DATUM(args->job_timeout);
	options->user_id = read_user_id(fcinfo, args->user_id);
	if (!PG_ARGISNULL(args->metadata))
	{
		options->metadata = PG_GETARG_DATUM(args->metadata);
		jq_args_check_size(options->metadata, "metadata");
	}
	if (args->unique_key >= 0)
	{
		options->unique_key =
			jq_arg_name(fcinfo, args->unique_key, "unique_key", true);
		options->on_duplicate = read_on_duplicate(fcinfo, args->on_duplicate);
	}

	if (!PG_ARGISNULL(args->session_id))
		check_session(PG_GETARG_INT64(args->session_id));
	check_pipeline(options->pipeline);
	jq_queue_get_or_create(queue, &options->queue);
}

/* Keep the queue from being dropped under the new jobs; its defaults count. */
static void
lock_queue(Options *options)
{
	/* Dropped while we waited: then it is unknown, as at the beginning. */
	while (!jq_queue_lock_shared(&options->queue))
	{
		text *name = cstring_to_text(options->queue.name);

		CHECK_FOR_INTERRUPTS();
		jq_queue_get_or_create(name, &options->queue);
	}
	if (options->max_attempts == 0)
		options->max_attempts = options->queue.max_attempts;
}

/* Error JQ005 if n more jobs are too many for the queue. */
static void
check_depth(const JqQueue *queue, int n)
{
	static JqStatement count = {
		.sql = "SELECT FROM job_queue.job"
			   " WHERE queue_id OPERATOR(pg_catalog.=) $1"
			   "   AND state OPERATOR(pg_catalog.=) 'w' LIMIT $2",
		.expected = SPI_OK_SELECT,
		.nargs = 2,
		.types = {INT4OID, INT8OID},
	};
	Datum values[2] = {Int32GetDatum(queue->id),
					   Int64GetDatum(queue->max_depth)};
	uint64 waiting;

	if (queue->max_depth == 0)
		return;
	SPI_connect();
	waiting = jq_owner_run(&count, values, NULL, 0);
	SPI_finish();
	if ((int64) waiting + n > queue->max_depth)
		ereport(ERROR,
				errcode(JQ_ERRCODE_QUEUE_FULL),
				errmsg("queue \"%s\" is full", queue->name),
				errdetail("At most " INT64_FORMAT " jobs may wait in it.",
						  queue->max_depth),
				errhint("Try again later, or raise the queue's max_depth with "
						"job_queue.alter_queue()."));
}

/*
 * Rows.
 */

static void
set_text(JqRow *row, JqJobColumn column, text *value)
{
	row->nulls[column - 1] = value == NULL;
	row->values[column - 1] = PointerGetDatum(value);
}

/* All that is alike in the jobs of one call. */
static void
fill_row(const Options *options, JqRow *row)
{
	memset(row->nulls, true, sizeof(row->nulls));
	JQ_ROW_SET(row, enqueued_at, TimestampTzGetDatum(jq_now()));
	JQ_ROW_SET(row, queue_id, Int32GetDatum(options->queue.id));
	JQ_ROW_SET(row, enqueued_by, ObjectIdGetDatum(GetUserId()));
	JQ_ROW_SET(row, max_attempts, Int32GetDatum(options->max_attempts));
	JQ_ROW_SET(row, attempt, Int32GetDatum(0));
	JQ_ROW_SET(row, priority, Int16GetDatum(options->priority));
	JQ_ROW_SET(row, state, CharGetDatum(JQ_STATE_WAITING));
	JQ_ROW_SET(row, cancel_requested, BoolGetDatum(false));
	set_text(row, Anum_job_job_type, options->job_type);
	set_text(row, Anum_job_pipeline, options->pipeline);
	set_text(row, Anum_job_user_id, options->user_id);
	if (options->run_at != DT_NOBEGIN)
		JQ_ROW_SET(row, run_at, TimestampTzGetDatum(options->run_at));
	if (options->job_timeout != 0)
		JQ_ROW_SET(row, job_timeout, options->job_timeout);
	if (options->metadata != 0)
		JQ_ROW_SET(row, metadata, options->metadata);
}

/* Insert jobs that differ in their payload.  ids gets their ids. */
static void
insert_jobs(const Options *options, const Datum *payloads, int n, int64 *ids)
{
	JqJobTable table = jq_store_open();
	HeapTuple *tuples = palloc(sizeof(HeapTuple) * n);
	ItemPointerData *tids = palloc(sizeof(ItemPointerData) * n);
	Oid sequence = jq_catalog_oid(JQ_JOB_ID_SEQ);
	RelFileNumber file = jq_relation_file(table.rel);
	JqRow row;

	fill_row(options, &row);
	for (int i = 0; i < n; i++)
	{
		ids[i] = nextval_internal(sequence, false);
		JQ_ROW_SET(&row, id, Int64GetDatum(ids[i]));
		JQ_ROW_SET(&row, payload, payloads[i]);
		tuples[i] =
			heap_form_tuple(RelationGetDescr(table.rel), row.values, row.nulls);
	}

	JQ_FAULT("enqueue-before-insert");
	jq_store_insert(&table, tuples, tids, n);
	for (int i = 0; i < n; i++)
	{
		JqReadyEntry entry = {
			.job_id = ids[i], .tid = tids[i], .priority = options->priority};

		jq_xact_owe_push(
			&options->queue.ready, file, &entry, options->run_at, false);
		heap_freetuple(tuples[i]);
	}
	JQ_FAULT("enqueue-after-insert");
	pfree(tuples);
	pfree(tids);
	jq_store_close(&table);
}

/* Insert a job whose key no other unfinished job of the queue may have. */
static int64
insert_unique(const Options *options, Datum payload, bool *created)
{
	static JqStatement insert = {
		.sql = "SELECT u.job_id, u.created"
			   "  FROM job_queue._enqueue_unique($1, $2, $3, $4, $5, $6, $7,"
			   "       $8, $9, $10, $11, $12, $13, $14) u",
		.expected = SPI_OK_SELECT,
		.nargs = 14,
		.types = {INT4OID,
				  JSONBOID,
				  TEXTOID,
				  INT4OID,
				  TIMESTAMPTZOID,
				  INT4OID,
				  TEXTOID,
				  TEXTOID,
				  INT8OID,
				  TEXTOID,
				  INTERVALOID,
				  TEXTOID,
				  JSONBOID,
				  REGROLEOID},
	};
	bool has_time = options->run_at != DT_NOBEGIN;
	Datum values[14] = {Int32GetDatum(options->queue.id),
						payload,
						PointerGetDatum(options->job_type),
						Int32GetDatum(options->priority),
						TimestampTzGetDatum(options->run_at),
						Int32GetDatum(options->max_attempts),
						PointerGetDatum(options->unique_key),
						CStringGetTextDatum(options->on_duplicate),
						Int64GetDatum(options->session_id),
						PointerGetDatum(options->pipeline),
						options->job_timeout,
						PointerGetDatum(options->user_id),
						options->metadata,
						ObjectIdGetDatum(GetUserId())};
	char nulls[15] = "              ";
	int64 id;
	bool isnull;

	for (int i = 0; i < 14; i++)
		if (values[i] == 0)
			nulls[i] = 'n';
	nulls[3] = ' ';
	nulls[4] = has_time ? ' ' : 'n';

	SPI_connect();
	(void) jq_owner_run(&insert, values, nulls, 0);
	if (SPI_processed != 1)
		elog(ERROR, "_enqueue_unique() returned no row");
	id = DatumGetInt64(SPI_getbinval(
		SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
	*created = DatumGetBool(SPI_getbinval(
		SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 2, &isnull));
	SPI_finish();
	return id;
}

/*
 * SQL functions.
 */

static int64
enqueue_one(FunctionCallInfo fcinfo, bool *created)
{
	Options options;
	Datum payload;
	int64 id;

	PreventCommandIfReadOnly("job_queue.enqueue()");
	jq_arg_require(fcinfo, 1, "payload");
	payload = PG_GETARG_DATUM(1);
	jq_args_check_size(payload, "payload");
	read_options(fcinfo, &one_args, &options);
	lock_queue(&options);
	check_depth(&options.queue, 1);

	*created = true;
	if (options.unique_key != NULL)
		id = insert_unique(&options, payload, created);
	else
		insert_jobs(&options, &payload, 1, &id);
	CommandCounterIncrement();
	return id;
}

PG_FUNCTION_INFO_V1(job_queue_enqueue);

/* job_queue.enqueue(...) returns bigint: see the arguments in one_args */
Datum
job_queue_enqueue(PG_FUNCTION_ARGS)
{
	bool created;

	PG_RETURN_INT64(enqueue_one(fcinfo, &created));
}

PG_FUNCTION_INFO_V1(job_queue_enqueue_row);

/* job_queue._enqueue(...) returns (job_id bigint, created boolean) */
Datum
job_queue_enqueue_row(PG_FUNCTION_ARGS)
{
	TupleDesc desc;
	Datum values[2];
	bool nulls[2] = {false};
	bool created;

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	values[0] = Int64GetDatum(enqueue_one(fcinfo, &created));
	values[1] = BoolGetDatum(created);
	PG_RETURN_DATUM(HeapTupleGetDatum(
		heap_form_tuple(BlessTupleDesc(desc), values, nulls)));
}

/* Insert in batches, returning the ids as the function's result. */
static void
insert_many(const Options *options, const Datum *payloads, int n,
			ReturnSetInfo *result)
{
	int64 *ids = palloc(sizeof(int64) * INSERT_BATCH);

	for (int done = 0; done < n; done += INSERT_BATCH)
	{
		int batch = Min(n - done, INSERT_BATCH);

		insert_jobs(options, payloads + done, batch, ids);
		for (int i = 0; i < batch; i++)
		{
			Datum id = Int64GetDatum(ids[i]);
			bool isnull = false;

			tuplestore_putvalues(
				result->setResult, result->setDesc, &id, &isnull);
		}
		CHECK_FOR_INTERRUPTS();
	}
}

PG_FUNCTION_INFO_V1(job_queue_enqueue_many);

/*
 * job_queue.enqueue_many(queue text, payloads jsonb[], ...)
 *		returns setof bigint: see the arguments in many_args
 */
Datum
job_queue_enqueue_many(PG_FUNCTION_ARGS)
{
	Options options;
	Datum *payloads;
	int n;

	PreventCommandIfReadOnly("job_queue.enqueue_many()");
	n = jq_arg_jsonb_array(fcinfo, 1, "payloads", &payloads, NULL);
	for (int i = 0; i < n; i++)
		jq_args_check_size(payloads[i], "payload");
	read_options(fcinfo, &many_args, &options);
	lock_queue(&options);
	check_depth(&options.queue, n);

	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	insert_many(&options, payloads, n, (ReturnSetInfo *) fcinfo->resultinfo);
	CommandCounterIncrement();
	return (Datum) 0;
}
