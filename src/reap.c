/*-------------------------------------------------------------------------
 *
 * reap.c
 *		Recovery of stalled jobs, and housekeeping.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/table.h"
#include "access/tableam.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "args.h"
#include "bgw.h"
#include "catalog.h"
#include "clock.h"
#include "compat.h"
#include "database.h"
#include "due.h"
#include "fault.h"
#include "lease.h"
#include "owner.h"
#include "queue.h"
#include "ready.h"
#include "reap.h"
#include "shmem.h"
#include "xact.h"

/* Jobs recovered in one transaction. */
#define REAP_BATCH 500

#define RETRY_US (USECS_PER_SEC / 2)

/*
 * Between two looks at all running rows: at least this, and so much more than
 * a look takes that the worker is not busy with it.
 */
#define LOOK_INTERVAL_US (USECS_PER_SEC / 2)
#define LOOK_SHARE 10
#define HOUSEKEEPING_INTERVAL_US (60 * USECS_PER_SEC)

/*
 * Leases.
 */

/*
 * The end of a lease without an entry: as the row has it, or, after a
 * restart, as if it had been taken, or last prolonged, when the server started.
 */
static TimestampTz
end_without_entry(TimestampTz row_end, TimestampTz begun_at)
{
	TimestampTz epoch = jq_clock_epoch();

	if (TIMESTAMP_NOT_FINITE(epoch) || TIMESTAMP_NOT_FINITE(row_end) ||
		TIMESTAMP_NOT_FINITE(begun_at))
		return row_end;
	return Max(row_end, epoch + (row_end - begun_at));
}

/* The timeout of a job's attempts in microseconds; 0: none. */
static int64
job_timeout_us(TupleTableSlot *slot, int32 queue_id)
{
	bool isnull;
	Datum value = slot_getattr(slot, Anum_job_job_timeout, &isnull);
	JqQueue queue;

	if (!isnull)
		return jq_interval_us(DatumGetIntervalP(value));
	return jq_queue_find_by_id(queue_id, &queue) ? queue.job_timeout_us : 0;
}

/* The length of the lease of a running job in microseconds. */
static int64
lease_us(TupleTableSlot *slot, TimestampTz started_at, TimestampTz row_end)
{
	bool isnull;
	Datum value = slot_getattr(slot, Anum_job_lease, &isnull);

	return isnull ? row_end - started_at
				  : jq_interval_us(DatumGetIntervalP(value));
}

/* The lease of the running row under a scan. */
static JqLease
lease_in_slot(TupleTableSlot *slot)
{
	bool isnull;
	TimestampTz started_at =
		DatumGetTimestampTz(slot_getattr(slot, Anum_job_started_at, &isnull));
	TimestampTz row_end = DatumGetTimestampTz(
		slot_getattr(slot, Anum_job_lease_expires_at, &isnull));
	int64 timeout_us;
	JqLease lease = {
		.job_id = DatumGetInt64(slot_getattr(slot, Anum_job_id, &isnull)),
		.token =
			DatumGetInt64(slot_getattr(slot, Anum_job_lease_token, &isnull)),
		.database = MyDatabaseId,
		.queue_id =
			DatumGetInt32(slot_getattr(slot, Anum_job_queue_id, &isnull)),
		.tid = slot->tts_tid,
		.cancel_requested = DatumGetBool(
			slot_getattr(slot, Anum_job_cancel_requested, &isnull)),
		.lease_us = lease_us(slot, started_at, row_end),
	};

	lease.expires_at = end_without_entry(row_end, row_end - lease.lease_us);
	timeout_us = job_timeout_us(slot, lease.queue_id);
	lease.deadline = timeout_us > 0 ? started_at + timeout_us : DT_NOEND;
	lease.expires_at = Min(lease.expires_at, lease.deadline);
	return lease;
}

/*
 * Enter the leases of all running rows that have no entry.  Returns whether
 * one has ended for which there was no room.
 */
static bool
list_leases(int database)
{
	Relation job = table_open(jq_catalog_oid(JQ_JOB), AccessShareLock);
	Snapshot snapshot;
	TableScanDesc scan;
	TupleTableSlot *slot = table_slot_create(job, NULL);
	bool ended = false;

	/* Before the snapshot: what it does not see is noted after this. */
	(void) jq_due_unlisted_take(database);
	snapshot = RegisterSnapshot(GetLatestSnapshot());
	scan = table_beginscan(job, snapshot, 0, NULL);
	while (table_scan_getnextslot(scan, ForwardScanDirection, slot))
	{
		bool isnull;
		JqLease lease;

		CHECK_FOR_INTERRUPTS();
		if (DatumGetChar(slot_getattr(slot, Anum_job_state, &isnull)) !=
			JQ_STATE_RUNNING)
			continue;
		lease = lease_in_slot(slot);
		if (jq_lease_adopt(&lease))
			continue;
		if (lease.expires_at <= jq_now())
			ended = true;
		else
			jq_due_unlisted_lease(database, lease.expires_at);
	}
	ExecDropSingleTupleTableSlot(slot);
	table_endscan(scan);
	UnregisterSnapshot(snapshot);
	table_close(job, AccessShareLock);
	return ended;
}

/* Run a statement that returns one row of bigint. */
static void
query_counts(JqStatement *statement, int ncounts, int64 *counts)
{
	SPI_connect();
	if (jq_owner_run(statement, NULL, NULL, 0) != 1)
		elog(ERROR, "no result of: %s", statement->sql);
	for (int i = 0; i < ncounts; i++)
	{
		bool isnull;

		counts[i] = DatumGetInt64(SPI_getbinval(
			SPI_tuptable->vals[0], SPI_tuptable->tupdesc, i + 1, &isnull));
	}
	SPI_finish();
}

/*
 * Look at rows whose lease is not in shared memory.  Returns for how long not
 * to do it again, in microseconds.
 */
static int64
recover_unlisted(int database)
{
	static JqStatement recover = {
		.sql = "SELECT job_queue._recover_unknown()::pg_catalog.int8",
		.expected = SPI_OK_SELECT,
	};
	int64 recovered;
	TimestampTz begun = GetCurrentTimestamp();
	int64 took_us;
	bool ended;

	jq_bgw_begin("looking for running jobs");
	ended = list_leases(database);
	took_us = GetCurrentTimestamp() - begun;
	if (ended)
	{
		/* Until all are recovered: some may be locked, or this may fail. */
		jq_due_unlisted_lease(database, jq_now() + RETRY_US);
		CommandCounterIncrement();
		query_counts(&recover, 1, &recovered);
	}
	jq_bgw_commit();

	return Max(LOOK_INTERVAL_US, LOOK_SHARE * took_us);
}

/* Recover some jobs.  Returns whether there may be more; *left: not done. */
static bool
recover_batch(int64 *left)
{
	static JqStatement recover = {
		.sql = "SELECT pg_catalog.count(*),"
			   "       pg_catalog.count(r.new_status)"
			   "  FROM (SELECT job_queue._recover("
			   "                 e.job_id, e.lease_token, NULL) AS new_status"
			   "          FROM job_queue._expired_leases(500, NULL) e) r",
		.expected = SPI_OK_SELECT,
	};
	int64 counts[2];

	jq_bgw_begin("recovering stalled jobs");
	JQ_FAULT("reap-before");
	query_counts(&recover, 2, counts);
	JQ_FAULT("reap-after");
	jq_bgw_commit();

	*left = counts[0] - counts[1];
	return counts[0] == REAP_BATCH && counts[1] > 0;
}

TimestampTz
jq_reap_run(void)
{
	static TimestampTz not_before = DT_NOBEGIN;
	int database = jq_database_index();
	TimestampTz now = jq_now();
	TimestampTz next = DT_NOEND;
	int64 left = 0;

	if (jq_due_unlisted_next(database) <= now && not_before <= now)
		not_before = now + recover_unlisted(database);

	if (jq_lease_next_end(&next) && next <= now)
	{
		while (recover_batch(&left))
			CHECK_FOR_INTERRUPTS();
		next = DT_NOEND;
		(void) jq_lease_next_end(&next);
	}

	next = Min(next, Max(jq_due_unlisted_next(database), not_before));
	return left > 0 ? Max(next, now + RETRY_US) : next;
}

PG_FUNCTION_INFO_V1(job_queue_expired_leases);

/*
 * job_queue._expired_leases(max_leases int, only_queue int)
 *		returns setof (job_id bigint, lease_token bigint)
 *
 * From now on the workers of these leases are refused, until the transaction
 * ends: a lease that it has not ended is then as it was.  only_queue may be
 * null: all queues.
 */
Datum
job_queue_expired_leases(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	int max = PG_ARGISNULL(0) ? 0 : PG_GETARG_INT32(0);
	int32 queue_id = PG_ARGISNULL(1) ? 0 : PG_GETARG_INT32(1);
	JqLeaseId *ended;
	int n;

	PreventCommandIfReadOnly("job_queue.recover_stalled()");
	InitMaterializedSRF(fcinfo, 0);
	if (!jq_shmem_available() || max <= 0)
		return (Datum) 0;

	max = Min(max, jq_max_leases);
	ended = palloc(sizeof(JqLeaseId) * max);
	jq_xact_reserve(max);
	n = jq_lease_collect_ended(jq_now(), queue_id, ended, max);
	for (int i = 0; i < n; i++)
		jq_xact_owe_spare(ended[i].job_id, ended[i].token);
	for (int i = 0; i < n; i++)
	{
		Datum values[2] = {Int64GetDatum(ended[i].job_id),
						   Int64GetDatum(ended[i].token)};
		bool nulls[2] = {false};

		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
	return (Datum) 0;
}

PG_FUNCTION_INFO_V1(job_queue_end_lease);

/*
 * job_queue._end_lease(job_id bigint, lease_token bigint,
 *						row_end timestamptz, started_at timestamptz)
 *		returns timestamptz
 *
 * Ends a lease that has run out: its worker is refused until the transaction
 * ends, which then has taken the job away, or not.  Returns when it ran out;
 * null if it is still valid.  Declared STRICT.  The caller holds the row's
 * lock, under which a lease without an entry is taken up.
 */
Datum
job_queue_end_lease(PG_FUNCTION_ARGS)
{
	int64 job_id = PG_GETARG_INT64(0);
	int64 token = PG_GETARG_INT64(1);
	TimestampTz now = jq_now();
	TimestampTz end =
		end_without_entry(PG_GETARG_TIMESTAMPTZ(2), PG_GETARG_TIMESTAMPTZ(3));
	JqLeaseEnd answer = JQ_LEASE_UNKNOWN;

	if (jq_shmem_available())
	{
		jq_xact_reserve(1);
		answer = jq_lease_end(job_id, token, now, &end);
	}
	if (answer == JQ_LEASE_ENDED)
		jq_xact_owe_spare(job_id, token);
	if (answer == JQ_LEASE_VALID || end > now)
		PG_RETURN_NULL();
	PG_RETURN_TIMESTAMPTZ(end);
}

PG_FUNCTION_INFO_V1(job_queue_forget_lease);

/*
 * job_queue._forget_lease(job_id bigint, lease_token bigint) returns void
 *
 * Forgets a lease whose row is gone.  Declared STRICT.
 */
Datum
job_queue_forget_lease(PG_FUNCTION_ARGS)
{
	if (jq_shmem_available())
		jq_lease_remove(MyDatabaseId, PG_GETARG_INT64(0), PG_GETARG_INT64(1));
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(job_queue_effective_lease_end);

/*
 * job_queue._effective_lease_end(job_id bigint, lease_token bigint,
 *								  row_end timestamptz, started_at timestamptz)
 *		returns timestamptz
 *
 * Null if the arguments are.
 */
Datum
job_queue_effective_lease_end(PG_FUNCTION_ARGS)
{
	JqLease lease;

	for (int i = 0; i < 4; i++)
		if (PG_ARGISNULL(i))
			PG_RETURN_NULL();
	if (jq_shmem_available() &&
		jq_lease_get(PG_GETARG_INT64(0), PG_GETARG_INT64(1), &lease))
		PG_RETURN_TIMESTAMPTZ(lease.expires_at);
	PG_RETURN_TIMESTAMPTZ(
		end_without_entry(PG_GETARG_TIMESTAMPTZ(2), PG_GETARG_TIMESTAMPTZ(3)));
}

/*
 * Housekeeping.
 */

static void
run_step(JqStatement *step)
{
	jq_bgw_begin(step->sql);
	SPI_connect();
	(void) jq_owner_run(step, NULL, NULL, 0);
	SPI_finish();
	jq_bgw_commit();
}

/* Free the slots of queues that are no more. */
static void
forget_dropped_queues(void)
{
	jq_bgw_begin("looking for dropped queues");
	for (int i = 0; i < jq_max_queues; i++)
	{
		JqReadyInfo info;
		JqQueue queue;

		if (jq_ready_inspect(i, &info) && info.key.database == MyDatabaseId &&
			(info.key.relation != jq_catalog_oid(JQ_JOB) ||
			 !jq_queue_find_by_id(info.key.queue_id, &queue)))
			jq_ready_forget(&info.key);
	}
	jq_bgw_commit();
}

TimestampTz
jq_housekeeping_run(void)
{
	static JqStatement steps[] = {
		{.sql = "SELECT job_queue._maintenance_step("
				"'ensure_history_partitions')",
		 .expected = SPI_OK_SELECT},
		{.sql = "SELECT job_queue._maintenance_step('cleanup')",
		 .expected = SPI_OK_SELECT},
		{.sql = "SELECT job_queue._maintenance_step('drop_empty_partitions')",
		 .expected = SPI_OK_SELECT},
	};
	TimestampTz begun = jq_now();

	for (int i = 0; i < (int) lengthof(steps); i++)
		run_step(&steps[i]);
	forget_dropped_queues();
	return begun + HOUSEKEEPING_INTERVAL_US;
}
