/*-------------------------------------------------------------------------
 *
 * xact.h
 *		What a transaction owes to shared memory at commit and at abort.
 *
 * Row changes become visible at commit, and shared memory follows after it.
 * Each function notes one debt of the current subtransaction; those that
 * precede the change they belong to say so.
 *
 *-------------------------------------------------------------------------
 */
#ifndef JQ_XACT_H
#define JQ_XACT_H

#include "ready.h"

/* Register the callbacks.  Once per process, from _PG_init. */
extern void jq_xact_register(void);

/* Make room for n debts, so that noting them cannot fail. */
extern void jq_xact_reserve(int n);

/*
 * A waiting row was written.  Commit: push it, before the others of its
 * priority if it waits again; or, if run_at (DT_NOBEGIN: none) is to come, tell
 * the worker.
 */
extern void jq_xact_owe_push(const JqReadyRef *ref, RelFileNumber file,
							 const JqReadyEntry *entry, TimestampTz run_at,
							 bool again);

/* A job was popped; before its row is touched.  Abort: give it back. */
extern void jq_xact_owe_popped(const JqReadyRef *ref, RelFileNumber file,
							   const JqReadyEntry *entry);

/* A waiting row is about to be changed otherwise.  Abort: the same. */
extern void jq_xact_owe_changed(const JqReadyRef *ref, RelFileNumber file,
								const JqReadyEntry *entry);

/*
 * A lease was entered, maybe in another's place.  Abort: remove it.  Commit: if it has run out already,
 * recovery may have forgotten it; then the worker looks for its row.
 */
extern void jq_xact_owe_lease(int64 job_id, int64 token, TimestampTz expires_at,
							  bool replaced);

/* A running row was ended.  Commit: remove its lease. */
extern void jq_xact_owe_lease_end(int64 job_id, int64 token);

/* A running job is to be cancelled.  Commit: tell its worker. */
extern void jq_xact_owe_cancel(int64 job_id, int64 token);

/* A lease is about to be ended by recovery.  Either way: if not, spare it. */
extern void jq_xact_owe_spare(int64 job_id, int64 token);

/* A running row came whose lease has no entry.  Commit: tell the worker. */
extern void jq_xact_owe_unlisted(TimestampTz expires_at);

/* Queues' settings changed.  Commit: have all waiters look again. */
extern void jq_xact_owe_wake(void);

/*
 * A queue's slot was taken.  Abort: free it, for the queue itself may be undone;
 * if it is not, the next claim makes it again.
 */
extern void jq_xact_owe_opened(const JqReadyRef *ref);

/* A queue is dropped.  Commit: free its slot. */
extern void jq_xact_owe_forget(const JqReadyRef *ref);

/* The extension may have come or gone.  Commit: have the worker look. */
extern void jq_xact_owe_recheck(void);

/*
 * Around what a claim writes.  If a transaction has written nothing but claims
 * of queues with relaxed durability, its commit does not wait for the disk.
 */
extern void jq_xact_claim_begin(bool relaxed);
extern void jq_xact_claim_end(void);

#endif /* JQ_XACT_H */
