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
#include "utils/timestamp.h"

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
	TimestampTz next;	  /* first scheduled job not moved yet */
	TimestampTz arrived;  /* first that came since the last advance */
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
		dues[i].horizon = GetCurrentTimestamp();
		dues[i].done = dues[i].horizon;
		dues[i].next = DT_NOBEGIN;
		dues[i].arrived = DT_NOEND;
		dues[i].unlisted = DT_NOBEGIN;
	}
}

void
jq_due_reset(int database_index)
{
	if (database_index < 0)
		return;
	SpinLockAcquire(&dues[database_index].mutex);
	dues[database_index].next = DT_NOBEGIN;
	dues[database_index].unlisted = DT_NOBEGIN;
	SpinLockRelease(&dues[database_index].mutex);
}

TimestampTz
jq_due_horizon(int database_index)
{
	TimestampTz now = jq_now();
	TimestampTz horizon;

	if (database_index < 0)
		return now;
	SpinLockAcquire(&dues[database_index].mutex);
	horizon = dues[database_index].horizon;
	SpinLockRelease(&dues[database_index].mutex);
	return Max(horizon, now);
}

bool
jq_due_arrive(int database_index, TimestampTz run_at)
{
	TimestampTz now = jq_now();
	bool due;

	if (database_index < 0)
		return true;
	SpinLockAcquire(&dues[database_index].mutex);
	due = run_at <= Max(dues[database_index].horizon, now);
	if (due) /* for claims too, even if the clock is set back */
		dues[database_index].horizon =
			Max(dues[database_index].horizon, run_at);
	else
		dues[database_index].arrived =
			Min(dues[database_index].arrived, run_at);
	dues[database_index].next =
		Min(dues[database_index].next, dues[database_index].arrived);
	SpinLockRelease(&dues[database_index].mutex);
	if (!due)
		jq_database_wake_at(database_index, run_at);
	return due;
}

TimestampTz
jq_due_advance(int database_index, TimestampTz *horizon)
{
	TimestampTz done;

	SpinLockAcquire(&dues[database_index].mutex);
	dues[database_index].horizon = Max(dues[database_index].horizon, *horizon);
	dues[database_index].arrived = DT_NOEND;
	*horizon = dues[database_index].horizon;
	done = dues[database_index].done;
	SpinLockRelease(&dues[database_index].mutex);
	return done;
}

void
jq_due_finish(int database_index, TimestampTz horizon, TimestampTz next)
{
	SpinLockAcquire(&dues[database_index].mutex);
	dues[database_index].done = horizon;
	dues[database_index].next = Min(dues[database_index].arrived, next);
	SpinLockRelease(&dues[database_index].mutex);
}

TimestampTz
jq_due_next(int database_index)
{
	TimestampTz next;

	SpinLockAcquire(&dues[database_index].mutex);
	next = dues[database_index].next;
	SpinLockRelease(&dues[database_index].mutex);
	return next;
}

void
jq_due_unlisted_lease(int database_index, TimestampTz expires_at)
{
	if (database_index < 0)
		return;
	SpinLockAcquire(&dues[database_index].mutex);
	dues[database_index].unlisted =
		Min(dues[database_index].unlisted, expires_at);
	SpinLockRelease(&dues[database_index].mutex);
	jq_database_wake_at(database_index, expires_at);
}

TimestampTz
jq_due_unlisted_next(int database_index)
{
	TimestampTz next;

	SpinLockAcquire(&dues[database_index].mutex);
	next = dues[database_index].unlisted;
	SpinLockRelease(&dues[database_index].mutex);
	return next;
}

TimestampTz
jq_due_unlisted_take(int database_index)
{
	TimestampTz next;

	SpinLockAcquire(&dues[database_index].mutex);
	next = dues[database_index].unlisted;
	dues[database_index].unlisted = DT_NOEND;
	SpinLockRelease(&dues[database_index].mutex);
	return next;
}
