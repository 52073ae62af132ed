/*-------------------------------------------------------------------------
 *
 * database.c
 *		The databases that have the extension, or may, and their workers.
 *
 * An entry is allocated by whoever needs it first: a backend that uses the
 * extension, the launcher, or a command that wants the worker out.  An entry
 * whose database turned out not to have the extension can be reused, so a
 * server may have more databases than there are entries.
 *
 * Times here are of the wall clock, since processes live by it, except for
 * wake_at, which is compared with the times of jobs.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <signal.h>

#include "miscadmin.h"
#include "port/atomics.h"
#include "storage/condition_variable.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/shmem.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "database.h"
#include "guc.h"
#include "retry.h"

#define NO_INDEX (-1)

/* A worker that was asked to leave stays out so long, if not called back. */
#define LEAVE_US (30 * USECS_PER_SEC)

/* A command waits so long for it, and hurries it after each period. */
#define LEAVE_WAIT_MS 5000
#define LEAVE_HURRY_MS 1000

/* Wait between two starts of a worker that fails: doubles up to the maximum. */
#define BACKOFF_BASE_US USECS_PER_SEC
#define BACKOFF_MAX_US (60 * USECS_PER_SEC)

/* Protected by the registry's lock, except where it says otherwise. */
typedef struct JqDatabase
{
	Oid oid; /* InvalidOid if the entry is free */
	JqPresence presence;
	bool recheck;			 /* the worker has to look for the extension */
	bool starting;			 /* a worker was asked for and has not come yet */
	int leavers;			 /* commands that want the worker out */
	TimestampTz leave_until; /* it stays out until then */
	int failures;			 /* workers in a row that failed */
	TimestampTz next_start;	 /* no worker is started before */
	pid_t pid;				 /* the worker, 0 if there is none */

	/*
	 * Read without the lock, by processes in the middle of a commit.  The
	 * latch is in the array of processes, which stays: a stale pointer at
	 * worst wakes the wrong process once.
	 */
	Latch *volatile latch;
	pg_atomic_uint64 wake_at; /* a TimestampTz, of the extension's clock */
} JqDatabase;

typedef struct JqRegistry
{
	Latch *volatile launcher; /* as above; NULL if there is none */
	ConditionVariable left;	  /* a worker is gone */
	JqDatabase entries[FLEXIBLE_ARRAY_MEMBER]; /* max_databases */
} JqRegistry;

static JqRegistry *registry = NULL;
static LWLock *lock = NULL;

/* The entry of which this process is the worker. */
static JqDatabase *my_entry = NULL;

/* It was told to end, so its exit is no failure. */
static bool exit_excused = false;

Size
jq_database_shmem_size(void)
{
	return add_size(offsetof(JqRegistry, entries),
					mul_size(jq_max_databases, sizeof(JqDatabase)));
}

void
jq_database_shmem_init(LWLock *my_lock, bool found)
{
	bool mine;

	lock = my_lock;
	registry =
		ShmemInitStruct("job_queue databases", jq_database_shmem_size(), &mine);
	if (found)
		return;

	memset(registry, 0, jq_database_shmem_size());
	ConditionVariableInit(&registry->left);
	for (int i = 0; i < jq_max_databases; i++)
		pg_atomic_init_u64(&registry->entries[i].wake_at, DT_NOEND);
}

/*
 * Is a time of the wall clock still to come?  One that is further ahead than
 * it can have been set means that the clock was put back.
 */
static bool
is_ahead(TimestampTz when, TimestampTz now, int64 limit_us)
{
	return when > now && when - now <= limit_us;
}

static bool
must_stay_out(const JqDatabase *entry, TimestampTz now)
{
	return is_ahead(entry->leave_until, now, LEAVE_US);
}

static void
wake(Latch *latch)
{
	if (latch != NULL)
		SetLatch(latch);
}

void
jq_launcher_wake(void)
{
	if (registry != NULL)
		wake(registry->launcher);
}

/*
 * Entries.  The caller holds the lock, except where it says otherwise.
 */

static JqDatabase *
find_entry(Oid database)
{
	for (int i = 0; i < jq_max_databases; i++)
	{
		if (registry->entries[i].oid == database)
			return &registry->entries[i];
	}
	return NULL;
}

/* An entry that nobody needs: free, or of a database without the extension. */
static JqDatabase *
find_room(void)
{
	JqDatabase *room = find_entry(InvalidOid);

	for (int i = 0; room == NULL && i < jq_max_databases; i++)
	{
		JqDatabase *entry = &registry->entries[i];

		if (entry->presence == JQ_PRESENCE_ABSENT && entry->pid == 0 &&
			entry->leavers == 0)
			room = entry;
	}
	return room;
}

static void
reset_entry(JqDatabase *entry, Oid database)
{
	entry->oid = database;
	entry->presence = JQ_PRESENCE_UNKNOWN;
	entry->recheck = false;
	entry->starting = false;
	entry->leavers = 0;
	entry->leave_until = 0;
	entry->failures = 0;
	entry->next_start = 0;
	entry->pid = 0;
	entry->latch = NULL;
	pg_atomic_write_u64(&entry->wake_at, DT_NOEND);
}

static JqDatabase *
find_or_allocate(Oid database)
{
	JqDatabase *entry = find_entry(database);

	if (entry == NULL)
	{
		entry = find_room();
		if (entry != NULL)
			reset_entry(entry, database);
	}
	return entry;
}

/* Take the lock, and find an entry.  NULL if there is none, or no room. */
static JqDatabase *
lock_entry(Oid database)
{
	LWLockAcquire(lock, LW_EXCLUSIVE);
	return find_entry(database);
}

static JqDatabase *
lock_or_allocate(Oid database)
{
	LWLockAcquire(lock, LW_EXCLUSIVE);
	return find_or_allocate(database);
}

static int
index_of(const JqDatabase *entry)
{
	return entry == NULL ? NO_INDEX : (int) (entry - registry->entries);
}

static void
count_failure(JqDatabase *entry)
{
	entry->failures++;
	entry->next_start =
		GetCurrentTimestamp() +
		jq_retry_delay_us(
			entry->failures, BACKOFF_BASE_US, 2.0, BACKOFF_MAX_US, 0.0, 0.0);
}

/* No lock needed. */
static void
wake_worker(const JqDatabase *entry)
{
	if (entry != NULL)
		wake(entry->latch);
}

/*
 * For everybody.
 */

int
jq_database_reopen(void)
{
	JqDatabase *entry;
	bool has_worker = true;

	if (registry == NULL)
		return NO_INDEX;

	/* Whoever looks for the entry has the extension. */
	entry = lock_or_allocate(MyDatabaseId);
	if (entry != NULL)
	{
		if (entry->presence == JQ_PRESENCE_ABSENT)
			entry->presence = JQ_PRESENCE_UNKNOWN;
		has_worker = entry->pid != 0;
	}
	LWLockRelease(lock);

	if (!has_worker)
		jq_launcher_wake();
	return index_of(entry);
}

int
jq_database_index(void)
{
	static int cached = NO_INDEX;

	if (registry == NULL || !OidIsValid(MyDatabaseId))
		return NO_INDEX;

	/*
	 * Without the lock: an entry is only given to another database after a
	 * worker found no extension in this one.  So it stays ours while we use
	 * the extension, and if it did not we see that here.
	 */
	if (cached == NO_INDEX || registry->entries[cached].oid != MyDatabaseId)
		cached = jq_database_reopen();
	return cached;
}

void
jq_database_wake(int index)
{
	if (registry != NULL && index >= 0)
		wake_worker(&registry->entries[index]);
}

void
jq_database_wake_at(int index, TimestampTz when)
{
	JqDatabase *entry;

	if (registry == NULL || index < 0)
		return;

	entry = &registry->entries[index];
	if (when < (TimestampTz) pg_atomic_read_u64(&entry->wake_at))
		wake_worker(entry);
}

void
jq_database_wake_all(void)
{
	for (int i = 0; registry != NULL && i < jq_max_databases; i++)
		wake_worker(&registry->entries[i]);
}

void
jq_database_recheck(int index)
{
	JqDatabase *entry;

	if (registry == NULL)
		return;

	/*
	 * The index only saves the search.  Until the commit nobody else saw the
	 * extension, so the entry may have been given away meanwhile.
	 */
	LWLockAcquire(lock, LW_EXCLUSIVE);
	entry = index >= 0 ? &registry->entries[index] : NULL;
	if (entry == NULL || entry->oid != MyDatabaseId)
		entry = find_or_allocate(MyDatabaseId);
	if (entry != NULL)
	{
		entry->presence = JQ_PRESENCE_UNKNOWN;
		entry->recheck = true;
		entry->failures = 0;
		entry->next_start = 0;
	}
	LWLockRelease(lock);

	wake_worker(entry);
	jq_launcher_wake();
}

/*
 * For commands that need a database for themselves.
 */

bool
jq_database_leave_begin(Oid database)
{
	JqDatabase *entry;

	if (registry == NULL)
		return false;

	/* An entry is needed even without a worker: one might be about to come. */
	entry = lock_or_allocate(database);
	if (entry != NULL)
	{
		entry->leavers++;
		entry->leave_until = GetCurrentTimestamp() + LEAVE_US;
	}
	LWLockRelease(lock);

	wake_worker(entry);
	return entry != NULL;
}

/*
 * Is a worker still in the database?  If it is to hurry, cancel what it does:
 * a latch does not reach it inside a long statement.  The lock keeps the
 * process, and so its number, from going away.
 */
static bool
worker_is_in(Oid database, bool hurry)
{
	JqDatabase *entry = lock_entry(database);
	pid_t pid = entry == NULL ? 0 : entry->pid;

	if (pid != 0 && hurry)
		(void) kill(pid, SIGINT);
	LWLockRelease(lock);

	return pid != 0;
}

void
jq_database_leave_wait(Oid database)
{
	TimestampTz start = GetCurrentTimestamp();
	uint32 wait_event = WaitEventExtensionNew("JobQueueLeave");
	bool hurry = false;

	ConditionVariablePrepareToSleep(&registry->left);
	while (worker_is_in(database, hurry) &&
		   !TimestampDifferenceExceeds(
			   start, GetCurrentTimestamp(), LEAVE_WAIT_MS))
		hurry = ConditionVariableTimedSleep(
			&registry->left, LEAVE_HURRY_MS, wait_event);
	ConditionVariableCancelSleep();
}

void
jq_database_leave_end(Oid database)
{
	JqDatabase *entry = lock_entry(database);

	if (entry != NULL && entry->leavers > 0 && --entry->leavers == 0)
		entry->leave_until = 0;
	LWLockRelease(lock);
}

/*
 * For the launcher.
 */

/* on_shmem_exit callback */
static void
launcher_detach(int code, Datum arg)
{
	registry->launcher = NULL;
}

void
jq_launcher_attach(void)
{
	registry->launcher = &MyProc->procLatch;
	on_shmem_exit(launcher_detach, (Datum) 0);
}

static JqDatabaseInfo
describe_entry(const JqDatabase *entry, TimestampTz now)
{
	JqDatabaseInfo info = {.oid = entry->oid,
						   .presence = entry->presence,
						   .has_worker = entry->pid != 0,
						   .failures = entry->failures,
						   .not_before = now};

	if (must_stay_out(entry, now))
		info.not_before = entry->leave_until;
	if (is_ahead(entry->next_start, now, BACKOFF_MAX_US))
		info.not_before = Max(info.not_before, entry->next_start);
	return info;
}

JqDatabaseInfo *
jq_database_list(int *count)
{
	JqDatabaseInfo *infos = palloc(sizeof(JqDatabaseInfo) * jq_max_databases);
	TimestampTz now = GetCurrentTimestamp();
	int n = 0;

	LWLockAcquire(lock, LW_SHARED);
	for (int i = 0; i < jq_max_databases; i++)
	{
		if (OidIsValid(registry->entries[i].oid))
			infos[n++] = describe_entry(&registry->entries[i], now);
	}
	LWLockRelease(lock);

	*count = n;
	return infos;
}

bool
jq_database_start_begin(Oid database)
{
	JqDatabase *entry = lock_or_allocate(database);

	if (entry != NULL)
		entry->starting = true;
	LWLockRelease(lock);

	return entry != NULL;
}

void
jq_database_start_end(Oid database, bool failed)
{
	JqDatabase *entry = lock_entry(database);

	if (entry != NULL && entry->starting)
	{
		entry->starting = false;
		if (failed)
			count_failure(entry);
	}
	LWLockRelease(lock);
}

void
jq_database_dismiss(Oid database)
{
	JqDatabase *entry = lock_entry(database);

	if (entry != NULL)
		entry->leave_until = GetCurrentTimestamp() + LEAVE_US;
	LWLockRelease(lock);

	wake_worker(entry);
}

void
jq_database_forget(Oid database)
{
	JqDatabase *entry = lock_entry(database);

	if (entry != NULL && entry->pid == 0)
		reset_entry(entry, InvalidOid);
	LWLockRelease(lock);
}

/*
 * For the maintenance worker.
 */

/*
 * on_shmem_exit callback
 *
 * Exit callbacks run last-in first-out, and this one is registered before the
 * worker connects.  So at this point the process is no longer counted as
 * being in the database: who waits for it to leave need not wait again.
 */
static void
detach(int code, Datum arg)
{
	TimestampTz now = GetCurrentTimestamp();

	LWLockAcquire(lock, LW_EXCLUSIVE);
	my_entry->pid = 0;
	my_entry->latch = NULL;
	my_entry->recheck = false;
	if (exit_excused)
		my_entry->next_start = now + BACKOFF_BASE_US;
	else if (code != 0 && !must_stay_out(my_entry, now))
		count_failure(my_entry);
	if (my_entry->leavers == 0)
		my_entry->leave_until = 0; /* dismissed, and gone now */
	LWLockRelease(lock);

	my_entry = NULL;
	ConditionVariableBroadcast(&registry->left);
	jq_launcher_wake();
}

bool
jq_database_attach(Oid database)
{
	JqDatabase *entry = lock_or_allocate(database);

	if (entry != NULL)
		entry->starting = false;
	if (entry != NULL && entry->pid == 0 &&
		!must_stay_out(entry, GetCurrentTimestamp()))
	{
		entry->pid = MyProcPid;
		entry->latch = &MyProc->procLatch;
		pg_atomic_write_u64(&entry->wake_at, DT_NOEND);
		my_entry = entry;
	}
	LWLockRelease(lock);

	if (my_entry == NULL)
		return false;

	on_shmem_exit(detach, (Datum) 0);
	return true;
}

bool
jq_database_leave_requested(void)
{
	bool requested;

	LWLockAcquire(lock, LW_SHARED);
	requested = must_stay_out(my_entry, GetCurrentTimestamp());
	LWLockRelease(lock);

	return requested;
}

bool
jq_database_recheck_requested(void)
{
	bool requested;

	LWLockAcquire(lock, LW_SHARED);
	requested = my_entry->recheck;
	LWLockRelease(lock);

	return requested;
}

bool
jq_database_take_recheck(void)
{
	bool recheck;

	LWLockAcquire(lock, LW_EXCLUSIVE);
	recheck = my_entry->recheck;
	my_entry->recheck = false;
	LWLockRelease(lock);

	return recheck;
}

bool
jq_database_report(bool present)
{
	bool accepted;

	LWLockAcquire(lock, LW_EXCLUSIVE);
	accepted = !my_entry->recheck;
	if (accepted)
		my_entry->presence = present ? JQ_PRESENCE_PRESENT : JQ_PRESENCE_ABSENT;
	LWLockRelease(lock);

	/* It may be waiting for us before it starts the next worker. */
	jq_launcher_wake();
	return accepted;
}

void
jq_database_report_health(void)
{
	int failures;

	LWLockAcquire(lock, LW_EXCLUSIVE);
	failures = my_entry->failures;
	my_entry->failures = 0;
	LWLockRelease(lock);

	/* It tells the log. */
	if (failures > 0)
		jq_launcher_wake();
}

void
jq_database_excuse_exit(void)
{
	exit_excused = true;
}

void
jq_database_plan_wake(TimestampTz when)
{
	/* A full barrier, so that DT_NOEND is seen before work is looked for. */
	(void) pg_atomic_exchange_u64(&my_entry->wake_at, (uint64) when);
}
