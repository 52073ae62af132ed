/*-------------------------------------------------------------------------
 *
 * refill.c
 *		Filling a queue's ready index from the table.
 *
 * A scan goes forward in job_dispatch_idx from the position at which the index
 * stops, so no scan re-reads the dead prefix that finished jobs leave.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "miscadmin.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "database.h"
#include "due.h"
#include "fault.h"
#include "refill.h"

/* Jobs added by one scan: bounds how long a claim waits for it. */
#define REFILL_BATCH 4096

typedef struct Refill
{
	Relation index;
	TimestampTz horizon;
	int added;
} Refill;

/* The job under the scan, if it can be claimed. */
static bool
is_ready(const Refill *refill, TupleTableSlot *slot, JqReadyEntry *entry)
{
	bool isnull;
	Datum run_at;

	entry->job_id = DatumGetInt64(slot_getattr(slot, Anum_job_id, &isnull));
	entry->priority =
		DatumGetInt16(slot_getattr(slot, Anum_job_priority, &isnull));
	entry->tid = slot->tts_tid;

	if (DatumGetChar(slot_getattr(slot, Anum_job_state, &isnull)) !=
		JQ_STATE_WAITING)
		return false;
	run_at = slot_getattr(slot, Anum_job_run_at, &isnull);
	return isnull || DatumGetTimestampTz(run_at) <= refill->horizon;
}

/* Add jobs until the scan ends or the index is full.  Returns where. */
static JqPosition
add_from_scan(Refill *refill, IndexScanDesc scan, TupleTableSlot *slot)
{
	while (index_getnext_slot(scan, ForwardScanDirection, slot))
	{
		JqReadyEntry entry;

		CHECK_FOR_INTERRUPTS();
		JQ_FAULT("refill-during-scan");
		if (!is_ready(refill, slot, &entry))
			continue;
		if (refill->added == REFILL_BATCH || !jq_ready_scan_add(&entry))
			return jq_position_of(&entry);
		refill->added++;
	}
	return JQ_POSITION_END;
}

static void
set_key(ScanKey key, AttrNumber column, StrategyNumber strategy,
		RegProcedure procedure, Datum value)
{
	ScanKeyEntryInitialize(
		key, 0, column, strategy, InvalidOid, InvalidOid, procedure, value);
}

/* Columns of job_dispatch_idx. */
#define DISPATCH_QUEUE_ID 1
#define DISPATCH_PRIORITY 2
#define DISPATCH_ID 3

/* The rest of the position's own priority. */
static int
keys_of_same_priority(ScanKey keys, JqPosition from)
{
	set_key(&keys[1],
			DISPATCH_PRIORITY,
			BTEqualStrategyNumber,
			F_INT2EQ,
			Int16GetDatum((int16) from.priority));
	set_key(&keys[2],
			DISPATCH_ID,
			BTGreaterEqualStrategyNumber,
			F_INT8GE,
			Int64GetDatum(from.job_id));
	return 3;
}

/* The priorities after the position's. */
static int
keys_of_later_priorities(ScanKey keys, JqPosition from)
{
	if (from.priority < PG_INT16_MIN)
		return 1;
	set_key(&keys[1],
			DISPATCH_PRIORITY,
			BTGreaterStrategyNumber,
			F_INT2GT,
			Int16GetDatum((int16) from.priority));
	return 2;
}

static JqPosition
run_scan(JqJobTable *table, Refill *refill, Snapshot snapshot, ScanKey keys,
		 int nkeys)
{
	TupleTableSlot *slot = table_slot_create(table->rel, NULL);
	IndexScanDesc scan =
		jq_index_beginscan(table->rel, refill->index, snapshot, nkeys);
	JqPosition end;

	index_rescan(scan, keys, nkeys, NULL, 0);
	end = add_from_scan(refill, scan, slot);
	index_endscan(scan);
	ExecDropSingleTupleTableSlot(slot);
	return end;
}

/* Scan from a position on: its priority first, then those after it. */
static JqPosition
scan_from(JqJobTable *table, Refill *refill, int32 queue_id, JqPosition from)
{
	Snapshot snapshot = RegisterSnapshot(GetLatestSnapshot());
	JqPosition end = JQ_POSITION_END;
	ScanKeyData keys[3];

	set_key(&keys[0],
			DISPATCH_QUEUE_ID,
			BTEqualStrategyNumber,
			F_INT4EQ,
			Int32GetDatum(queue_id));
	if (from.priority >= PG_INT16_MIN)
		end = run_scan(
			table, refill, snapshot, keys, keys_of_same_priority(keys, from));
	if (end.priority == PG_INT32_MAX)
		end = run_scan(table,
					   refill,
					   snapshot,
					   keys,
					   keys_of_later_priorities(keys, from));
	UnregisterSnapshot(snapshot);
	return end;
}

void
jq_refill(JqReadyRef *ready, JqJobTable *table, RelFileNumber file)
{
	Refill refill = {0};
	JqPosition from;
	JqPosition end;

	refill.index =
		index_open(jq_catalog_oid(JQ_JOB_DISPATCH_IDX), AccessShareLock);
	if (jq_ready_scan_begin(ready, file, &from))
	{
		JQ_FAULT("refill-before-scan");
		/* Before the snapshot: what is due later, the worker pushes. */
		refill.horizon = jq_due_horizon(jq_database_index());
		end = scan_from(table, &refill, ready->key.queue_id, from);
		jq_ready_scan_end(end);
	}
	index_close(refill.index, AccessShareLock);
}
