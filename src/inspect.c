/*-------------------------------------------------------------------------
 *
 * inspect.c
 *		SQL functions that show, or for tests move, what shared memory has.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "args.h"
#include "catalog.h"
#include "clock.h"
#include "database.h"
#include "fault.h"
#include "lease.h"
#include "ready.h"
#include "shmem.h"

PG_FUNCTION_INFO_V1(job_queue_preloaded);

/* job_queue._preloaded() returns boolean */
Datum
job_queue_preloaded(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(jq_shmem_available());
}

PG_FUNCTION_INFO_V1(job_queue_ready_index);

/*
 * job_queue._ready_index()
 *		returns setof (queue_id int, complete boolean, scanning boolean,
 *					   entries bigint, position_priority int,
 *					   position_id bigint, waiters int)
 */
Datum
job_queue_ready_index(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;

	InitMaterializedSRF(fcinfo, 0);
	for (int i = 0; jq_shmem_available() && i < jq_max_queues; i++)
	{
		JqReadyInfo info;
		Datum values[7];
		bool nulls[7] = {false};

		if (!jq_ready_inspect(i, &info) || info.key.database != MyDatabaseId ||
			info.key.relation != jq_catalog_oid(JQ_JOB))
			continue;
		values[0] = Int32GetDatum(info.key.queue_id);
		values[1] = BoolGetDatum(info.complete);
		values[2] = BoolGetDatum(info.scanning);
		values[3] = Int64GetDatum(info.entries);
		values[4] = Int32GetDatum(info.position.priority);
		values[5] = Int64GetDatum(info.position.job_id);
		values[6] = Int32GetDatum(info.waiters);
		nulls[4] = nulls[5] = info.complete;
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
	return (Datum) 0;
}

static void
live_values(const JqLease *lease, Datum *values, bool *nulls)
{
	const JqProgress *progress = &lease->progress;

	values[0] = TimestampTzGetDatum(lease->expires_at);
	values[1] = Float8GetDatum(progress->percent);
	nulls[1] = !progress->has_percent;
	values[2] = CStringGetTextDatum(progress->stage);
	nulls[2] = !progress->has_stage;
	values[3] = CStringGetTextDatum(progress->message);
	nulls[3] = !progress->has_message;
	values[4] = Int64GetDatum(progress->bytes_done);
	nulls[4] = !progress->has_bytes_done;
	values[5] = Int64GetDatum(progress->bytes_total);
	nulls[5] = !progress->has_bytes_total;
	values[6] = BoolGetDatum(lease->cancel_requested);
	values[7] = TimestampTzGetDatum(lease->beat_at);
	nulls[7] = lease->beat_at == 0;
	values[8] = Int64GetDatum(lease->version);
}

PG_FUNCTION_INFO_V1(job_queue_live);

/*
 * job_queue._live(job_id bigint, lease_token bigint)
 *		returns setof (lease_expires_at timestamptz, progress double precision,
 *					   stage text, message text, bytes_done bigint,
 *					   bytes_total bigint, cancel_requested boolean,
 *					   last_heartbeat timestamptz, version bigint)
 *
 * Declared STRICT.  No row if shared memory does not know the lease.
 */
Datum
job_queue_live(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	JqLease lease;
	Datum values[9];
	bool nulls[9] = {false};

	InitMaterializedSRF(fcinfo, 0);
	if (!jq_shmem_available() ||
		!jq_lease_get(PG_GETARG_INT64(0), PG_GETARG_INT64(1), &lease))
		return (Datum) 0;
	live_values(&lease, values, nulls);
	tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	return (Datum) 0;
}

PG_FUNCTION_INFO_V1(job_queue_advance_clock);

/* job_queue.advance_clock("by" interval) returns void; see clock.h */
Datum
job_queue_advance_clock(PG_FUNCTION_ARGS)
{
	jq_fault_require_testing("advance_clock()");
	jq_arg_require(fcinfo, 0, "by");
	jq_clock_advance(jq_arg_interval(fcinfo, 0, "by", -JQ_MAX_INTERVAL_US, 0));
	jq_database_wake_all();
	PG_RETURN_VOID();
}
