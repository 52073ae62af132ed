/*-------------------------------------------------------------------------
 *
 * ready.h
 *		The ready index: jobs that can be claimed, by queue, in shared memory.
 *
 * An entry is a hint; the claim checks the row.  The index of a queue is
 * bounded and remembers whether it is complete; if it is not, the table may
 * hold more from a position in the order of dispatch on.  The protocol is
 * test/model/ready.pml.
 *
 * What is named "at commit" may be called from a transaction callback: it
 * neither fails nor allocates.
 *
 *-------------------------------------------------------------------------
 */
#ifndef JQ_READY_H
#define JQ_READY_H

#include "storage/lwlock.h"

#include "compat.h"
#include "lanes.h"

/* A queue, in a database, of one creation of the extension. */
typedef struct JqReadyKey
{
	Oid database;
	Oid relation; /* the job table: changes with DROP and CREATE EXTENSION */
	int32 queue_id;
} JqReadyKey;

/* A key, and where its slot was last seen: checked at each use. */
typedef struct JqReadyRef
{
	JqReadyKey key;
	int slot;
} JqReadyRef;

#define JQ_NO_SLOT (-1)

typedef enum JqPopVerdict
{
	JQ_POP_EMPTY,	 /* the queue has no more ready jobs */
	JQ_POP_ENOUGH,	 /* as many as asked for, or all there are */
	JQ_POP_REFILL,	 /* the table may have more: scan for it */
	JQ_POP_SCANNING, /* the same, and another process scans already */
} JqPopVerdict;

typedef struct JqReadyInfo
{
	JqReadyKey key;
	bool complete;
	bool scanning;
	int64 entries;
	JqPosition position;
	int waiters;
} JqReadyInfo;

extern Size jq_ready_shmem_size(void);
extern int jq_ready_num_locks(void);
extern void jq_ready_shmem_init(LWLockPadded *locks, bool found);

/* Find the slot of a queue, or take one (*taken).  False if all are in use. */
extern bool jq_ready_open(JqReadyRef *ref, bool *taken);

/*
 * At commit: these jobs can be claimed, after the others of their priority, or
 * before them.  Wakes as many waiters.
 */
extern void jq_ready_push(JqReadyRef *ref, RelFileNumber file,
						  const JqReadyEntry *entries, int n, bool front);

/* At abort: this job can be claimed again, before the others. */
extern void jq_ready_give_back(JqReadyRef *ref, RelFileNumber file,
							   const JqReadyEntry *entry);

/* At commit: from this position on the table may hold more. */
extern void jq_ready_move_back(JqReadyRef *ref, JqPosition position);

/* Take at most max jobs. */
extern JqPopVerdict jq_ready_pop(JqReadyRef *ref, RelFileNumber file,
								 JqReadyEntry *entries, int max, int *n);

/*
 * Refill by a scan of the table.  begin: false if another process scans, or
 * no scan is needed any more; else the caller takes a snapshot after it,
 * scans from *from, adds what it finds until add returns false, and ends the
 * scan: end is where it stopped, JQ_POSITION_END if it saw everything.  If
 * the transaction ends before, jq_ready_scan_abort does it.
 */
extern bool jq_ready_scan_begin(JqReadyRef *ref, RelFileNumber file,
								JqPosition *from);
extern bool jq_ready_scan_add(const JqReadyEntry *entry);
extern void jq_ready_scan_end(JqPosition end);
extern void jq_ready_scan_abort(void);

/* Wait until the scan of another process has ended. */
extern void jq_ready_scan_wait(JqReadyRef *ref);

/*
 * Wait for jobs.  begin: this process is in line, and its latch is set when a
 * job comes; or there are some; or the caller should refill and ask again.
 * Of a paused queue it is in line in any case.  end: leave the line; returns
 * whether this process was called for a job.  If the transaction ends before,
 * jq_ready_wait_abort does it, and passes the call on.
 */
typedef enum JqWait
{
	JQ_WAIT_IN_LINE,
	JQ_WAIT_AVAILABLE,
	JQ_WAIT_REFILL,
} JqWait;

extern JqWait jq_ready_wait_begin(JqReadyRef *ref, RelFileNumber file,
								  bool paused);
extern bool jq_ready_wait_end(void);
extern void jq_ready_wait_abort(void);

/* At commit: have all waiters of a database look at their queues again. */
extern void jq_ready_wake_database(Oid database);

/* Pass a call on: wake one waiter, if there may be a job for it. */
extern void jq_ready_wake_one(JqReadyRef *ref);

/* At commit: forget a queue, or look at all queues of a database anew. */
extern void jq_ready_forget(const JqReadyKey *key);
extern void jq_ready_reset_database(Oid database);
extern void jq_ready_forget_database(Oid database);

/* What a slot holds.  False if it is free.  Slots count to max_queues. */
extern bool jq_ready_inspect(int slot_number, JqReadyInfo *info);

#endif /* JQ_READY_H */
