/*-------------------------------------------------------------------------
 *
 * trigger.c
 *		What SQL owes to shared memory: row triggers, and dropped queues.
 *
 * SQL means our own functions for the rarer moves, and COPY, restore, logical
 * replication, an administrator.  store.c goes past triggers.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "commands/trigger.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/inval.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

#include "args.h"
#include "catalog.h"
#include "clock.h"
#include "compat.h"
#include "database.h"
#include "queue.h"
#include "shmem.h"
#include "token.h"
#include "xact.h"

static void
require_trigger(FunctionCallInfo fcinfo, const char *name)
{
	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(
			ERROR,
			errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
			errmsg("function \"%s\" was not called by trigger manager", name));
}

/* A column that is not null. */
static Datum
get(Relation rel, HeapTuple tuple, AttrNumber column)
{
	bool isnull;

	return heap_getattr(tuple, column, RelationGetDescr(rel), &isnull);
}

static bool
is_running(Relation rel, HeapTuple tuple)
{
	return DatumGetChar(get(rel, tuple, Anum_job_state)) == JQ_STATE_RUNNING;
}

static int64
token_of(Relation rel, HeapTuple tuple)
{
	return DatumGetInt64(get(rel, tuple, Anum_job_lease_token));
}

static JqReadyEntry
entry_of(Relation rel, HeapTuple tuple)
{
	return (JqReadyEntry){
		.job_id = DatumGetInt64(get(rel, tuple, Anum_job_id)),
		.tid = tuple->t_self,
		.priority = DatumGetInt16(get(rel, tuple, Anum_job_priority)),
	};
}

/* Where the ready index of a row's queue is. */
static JqReadyRef
ready_of(Relation rel, HeapTuple tuple)
{
	int32 queue_id = DatumGetInt32(get(rel, tuple, Anum_job_queue_id));
	JqQueue queue;

	if (jq_queue_find_by_id(queue_id, &queue))
		return queue.ready;
	return (JqReadyRef){.key = {.database = MyDatabaseId,
								.relation = RelationGetRelid(rel),
								.queue_id = queue_id},
						.slot = JQ_NO_SLOT};
}

static void
waiting_row_changes(Relation rel, HeapTuple old)
{
	JqReadyRef ready = ready_of(rel, old);
	JqReadyEntry entry = entry_of(rel, old);

	jq_xact_owe_changed(&ready, jq_relation_file(rel), &entry);
}

/* again: it was running before, so it has waited its turn already. */
static void
waiting_row_came(Relation rel, HeapTuple tuple, bool again)
{
	JqReadyRef ready = ready_of(rel, tuple);
	JqReadyEntry entry = entry_of(rel, tuple);
	bool isnull;
	Datum run_at =
		heap_getattr(tuple, Anum_job_run_at, RelationGetDescr(rel), &isnull);

	jq_xact_owe_push(&ready,
					 jq_relation_file(rel),
					 &entry,
					 isnull ? DT_NOBEGIN : DatumGetTimestampTz(run_at),
					 again);
}

/*
 * A running row comes from elsewhere: a dump, another server.  Nobody here
 * holds its lease; so its token is replaced, and its lease has ended.
 */
static HeapTuple
void_lease(Relation rel, HeapTuple tuple)
{
	TimestampTz now = jq_now();
	int columns[3] = {
		Anum_job_lease_token, Anum_job_started_at, Anum_job_lease_expires_at};
	Datum values[3] = {Int64GetDatum(jq_token_new()),
					   TimestampTzGetDatum(now),
					   TimestampTzGetDatum(now)};
	bool nulls[3] = {false};

	return heap_modify_tuple_by_cols(
		tuple, RelationGetDescr(rel), 3, columns, values, nulls);
}

/* What a row's change means, before it is made. */
static HeapTuple
before_change(TriggerData *data)
{
	Relation rel = data->tg_relation;
	HeapTuple old = data->tg_trigtuple;

	if (TRIGGER_FIRED_BY_INSERT(data->tg_event))
		return is_running(rel, old) ? void_lease(rel, old) : old;

	/* A claimer may drop its hint while we change the row: we owe it. */
	if (!is_running(rel, old))
		waiting_row_changes(rel, old);
	return TRIGGER_FIRED_BY_UPDATE(data->tg_event) ? data->tg_newtuple : old;
}

static void
running_row_changed(Relation rel, HeapTuple old, HeapTuple new)
{
	int64 job_id = DatumGetInt64(get(rel, old, Anum_job_id));
	int64 token = token_of(rel, old);

	if (new == NULL || !is_running(rel, new) || token_of(rel, new) != token)
		jq_xact_owe_lease_end(job_id, token);
	else if (DatumGetBool(get(rel, new, Anum_job_cancel_requested)))
		jq_xact_owe_cancel(job_id, token);
}

static void
after_change(TriggerData *data)
{
	Relation rel = data->tg_relation;
	bool inserted = TRIGGER_FIRED_BY_INSERT(data->tg_event);
	bool deleted = TRIGGER_FIRED_BY_DELETE(data->tg_event);
	HeapTuple old = inserted ? NULL : data->tg_trigtuple;
	HeapTuple new = inserted  ? data->tg_trigtuple
					: deleted ? NULL
							  : data->tg_newtuple;

	if (old != NULL && is_running(rel, old))
		running_row_changed(rel, old, new);
	if (new == NULL)
		return;
	if (!is_running(rel, new))
		waiting_row_came(rel, new, old != NULL && is_running(rel, old));
	else if (old == NULL || !is_running(rel, old))
		jq_xact_owe_unlisted(
			DatumGetTimestampTz(get(rel, new, Anum_job_lease_expires_at)));
}

PG_FUNCTION_INFO_V1(job_queue_job_changed);

/* BEFORE and AFTER INSERT OR UPDATE OR DELETE ... FOR EACH ROW on job */
Datum
job_queue_job_changed(PG_FUNCTION_ARGS)
{
	TriggerData *data = (TriggerData *) fcinfo->context;

	require_trigger(fcinfo, "job_queue._job_changed");
	if (TRIGGER_FIRED_BEFORE(data->tg_event))
		return PointerGetDatum(before_change(data));
	after_change(data);
	return PointerGetDatum(NULL);
}

PG_FUNCTION_INFO_V1(job_queue_queue_changed);

/* AFTER INSERT OR UPDATE OR DELETE ... FOR EACH STATEMENT on queue, pipeline */
Datum
job_queue_queue_changed(PG_FUNCTION_ARGS)
{
	TriggerData *data = (TriggerData *) fcinfo->context;

	require_trigger(fcinfo, "job_queue._queue_changed");
	CacheInvalidateRelcache(data->tg_relation);
	jq_xact_owe_wake();
	return PointerGetDatum(NULL);
}

PG_FUNCTION_INFO_V1(job_queue_lock_queue);

/*
 * job_queue._lock_queue(queue_id int) returns void
 *
 * Waits for those who enqueue to the queue, and keeps others out until the
 * end of the transaction; then its ready index is forgotten.
 */
Datum
job_queue_lock_queue(PG_FUNCTION_ARGS)
{
	JqReadyRef ready = {
		.key = {.database = MyDatabaseId, .relation = jq_catalog_oid(JQ_JOB)},
		.slot = JQ_NO_SLOT};

	PreventCommandIfReadOnly("job_queue.drop_queue()");
	jq_arg_require(fcinfo, 0, "queue_id");
	ready.key.queue_id = PG_GETARG_INT32(0);
	jq_queue_lock_exclusive(ready.key.queue_id);
	jq_xact_owe_forget(&ready);
	PG_RETURN_VOID();
}
