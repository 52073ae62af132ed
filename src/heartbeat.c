/*-------------------------------------------------------------------------
 *
 * heartbeat.c
 *		Signs of life of workers: heartbeats and progress.
 *
 * They are stores into shared memory.  A lease without an entry there (after
 * a restart, or when job_queue.max_leases are in use) is taken up again from
 * its row, under a row lock, so that recovery does not take the job away at
 * the same moment.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <math.h>

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "args.h"
#include "catalog.h"
#include "clock.h"
#include "database.h"
#include "due.h"
#include "error.h"
#include "lease.h"
#include "owner.h"
#include "queue.h"
#include "retry.h"
#include "shmem.h"

/* How soon progress is to be in the row. */
#define FLUSH_DELAY_US USECS_PER_SEC

typedef enum Status
{
	STATUS_HELD,
	STATUS_CANCEL_REQUESTED,
	STATUS_LOST,
} Status;

/* The labels of the enum lease_status. */
static const char *const status_labels[] = {"held", "cancel_requested", "lost"};

/*
 * Taking up a lease from its row.
 */

/* Columns that lock_row() reads. */
enum
{
	COLUMN_QUEUE_ID = 1,
	COLUMN_STARTED_AT,
	COLUMN_LEASE_EXPIRES_AT,
	COLUMN_LEASE,
	COLUMN_JOB_TIMEOUT,
	COLUMN_CANCEL_REQUESTED,
};

/* Lock the row of a lease.  False if the lease is lost.  SPI has the row. */
static bool
lock_row(int64 job_id, int64 token)
{
	static JqStatement lock = {
		.sql = "SELECT queue_id, started_at, lease_expires_at, lease,"
			   "       job_timeout, cancel_requested"
			   "  FROM job_queue.job"
			   " WHERE id OPERATOR(pg_catalog.=) $1"
			   "   AND lease_token OPERATOR(pg_catalog.=) $2"
			   "   FOR NO KEY UPDATE",
		.expected = SPI_OK_SELECT,
		.nargs = 2,
		.types = {INT8OID, INT8OID},
	};
	Datum values[2] = {Int64GetDatum(job_id), Int64GetDatum(token)};

	return jq_owner_run(&lock, values, NULL, 1) > 0;
}

static Datum
column(int number, bool *isnull)
{
	return SPI_getbinval(
		SPI_tuptable->vals[0], SPI_tuptable->tupdesc, number, isnull);
}

/* When the attempt in the row must end; DT_NOEND if it need not. */
static TimestampTz
deadline_of_row(int32 queue_id, TimestampTz started_at)
{
	bool isnull;
	Datum value = column(COLUMN_JOB_TIMEOUT, &isnull);
	JqQueue queue;

	if (!isnull)
		return started_at + jq_interval_us(DatumGetIntervalP(value));
	if (jq_queue_find_by_id(queue_id, &queue) && queue.job_timeout_us > 0)
		return started_at + queue.job_timeout_us;
	return DT_NOEND;
}

/* The length of the lease in the row, if it was kept. */
static int64
length_of_row(int64 if_not_kept)
{
	bool isnull;
	Datum value = column(COLUMN_LEASE, &isnull);

	return isnull ? if_not_kept : jq_interval_us(DatumGetIntervalP(value));
}

/* The lease that the row in SPI's result describes. */
static JqLease
lease_of_row(int64 job_id, int64 token)
{
	JqLease lease = {
		.job_id = job_id, .token = token, .database = MyDatabaseId};
	TimestampTz started_at;
	bool isnull;

	started_at = DatumGetTimestampTz(column(COLUMN_STARTED_AT, &isnull));
	lease.queue_id = DatumGetInt32(column(COLUMN_QUEUE_ID, &isnull));
	lease.expires_at =
		DatumGetTimestampTz(column(COLUMN_LEASE_EXPIRES_AT, &isnull));
	lease.cancel_requested =
		DatumGetBool(column(COLUMN_CANCEL_REQUESTED, &isnull));
	lease.lease_us = length_of_row(lease.expires_at - started_at);
	lease.deadline = deadline_of_row(lease.queue_id, started_at);
	return lease;
}

/*
 * No room in shared memory: the row's own end is moved, durably, and progress
 * goes there too.  The length of the lease is kept beside it.
 */
static void
prolong_row(const JqLease *lease, const JqProgress *progress)
{
	static JqStatement prolong = {
		.sql = "UPDATE job_queue.job SET"
			   "       lease_expires_at = $2,"
			   "       lease = coalesce(lease, lease_expires_at"
			   "                OPERATOR(pg_catalog.-) started_at),"
			   "       progress = coalesce($3, progress),"
			   "       bytes_done = coalesce($4, bytes_done),"
			   "       bytes_total = coalesce($5, bytes_total),"
			   "       stage = coalesce($6, stage),"
			   "       message = coalesce($7, message)"
			   " WHERE id OPERATOR(pg_catalog.=) $1",
		.expected = SPI_OK_UPDATE,
		.nargs = 7,
		.types = {INT8OID,
				  TIMESTAMPTZOID,
				  FLOAT8OID,
				  INT8OID,
				  INT8OID,
				  TEXTOID,
				  TEXTOID},
	};
	static const JqProgress none = {0};
	const JqProgress *news = progress != NULL ? progress : &none;
	Datum values[7] = {Int64GetDatum(lease->job_id),
					   TimestampTzGetDatum(lease->expires_at),
					   Float8GetDatum(news->percent),
					   Int64GetDatum(news->bytes_done),
					   Int64GetDatum(news->bytes_total),
					   CStringGetTextDatum(news->stage),
					   CStringGetTextDatum(news->message)};
	char nulls[8] = {' ',
					 ' ',
					 news->has_percent ? ' ' : 'n',
					 news->has_bytes_done ? ' ' : 'n',
					 news->has_bytes_total ? ' ' : 'n',
					 news->has_stage ? ' ' : 'n',
					 news->has_message ? ' ' : 'n',
					 '\0'};

	(void) jq_owner_run(&prolong, values, nulls, 0);
	jq_due_unlisted_lease(jq_database_index(), lease->expires_at);
}

/* Enter a lease that runs, or prolong it in its row, which is locked. */
static Status
take_up_lease(const JqLease *lease, TimestampTz now, int64 lease_us,
			  const JqProgress *progress)
{
	bool replaced;

	if (!jq_lease_enter(lease, &replaced))
		prolong_row(lease, progress);
	else if (jq_lease_beat(
				 lease->job_id, lease->token, now, lease_us, progress) ==
			 JQ_BEAT_ENDING)
		return STATUS_LOST;
	return lease->cancel_requested ? STATUS_CANCEL_REQUESTED : STATUS_HELD;
}

/* A sign of life for a lease without an entry. */
static Status
take_up(int64 job_id, int64 token, int64 lease_us, const JqProgress *progress)
{
	TimestampTz now = jq_now();
	Status status = STATUS_LOST;

	PreventCommandIfReadOnly("job_queue.heartbeat()");
	SPI_connect();
	if (lock_row(job_id, token))
	{
		JqLease lease = lease_of_row(job_id, token);

		lease.beat_at = now;
		lease.expires_at = jq_retry_lease_end(
			now, lease_us > 0 ? lease_us : lease.lease_us, lease.deadline);
		if (lease.deadline > now)
			status = take_up_lease(&lease, now, lease_us, progress);
	}
	SPI_finish();
	return status;
}

/* The worker must be awake when a lease ends that was made shorter. */
static void
expect_end(TimestampTz now, int64 lease_us)
{
	if (lease_us > 0)
		jq_database_wake_at(jq_database_index(), now + lease_us);
}

static Status
beat(int64 job_id, int64 token, int64 lease_us, const JqProgress *progress)
{
	TimestampTz now = jq_now();

	expect_end(now, lease_us);
	switch (jq_lease_beat(job_id, token, now, lease_us, progress))
	{
		case JQ_BEAT_HELD:
			return STATUS_HELD;
		case JQ_BEAT_CANCEL:
			return STATUS_CANCEL_REQUESTED;
		case JQ_BEAT_ENDING:
			return STATUS_LOST;
		case JQ_BEAT_UNKNOWN:
			break;
	}
	return take_up(job_id, token, lease_us, progress);
}

/*
 * SQL functions.
 */

static Datum
status_datum(Status status, Oid enum_type)
{
	return DirectFunctionCall2(enum_in,
							   CStringGetDatum(status_labels[status]),
							   ObjectIdGetDatum(enum_type));
}

/* The status as the function's result; error JQ001 if the lease is lost. */
static Datum
return_status(FunctionCallInfo fcinfo, int64 job_id, Status status)
{
	Oid type;

	if (status == STATUS_LOST)
		ereport(ERROR,
				errcode(JQ_ERRCODE_LEASE_LOST),
				errmsg("the lease of job " INT64_FORMAT " is lost", job_id),
				errdetail("The job was given to another worker, or is "
						  "finished."),
				errhint("Stop working on it; nothing was changed."));
	(void) get_call_result_type(fcinfo, &type, NULL);
	return status_datum(status, type);
}

static void
require_lease_args(FunctionCallInfo fcinfo)
{
	jq_shmem_require("a sign of life");
	jq_arg_require(fcinfo, 0, "job_id");
	jq_arg_require(fcinfo, 1, "lease_token");
}

PG_FUNCTION_INFO_V1(job_queue_heartbeat);

/*
 * job_queue.heartbeat(job_id bigint, lease_token bigint, lease interval)
 *		returns job_queue.lease_status
 */
Datum
job_queue_heartbeat(PG_FUNCTION_ARGS)
{
	int64 lease_us;

	require_lease_args(fcinfo);
	lease_us = jq_arg_interval(fcinfo, 2, "lease", 1, 0);
	return return_status(
		fcinfo,
		PG_GETARG_INT64(0),
		beat(PG_GETARG_INT64(0), PG_GETARG_INT64(1), lease_us, NULL));
}

PG_FUNCTION_INFO_V1(job_queue_heartbeat_many);

/*
 * job_queue.heartbeat_many(job_ids bigint[], lease_tokens bigint[],
 *							lease interval)
 *		returns setof (job_id bigint, status job_queue.lease_status)
 */
Datum
job_queue_heartbeat_many(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	int64 *ids;
	int64 *tokens;
	int64 lease_us;
	int n;

	jq_shmem_require("a sign of life");
	n = jq_arg_int64_array(fcinfo, 0, "job_ids", &ids);
	jq_args_same_length(n,
						"job_ids",
						jq_arg_int64_array(fcinfo, 1, "lease_tokens", &tokens),
						"lease_tokens");
	lease_us = jq_arg_interval(fcinfo, 2, "lease", 1, 0);

	InitMaterializedSRF(fcinfo, 0);
	for (int i = 0; i < n; i++)
	{
		Status status = beat(ids[i], tokens[i], lease_us, NULL);
		Datum values[2] = {
			Int64GetDatum(ids[i]),
			status_datum(status, TupleDescAttr(rsinfo->setDesc, 1)->atttypid)};
		bool nulls[2] = {false};

		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
		CHECK_FOR_INTERRUPTS();
	}
	return (Datum) 0;
}

/* Copy a text, cut at a character's border if it is too long. */
static void
copy_cut(char *to, Size size, text *from)
{
	int length = pg_mbcliplen(
		VARDATA_ANY(from), VARSIZE_ANY_EXHDR(from), (int) size - 1);

	memcpy(to, VARDATA_ANY(from), length);
	to[length] = '\0';
}

static void
set_percent(FunctionCallInfo fcinfo, int n, JqProgress *progress)
{
	if (PG_ARGISNULL(n))
		return;
	progress->has_percent = true;
	progress->percent = PG_GETARG_FLOAT8(n);
	if (isnan(progress->percent) || progress->percent < 0 ||
		progress->percent > 100)
		ereport(ERROR,
				errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				errmsg("argument \"progress\" must be between 0 and 100"));
}

static void
set_message(FunctionCallInfo fcinfo, int n, JqProgress *progress)
{
	if (PG_ARGISNULL(n))
		return;
	progress->has_message = true;
	copy_cut(
		progress->message, sizeof(progress->message), PG_GETARG_TEXT_PP(n));
}

static void
set_bytes(FunctionCallInfo fcinfo, int n, const char *name, bool *has,
		  int64 *bytes)
{
	if (PG_ARGISNULL(n))
		return;
	*has = true;
	*bytes = PG_GETARG_INT64(n);
	if (*bytes < 0)
		ereport(ERROR,
				errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				errmsg("argument \"%s\" must not be negative", name));
}

/* Store progress; the worker is to write it to the row soon. */
static Status
report(int64 job_id, int64 token, const JqProgress *progress)
{
	Status status = beat(job_id, token, 0, progress);

	jq_database_wake_at(jq_database_index(), jq_now() + FLUSH_DELAY_US);
	return status;
}

PG_FUNCTION_INFO_V1(job_queue_report_progress);

/*
 * job_queue.report_progress(job_id bigint, lease_token bigint,
 *							 progress double precision, message text,
 *							 bytes_done bigint, bytes_total bigint)
 *		returns job_queue.lease_status
 */
Datum
job_queue_report_progress(PG_FUNCTION_ARGS)
{
	JqProgress progress = {0};

	require_lease_args(fcinfo);
	jq_arg_require(fcinfo, 2, "progress");
	set_percent(fcinfo, 2, &progress);
	set_message(fcinfo, 3, &progress);
	set_bytes(fcinfo,
			  4,
			  "bytes_done",
			  &progress.has_bytes_done,
			  &progress.bytes_done);
	set_bytes(fcinfo,
			  5,
			  "bytes_total",
			  &progress.has_bytes_total,
			  &progress.bytes_total);

	return return_status(
		fcinfo,
		PG_GETARG_INT64(0),
		report(PG_GETARG_INT64(0), PG_GETARG_INT64(1), &progress));
}

PG_FUNCTION_INFO_V1(job_queue_set_live);

/*
 * job_queue._set_live(job_id bigint, lease_token bigint, stage text,
 *					   message text, progress double precision) returns void
 *
 * Error JQ001 if the lease is lost.
 */
Datum
job_queue_set_live(PG_FUNCTION_ARGS)
{
	JqProgress progress = {0};

	require_lease_args(fcinfo);
	if (!PG_ARGISNULL(2))
	{
		progress.has_stage = true;
		copy_cut(progress.stage, sizeof(progress.stage), PG_GETARG_TEXT_PP(2));
	}
	set_message(fcinfo, 3, &progress);
	set_percent(fcinfo, 4, &progress);
	if (report(PG_GETARG_INT64(0), PG_GETARG_INT64(1), &progress) ==
		STATUS_LOST)
		ereport(ERROR,
				errcode(JQ_ERRCODE_LEASE_LOST),
				errmsg("the lease of job " INT64_FORMAT " is lost",
					   PG_GETARG_INT64(0)),
				errhint("Stop working on it; nothing was changed."));
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(job_queue_assert_lease);

/*
 * job_queue.assert_lease(job_id bigint, lease_token bigint) returns void
 *
 * Locks the job's row, so that the lease is not lost before this transaction
 * ends.  Error JQ001 if it is lost already.
 */
Datum
job_queue_assert_lease(PG_FUNCTION_ARGS)
{
	bool held;

	PreventCommandIfReadOnly("job_queue.assert_lease()");
	jq_arg_require(fcinfo, 0, "job_id");
	jq_arg_require(fcinfo, 1, "lease_token");
	SPI_connect();
	held = lock_row(PG_GETARG_INT64(0), PG_GETARG_INT64(1));
	SPI_finish();
	if (!held)
		ereport(ERROR,
				errcode(JQ_ERRCODE_LEASE_LOST),
				errmsg("the lease of job " INT64_FORMAT " is lost",
					   PG_GETARG_INT64(0)),
				errhint("Stop working on it; nothing was changed."));
	PG_RETURN_VOID();
}
