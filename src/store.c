/*-------------------------------------------------------------------------
 *
 * store.c
 *		Rows of job and job_history: direct table access.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "executor/executor.h"
#include "executor/tuptable.h"
#include "storage/bufmgr.h"
#include "storage/lmgr.h"
#include "utils/datetime.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "store.h"

JqJobTable
jq_store_open(void)
{
	JqJobTable table = {
		.rel = table_open(jq_catalog_oid(JQ_JOB), RowExclusiveLock)};

	if (RelationGetDescr(table.rel)->natts != Natts_job)
		elog(ERROR, "table job_queue.job does not have %d columns", Natts_job);
	return table;
}

void
jq_store_close(JqJobTable *table)
{
	table_close(table->rel, NoLock);
}

/*
 * Fetching.
 */

static void
take_apart(JqJobTable *table, HeapTuple tuple, JqRow *row)
{
	row->tuple = tuple;
	heap_deform_tuple(
		tuple, RelationGetDescr(table->rel), row->values, row->nulls);
}

/* Vacuum may have cut off the block; it cannot while we hold our lock. */
static bool
block_exists(JqJobTable *table, BlockNumber block)
{
	if (block >= table->nblocks)
		table->nblocks = RelationGetNumberOfBlocks(table->rel);
	return block < table->nblocks;
}

/*
 * The tuple at a place, if it counts now and is in the middle of a HOT chain,
 * where heap_hot_search_buffer() does not begin.  Under the buffer's lock.
 */
static bool
fetch_heap_only(Relation rel, Buffer buffer, ItemPointer tid, HeapTuple tuple)
{
	Page page = BufferGetPage(buffer);
	OffsetNumber offset = ItemPointerGetOffsetNumber(tid);
	ItemId item;

	if (offset > PageGetMaxOffsetNumber(page))
		return false;
	item = PageGetItemId(page, offset);
	if (!ItemIdIsNormal(item))
		return false;

	tuple->t_data = (HeapTupleHeader) PageGetItem(page, item);
	tuple->t_len = ItemIdGetLength(item);
	tuple->t_tableOid = RelationGetRelid(rel);
	tuple->t_self = *tid;
	return HeapTupleIsHeapOnly(tuple) &&
		   HeapTupleSatisfiesVisibility(tuple, SnapshotSelf, buffer);
}

/* The version that counts now at a hint, or in the HOT chain that begins there. */
static HeapTuple
fetch_tuple(JqJobTable *table, ItemPointer hint)
{
	Buffer buffer;
	HeapTupleData tuple;
	HeapTuple copy = NULL;

	if (!ItemPointerIsValid(hint) ||
		!block_exists(table, ItemPointerGetBlockNumber(hint)))
		return NULL;

	buffer = ReadBuffer(table->rel, ItemPointerGetBlockNumber(hint));
	LockBuffer(buffer, BUFFER_LOCK_SHARE);
	if (heap_hot_search_buffer(
			hint, table->rel, buffer, SnapshotSelf, &tuple, NULL, true) ||
		fetch_heap_only(table->rel, buffer, hint, &tuple))
		copy = heap_copytuple(&tuple);
	UnlockReleaseBuffer(buffer);
	return copy;
}

bool
jq_store_fetch(JqJobTable *table, const ItemPointerData *hint, int64 id,
			   JqRow *row)
{
	ItemPointerData tid = *hint;
	HeapTuple tuple = fetch_tuple(table, &tid);

	/* The place may be another row's by now, or the row elsewhere. */
	if (tuple != NULL)
	{
		take_apart(table, tuple, row);
		if (DatumGetInt64(JQ_ROW(row, id)) == id)
			return true;
	}
	return jq_store_fetch_by_id(table, id, row);
}

/*
 * What is committed now, and all that we have done ourselves, the current
 * command included.
 */
static Snapshot
register_snapshot_of_now(void)
{
	Snapshot snapshot = RegisterSnapshot(GetLatestSnapshot());

	snapshot->curcid = InvalidCommandId;
	return snapshot;
}

bool
jq_store_fetch_by_id(JqJobTable *table, int64 id, JqRow *row)
{
	Snapshot snapshot = register_snapshot_of_now();
	SysScanDesc scan;
	ScanKeyData key;
	HeapTuple tuple;

	ScanKeyInit(
		&key, Anum_job_id, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum(id));
	scan = systable_beginscan(
		table->rel, jq_catalog_oid(JQ_JOB_PKEY), true, snapshot, 1, &key);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
		take_apart(table, heap_copytuple(tuple), row);
	systable_endscan(scan);
	UnregisterSnapshot(snapshot);
	return HeapTupleIsValid(tuple);
}

/*
 * Indexes.
 */

/* Let the executor do it, for indexes that an administrator added. */
static void
index_by_executor(Relation rel, HeapTuple *tuples, int n, bool only_summarizing)
{
	EState *estate = CreateExecutorState();
	ResultRelInfo *info = makeNode(ResultRelInfo);
	TupleTableSlot *slot =
		MakeSingleTupleTableSlot(RelationGetDescr(rel), &TTSOpsHeapTuple);

	InitResultRelInfo(info, rel, 1, NULL, 0);
	ExecOpenIndices(info, false);
	for (int i = 0; i < n; i++)
	{
		ExecStoreHeapTuple(tuples[i], slot, false);
		jq_insert_index_tuples(info, slot, estate, only_summarizing);
		ResetPerTupleExprContext(estate);
	}
	ExecCloseIndices(info);
	ExecDropSingleTupleTableSlot(slot);
	FreeExecutorState(estate);
}

/* Enter one tuple into one open index. */
static void
index_tuple(Relation rel, Relation index, const JqIndex *entry, HeapTuple tuple)
{
	TupleDesc desc = RelationGetDescr(rel);
	Datum values[INDEX_MAX_KEYS];
	bool nulls[INDEX_MAX_KEYS];

	if (entry->only_if_not_null > 0 &&
		heap_attisnull(tuple, entry->only_if_not_null, desc))
		return;
	for (int i = 0; i < entry->info->ii_NumIndexAttrs; i++)
		values[i] = heap_getattr(
			tuple, entry->info->ii_IndexAttrNumbers[i], desc, &nulls[i]);
	index_insert(index,
				 values,
				 nulls,
				 &tuple->t_self,
				 rel,
				 entry->info->ii_Unique ? UNIQUE_CHECK_YES : UNIQUE_CHECK_NO,
				 false,
				 entry->info);
}

/* Is any of the tuples in a partial index? */
static bool
any_qualifies(Relation rel, const JqIndex *entry, HeapTuple *tuples, int n)
{
	if (entry->only_if_not_null == 0)
		return true;
	for (int i = 0; i < n; i++)
		if (!heap_attisnull(
				tuples[i], entry->only_if_not_null, RelationGetDescr(rel)))
			return true;
	return false;
}

/* Enter new tuples into all indexes of their table. */
static void
index_tuples(Relation rel, HeapTuple *tuples, int n)
{
	const JqIndexList *list = jq_catalog_indexes(rel);

	if (list->other)
	{
		index_by_executor(rel, tuples, n, false);
		return;
	}
	for (int i = 0; i < list->n; i++)
	{
		Relation index;

		if (!any_qualifies(rel, &list->index[i], tuples, n))
			continue;
		index = index_open(list->index[i].oid, RowExclusiveLock);
		for (int t = 0; t < n; t++)
			index_tuple(rel, index, &list->index[i], tuples[t]);
		index_close(index, RowExclusiveLock);
	}
}

/*
 * Writing.
 */

/* Insert tuples by pages, with one WAL record for each. */
static void
multi_insert(Relation rel, HeapTuple *tuples, int n)
{
	TupleTableSlot **slots = palloc(sizeof(TupleTableSlot *) * n);

	for (int i = 0; i < n; i++)
	{
		slots[i] =
			MakeSingleTupleTableSlot(RelationGetDescr(rel), &TTSOpsHeapTuple);
		ExecStoreHeapTuple(tuples[i], slots[i], false);
	}
	heap_multi_insert(rel, slots, n, GetCurrentCommandId(true), 0, NULL);
	for (int i = 0; i < n; i++)
	{
		tuples[i]->t_self = slots[i]->tts_tid;
		ExecDropSingleTupleTableSlot(slots[i]);
	}
	pfree(slots);
}

static void
insert_tuples(Relation rel, HeapTuple *tuples, int n)
{
	if (n == 1)
		heap_insert(rel, tuples[0], GetCurrentCommandId(true), 0, NULL);
	else if (n > 1)
		multi_insert(rel, tuples, n);
	index_tuples(rel, tuples, n);
}

void
jq_store_insert(JqJobTable *table, HeapTuple *tuples, ItemPointerData *tids,
				int n)
{
	insert_tuples(table->rel, tuples, n);
	for (int i = 0; i < n; i++)
		tids[i] = tuples[i]->t_self;
}

TM_Result
jq_store_update(JqJobTable *table, JqRow *row, bool wait)
{
	HeapTuple fresh =
		heap_form_tuple(RelationGetDescr(table->rel), row->values, row->nulls);
	TM_FailureData failure;
	bool summarize;
	TM_Result result = jq_heap_update(table->rel,
									  &row->tuple->t_self,
									  fresh,
									  GetCurrentCommandId(true),
									  wait,
									  &failure,
									  &summarize);

	if (result != TM_Ok)
		return result;
	if (!HeapTupleIsHeapOnly(fresh))
		index_tuples(table->rel, &fresh, 1);
	else if (summarize)
		index_by_executor(table->rel, &fresh, 1, true);
	row->tuple = fresh;
	return TM_Ok;
}

TM_Result
jq_store_delete(JqJobTable *table, JqRow *row, bool wait)
{
	TM_FailureData failure;

	return heap_delete(table->rel,
					   &row->tuple->t_self,
					   GetCurrentCommandId(true),
					   InvalidSnapshot,
					   wait,
					   &failure,
					   false);
}

/*
 * History.
 */

/* The name of the partition of a day (UTC). */
static void
partition_name(TimestampTz finished_at, char *name, Size size)
{
	int day = (int) (finished_at / USECS_PER_DAY);
	int y, m, d;

	if (finished_at < 0 && finished_at % USECS_PER_DAY != 0)
		day--;
	j2date(day + POSTGRES_EPOCH_JDATE, &y, &m, &d);
	snprintf(name, size, "job_history_p%04d%02d%02d", y, m, d);
}

/*
 * Open the partition of a day, or the default one.  Whoever adds the day's
 * partition locks the default one: so look again once we have our lock on it.
 */
static Relation
open_partition(TimestampTz finished_at)
{
	char name[NAMEDATALEN];
	Relation rel;

	partition_name(finished_at, name, sizeof(name));
	for (int tries = 0; tries < 2; tries++)
	{
		Oid oid = jq_catalog_lookup(name);

		if (OidIsValid(oid))
		{
			rel = try_relation_open(oid, RowExclusiveLock);
			if (rel != NULL && rel->rd_rel->relispartition)
				return rel;
			if (rel != NULL)
				relation_close(rel, NoLock);
		}
		LockRelationOid(jq_catalog_oid(JQ_JOB_HISTORY_DEFAULT),
						RowExclusiveLock);
	}
	return table_open(jq_catalog_oid(JQ_JOB_HISTORY_DEFAULT), NoLock);
}

/* Column of job for each column of history; 0 if it has none. */
static const AttrNumber job_column_of[Natts_history] = {
	[Anum_history_id - 1] = Anum_job_id,
	[Anum_history_enqueued_at - 1] = Anum_job_enqueued_at,
	[Anum_history_queue_id - 1] = Anum_job_queue_id,
	[Anum_history_enqueued_by - 1] = Anum_job_enqueued_by,
	[Anum_history_max_attempts - 1] = Anum_job_max_attempts,
	[Anum_history_attempt - 1] = Anum_job_attempt,
	[Anum_history_priority - 1] = Anum_job_priority,
	[Anum_history_cancel_requested - 1] = Anum_job_cancel_requested,
	[Anum_history_lease_token - 1] = Anum_job_lease_token,
	[Anum_history_started_at - 1] = Anum_job_started_at,
	[Anum_history_worker - 1] = Anum_job_worker,
	[Anum_history_bytes_done - 1] = Anum_job_bytes_done,
	[Anum_history_bytes_total - 1] = Anum_job_bytes_total,
	[Anum_history_stage - 1] = Anum_job_stage,
	[Anum_history_message - 1] = Anum_job_message,
	[Anum_history_run_at - 1] = Anum_job_run_at,
	[Anum_history_job_timeout - 1] = Anum_job_job_timeout,
	[Anum_history_session_id - 1] = Anum_job_session_id,
	[Anum_history_job_type - 1] = Anum_job_job_type,
	[Anum_history_unique_key - 1] = Anum_job_unique_key,
	[Anum_history_user_id - 1] = Anum_job_user_id,
	[Anum_history_pipeline - 1] = Anum_job_pipeline,
	[Anum_history_cancel_reason - 1] = Anum_job_cancel_reason,
	[Anum_history_metadata - 1] = Anum_job_metadata,
	[Anum_history_payload - 1] = Anum_job_payload,
};

static HeapTuple
form_history(Relation partition, const JqRow *row, Datum result,
			 bool result_is_null, TimestampTz finished_at)
{
	TupleDesc desc = RelationGetDescr(partition);
	Datum values[Natts_history] = {0};
	bool nulls[Natts_history];

	for (int i = 0; i < Natts_history; i++)
	{
		AttrNumber column = job_column_of[i];

		nulls[i] = column == 0 || row->nulls[column - 1];
		if (!nulls[i])
			values[i] = row->values[column - 1];
	}

#define SET(column, value)                        \
	(values[Anum_history_##column - 1] = (value), \
	 nulls[Anum_history_##column - 1] = false)
	SET(finished_at, TimestampTzGetDatum(finished_at));
	SET(status, CharGetDatum(JQ_STATUS_COMPLETED));
	if (!result_is_null)
		SET(result, result);
#undef SET

	return heap_form_tuple(desc, values, nulls);
}

void
jq_store_insert_history(JqRow *rows, const Datum *results,
						const bool *result_nulls, int n,
						TimestampTz finished_at)
{
	Relation partition;
	HeapTuple *tuples;

	if (n == 0)
		return;
	partition = open_partition(finished_at);
	if (RelationGetDescr(partition)->natts != Natts_history)
		elog(ERROR,
			 "table job_queue.job_history does not have %d columns",
			 Natts_history);

	tuples = palloc(sizeof(HeapTuple) * n);
	for (int i = 0; i < n; i++)
		tuples[i] = form_history(
			partition, &rows[i], results[i], result_nulls[i], finished_at);
	insert_tuples(partition, tuples, n);
	table_close(partition, NoLock);
}
