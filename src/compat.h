/*-------------------------------------------------------------------------
 *
 * compat.h
 *		The only file that knows about server versions.
 *
 * Everywhere else stands the newest spelling, or a name defined here.
 *
 *-------------------------------------------------------------------------
 */
#ifndef JQ_COMPAT_H
#define JQ_COMPAT_H

#include "access/genam.h"
#include "access/heapam.h"
#include "executor/executor.h"
#include "storage/proc.h"
#include "utils/rel.h"
#include "utils/wait_event.h"

#if PG_VERSION_NUM < 150000 || PG_VERSION_NUM >= 190000
#error "job_queue supports PostgreSQL 15 to 18"
#endif

/* 16: a relation's file is named by a locator */
#if PG_VERSION_NUM >= 160000
#define jq_relation_file(rel) ((rel)->rd_locator.relNumber)
#else
typedef Oid RelFileNumber;
#define InvalidRelFileNumber InvalidOid
#define jq_relation_file(rel) ((rel)->rd_node.relNode)
#endif

/* 17: processes are numbered by ProcNumber, and wait events have names */
#if PG_VERSION_NUM >= 170000
#define jq_my_proc_number() ((int) MyProcNumber)
#else
#define jq_my_proc_number() ((int) MyProc->pgprocno)
#define WaitEventExtensionNew(name) PG_WAIT_EXTENSION
#endif
#ifndef GetPGProcByNumber
#define GetPGProcByNumber(n) (&ProcGlobal->allProcs[(n)])
#endif

/* 18: noreturn is a prefix, and a module announces its name and version */
#ifndef pg_noreturn
#define pg_noreturn pg_attribute_noreturn()
#endif
#ifdef PG_MODULE_MAGIC_EXT
#define JQ_MODULE_MAGIC \
	PG_MODULE_MAGIC_EXT(.name = "job_queue", .version = JOB_QUEUE_VERSION)
#else
#define JQ_MODULE_MAGIC PG_MODULE_MAGIC
#endif

/*
 * 16: a HOT update may still have to go into indexes that only summarize
 * (BRIN): then *summarize is set.
 */
static inline TM_Result
jq_heap_update(Relation rel, ItemPointer tid, HeapTuple newtup, CommandId cid,
			   bool wait, TM_FailureData *failure, bool *summarize)
{
	LockTupleMode lockmode;
#if PG_VERSION_NUM >= 160000
	TU_UpdateIndexes update_indexes;
	TM_Result result = heap_update(rel,
								   tid,
								   newtup,
								   cid,
								   InvalidSnapshot,
								   wait,
								   failure,
								   &lockmode,
								   &update_indexes);

	*summarize = result == TM_Ok && update_indexes == TU_Summarizing;
	return result;
#else
	*summarize = false;
	return heap_update(
		rel, tid, newtup, cid, InvalidSnapshot, wait, failure, &lockmode);
#endif
}

/* 16: indexes that only summarize can be entered alone */
static inline void
jq_insert_index_tuples(ResultRelInfo *info, TupleTableSlot *slot,
					   EState *estate, bool only_summarizing)
{
#if PG_VERSION_NUM >= 160000
	list_free(ExecInsertIndexTuples(info,
									slot,
									estate,
									only_summarizing,
									false,
									NULL,
									NIL,
									only_summarizing));
#else
	list_free(
		ExecInsertIndexTuples(info, slot, estate, false, false, NULL, NIL));
#endif
}

/* 18: index scans count what they do */
static inline IndexScanDesc
jq_index_beginscan(Relation table, Relation index, Snapshot snapshot, int nkeys)
{
#if PG_VERSION_NUM >= 180000
	return index_beginscan(table, index, snapshot, NULL, nkeys, 0);
#else
	return index_beginscan(table, index, snapshot, nkeys, 0);
#endif
}

#endif /* JQ_COMPAT_H */
