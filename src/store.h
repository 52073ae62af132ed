/*-------------------------------------------------------------------------
 *
 * store.h
 *		Rows of job and job_history: direct table access.
 *
 * The only file that writes our tables from C.  It goes past triggers and
 * constraints: callers keep the invariants, and note in xact.h what shared
 * memory is owed.  Callers of the writing functions call
 * CommandCounterIncrement() when they are done.
 *
 *-------------------------------------------------------------------------
 */
#ifndef JQ_STORE_H
#define JQ_STORE_H

#include "access/htup.h"

#include "catalog.h"
#include "compat.h"

/* The open table job. */
typedef struct JqJobTable
{
	Relation rel;
	BlockNumber nblocks; /* it has at least so many; it does not shrink */
} JqJobTable;

/* A row of job, taken apart.  values point into tuple. */
typedef struct JqRow
{
	HeapTuple tuple;
	Datum values[Natts_job];
	bool nulls[Natts_job];
} JqRow;

#define JQ_ROW(row, column) ((row)->values[Anum_job_##column - 1])
#define JQ_ROW_IS_NULL(row, column) ((row)->nulls[Anum_job_##column - 1])
#define JQ_ROW_SET(row, column, value)               \
	((row)->values[Anum_job_##column - 1] = (value), \
	 (row)->nulls[Anum_job_##column - 1] = false)

/* Open job for writing, for this statement; the lock stays. */
extern JqJobTable jq_store_open(void);
extern void jq_store_close(JqJobTable *table);

/* Fetch the newest committed (or our own) version of a row by a hint. */
extern bool jq_store_fetch(JqJobTable *table, const ItemPointerData *hint,
						   int64 id, JqRow *row);

/* The same by the primary key. */
extern bool jq_store_fetch_by_id(JqJobTable *table, int64 id, JqRow *row);

/* Insert rows.  tids gets where they went. */
extern void jq_store_insert(JqJobTable *table, HeapTuple *tuples,
							ItemPointerData *tids, int n);

/* Write row->values as the row's new version; row->tuple becomes it. */
extern TM_Result jq_store_update(JqJobTable *table, JqRow *row, bool wait);

/* Delete a row. */
extern TM_Result jq_store_delete(JqJobTable *table, JqRow *row, bool wait);

/*
 * Copy rows to history as completed at a time, with their results (nulls may
 * be set).
 */
extern void jq_store_insert_history(JqRow *rows, const Datum *results,
									const bool *result_nulls, int n,
									TimestampTz finished_at);

#endif /* JQ_STORE_H */
