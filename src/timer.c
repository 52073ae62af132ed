/*-------------------------------------------------------------------------
 *
 * timer.c
 *		Scheduled jobs: pushing them when they are due.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/table.h"
#include "access/tableam.h"
#include "miscadmin.h"
#include "utils/fmgroids.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "bgw.h"
#include "catalog.h"
#include "clock.h"
#include "compat.h"
#include "database.h"
#include "due.h"
#include "fault.h"
#include "queue.h"
#include "ready.h"
#include "reap.h"

/* Push the due job under a scan to its queue's index. */
static void
push_due(Relation job, TupleTableSlot *slot)
{
	bool isnull;
	JqQueue queue;
	JqReadyEntry entry = {
		.job_id = DatumGetInt64(slot_getattr(slot, Anum_job_id, &isnull)),
		.tid = slot->tts_tid,
		.priority =
			DatumGetInt16(slot_getattr(slot, Anum_job_priority, &isnull)),
	};
	int32 queue_id =
		DatumGetInt32(slot_getattr(slot, Anum_job_queue_id, &isnull));

	if (jq_queue_find_by_id(queue_id, &queue))
		jq_ready_push(&queue.ready, jq_relation_file(job), &entry, 1, false);
}

/*
 * Push what is due after one time and up to another.  Returns when the first
 * job after that is due.
 */
static TimestampTz
push_due_between(Relation job, TimestampTz after, TimestampTz upto)
{
	Relation index =
		index_open(jq_catalog_oid(JQ_JOB_DUE_IDX), AccessShareLock);
	Snapshot snapshot = RegisterSnapshot(GetLatestSnapshot());
	TupleTableSlot *slot = table_slot_create(job, NULL);
	IndexScanDesc scan = jq_index_beginscan(job, index, snapshot, 1);
	TimestampTz next = DT_NOEND;
	ScanKeyData key;

	ScanKeyInit(&key,
				1,
				BTGreaterStrategyNumber,
				F_TIMESTAMPTZ_GT,
				TimestampTzGetDatum(after));
	index_rescan(scan, &key, 1, NULL, 0);
	while (index_getnext_slot(scan, ForwardScanDirection, slot))
	{
		bool isnull;
		TimestampTz run_at =
			DatumGetTimestampTz(slot_getattr(slot, Anum_job_run_at, &isnull));

		CHECK_FOR_INTERRUPTS();
		if (DatumGetChar(slot_getattr(slot, Anum_job_state, &isnull)) !=
			JQ_STATE_WAITING)
			continue;
		if (run_at > upto)
		{
			next = run_at;
			break;
		}
		push_due(job, slot);
	}
	index_endscan(scan);
	ExecDropSingleTupleTableSlot(slot);
	UnregisterSnapshot(snapshot);
	index_close(index, AccessShareLock);
	return next;
}

TimestampTz
jq_due_run(void)
{
	int database = jq_database_index();
	TimestampTz horizon = jq_now();
	TimestampTz done;
	TimestampTz next;
	Relation job;

	if (jq_due_next(database) > horizon)
		return jq_due_next(database);

	jq_bgw_begin("making due jobs ready");
	/* The horizon before the snapshot: see due.h. */
	done = jq_due_advance(database, &horizon);
	JQ_FAULT("due-before-scan");
	job = table_open(jq_catalog_oid(JQ_JOB), AccessShareLock);
	next = push_due_between(job, done, horizon);
	table_close(job, AccessShareLock);
	jq_due_finish(database, horizon, next);
	jq_bgw_commit();

	return jq_due_next(database);
}
