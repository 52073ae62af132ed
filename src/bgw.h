/*-------------------------------------------------------------------------
 *
 * bgw.h
 *		What our background workers have in common.
 *
 *-------------------------------------------------------------------------
 */
#ifndef JQ_BGW_H
#define JQ_BGW_H

#include "postmaster/bgworker.h"

/*
 * Describe a worker: type is what pg_stat_activity calls it, function the
 * symbol of its main function.  It is never restarted, which the caller may
 * change.
 */
extern BackgroundWorker jq_bgw_describe(const char *type, const char *function);

/* Decide what signals mean, then let them in. */
extern void jq_bgw_signals(void);

/*
 * Connect to a database, or to none with InvalidOid, and pin the settings
 * that our SQL depends on, whatever the database or the server says.
 */
extern void jq_bgw_connect(Oid database);

/*
 * A transaction with a snapshot, shown in pg_stat_activity.  Afterwards the
 * memory context is what it was before.
 */
extern void jq_bgw_begin(const char *activity);
extern void jq_bgw_commit(void);

/*
 * In PG_CATCH: report the error if asked to, undo whatever was going on, and
 * forget the error.  Leaves no transaction, lock or snapshot behind.
 */
extern void jq_bgw_recover(MemoryContext context, bool report);

/* Forget a cancel that came while there was nothing to cancel. */
extern void jq_bgw_forget_cancel(void);

/*
 * Sleep on the latch; while there exit if told to, and reload the settings.
 * No transaction may be open.  Returns whether the latch was set.
 */
extern bool jq_bgw_sleep(long timeout_ms, uint32 wait_event);

#endif /* JQ_BGW_H */
