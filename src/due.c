/*-------------------------------------------------------------------------
 *
 * due.c
 *		When scheduled jobs are due, and leases without an entry end.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "storage/shmem.h"
#include "storage/spin.h"

#include "clock.h"
#include "database.h"
#include "due.h"
#include "guc.h"

/* One per database, at its index. */
typedef struct JqDue
{
	slock_t mutex;		  /* protects the fields below */
	TimestampTz horizon;  /* due jobs up to this are moved, or about to be */
	TimestampTz done;	  /* due jobs up to this were moved */
	TimestampTz next;	  /* first scheduled job behind the horizon */
	TimestampTz unlisted; /* first end of a lease without an entry */
} JqDue;

static JqDue *dues = NULL;

Size
jq_due_shmem_size(void)
{
	return mul_size(sizeof(JqDue), jq_max_databases);
}

/*
 * After a start every queue's index is incomplete and its first scan finds
 * what is due by then; so the horizon begins now.  What is scheduled, and
 * which leases run, the worker finds out at once: next and unlisted are past.
 */
void
jq_due_shmem_init(bool found)
{
	bool mine;

	dues = ShmemInitStruct("job_queue due jobs", jq_due_shmem_size(), &mine);
	for (int i = 0; !found && i < jq_max_databases; i++)
	{
		SpinLockInit(&dues[i].mutex);
		dues[i].horizon = jq_clock_epoch();
		dues[i].done = dues[i].horizon;
		dues[i].next = DT_NOBEGIN;
		dues[i].unlisted = DT_NOBEGIN;
	}
}

void
jq_due_reset(int i)
{
	if (i < 0)
		return;
	SpinLockAcquire(&dues[i].mutex);
	dues[i].next = DT_NOBEGIN;
	dues[i].unlisted = DT_NOBEGIN;
	SpinLockRelease(&dues[i].mutex);
}

TimestampTz
jq_due_horizon(int i)
{
	TimestampTz now = jq_now();
	TimestampTz horizon;

	if (i < 0)
		return now;
	SpinLockAcquire(&dues[i].mutex);
	horizon = dues[i].horizon;
	SpinLockRelease(&dues[i].mutex);
	return Max(horizon, now);
}

bool
jq_due_arrive(int i, TimestampTz run_at)
{
	bool due;

	if (i < 0)
		return true;
	SpinLockAcquire(&dues[i].mutex);
	due = run_at <= dues[i].horizon;
	if (!due)
		dues[i].next = Min(dues[i].next, run_at);
	SpinLockRelease(&dues[i].mutex);
	if (!due)
		jq_database_wake_at(i, run_at);
	return due;
}

TimestampTz
jq_due_advance(int i, TimestampTz *horizon)
{
	TimestampTz done;

	SpinLockAcquire(&dues[i].mutex);
	dues[i].horizon = Max(dues[i].horizon, *horizon);
	dues[i].next = DT_NOEND;
	*horizon = dues[i].horizon;
	done = dues[i].done;
	SpinLockRelease(&dues[i].mutex);
	return done;
}

void
jq_due_finish(int i, TimestampTz horizon, TimestampTz next)
{
	SpinLockAcquire(&dues[i].mutex);
	dues[i].done = horizon;
	dues[i].next = Min(dues[i].next, next);
	SpinLockRelease(&dues[i].mutex);
}

TimestampTz
jq_due_next(int i)
{
	TimestampTz next;

	SpinLockAcquire(&dues[i].mutex);
	next = dues[i].next;
	SpinLockRelease(&dues[i].mutex);
	return next;
}

void
jq_due_unlisted_lease(int i, TimestampTz expires_at)
{
	if (i < 0)
		return;
	SpinLockAcquire(&dues[i].mutex);
	dues[i].unlisted = Min(dues[i].unlisted, expires_at);
	SpinLockRelease(&dues[i].mutex);
	jq_database_wake_at(i, expires_at);
}

TimestampTz
jq_due_unlisted_next(int i)
{
	TimestampTz next;

	SpinLockAcquire(&dues[i].mutex);
	next = dues[i].unlisted;
	SpinLockRelease(&dues[i].mutex);
	return next;
}

TimestampTz
jq_due_unlisted_take(int i)
{
	TimestampTz next;

	SpinLockAcquire(&dues[i].mutex);
	next = dues[i].unlisted;
	dues[i].unlisted = DT_NOEND;
	SpinLockRelease(&dues[i].mutex);
	return next;
}
