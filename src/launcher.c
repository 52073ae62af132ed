/*-------------------------------------------------------------------------
 *
 * launcher.c
 *		The process that starts a maintenance worker for each database.
 *
 * It is connected to no database, sees shared catalogs only, and trusts
 * nothing else: whether a database has the extension is found out by the
 * worker, which leaves again if it has not.  Workers are started one at a
 * time, so that a look at all databases of a server takes a single slot.
 *
 * The launcher keeps nothing that it cannot find again.  After an error it
 * exits, and the server starts it anew.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <signal.h>

#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "catalog/pg_database.h"
#include "miscadmin.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "bgw.h"
#include "clock.h"
#include "compat.h"
#include "database.h"
#include "fault.h"
#include "launcher.h"
#include "lease.h"
#include "ready.h"
#include "retry.h"

#define RESTART_SECONDS 1

/* Longest time between two looks at the list of databases. */
#define LOOK_US (60 * USECS_PER_SEC)

/* A worker that takes longer to come does not keep the others waiting. */
#define START_US (10 * USECS_PER_SEC)

/* Wait after finding no free slot for a worker: doubles up to the maximum. */
#define SLOT_BASE_US USECS_PER_SEC
#define SLOT_MAX_US (60 * USECS_PER_SEC)

/* What is known about a database. */
typedef struct JqTarget
{
	Oid oid; /* key of the hash table */

	/* From the list of databases. */
	bool listed;
	NameData name;
	bool connectable;

	/* From its entry. */
	bool has_entry;
	JqDatabaseInfo info;

	/* Kept from look to look. */
	bool absent;  /* no extension, also after the entry was given away */
	bool failing; /* the log says so */
} JqTarget;

static HTAB *targets = NULL;

/* The worker that was asked for and has not come yet. */
static BackgroundWorkerHandle *pending = NULL;
static Oid pending_database = InvalidOid;
static TimestampTz pending_until;

/* Attempts in a row that found no free slot, and when to try again. */
static int slot_failures = 0;
static TimestampTz slot_retry_at = 0;

/* Workers seen at the last look. */
static int workers_before = 0;

/* Is the log told that there are too few entries? */
static bool no_room = false;

pg_noreturn extern PGDLLEXPORT void job_queue_launcher_main(Datum arg);

void
jq_launcher_register(void)
{
	BackgroundWorker worker;

	if (!process_shared_preload_libraries_in_progress || IsBinaryUpgrade)
		return;

	worker = jq_bgw_describe("job_queue launcher", "job_queue_launcher_main");
	worker.bgw_restart_time = RESTART_SECONDS;
	RegisterBackgroundWorker(&worker);
}

/*
 * Looking.
 */

static JqTarget *
find_target(Oid database)
{
	bool found;
	JqTarget *target = hash_search(targets, &database, HASH_ENTER, &found);

	if (!found)
	{
		memset(target, 0, sizeof(JqTarget));
		target->oid = database;
	}
	return target;
}

static void
forget_last_look(void)
{
	HASH_SEQ_STATUS scan;
	JqTarget *target;

	hash_seq_init(&scan, targets);
	while ((target = hash_seq_search(&scan)) != NULL)
	{
		target->listed = false;
		target->has_entry = false;
	}
}

static void
look_at_entries(void)
{
	int n;
	JqDatabaseInfo *infos = jq_database_list(&n);

	for (int i = 0; i < n; i++)
	{
		JqTarget *target = find_target(infos[i].oid);

		target->has_entry = true;
		target->info = infos[i];
		target->absent = infos[i].presence == JQ_PRESENCE_ABSENT;
	}
}

/*
 * May a worker be in a database?  Nobody works in template0, even if it is
 * open for a while; limits below -1 mark a database that was half dropped.
 */
static bool
is_connectable(Form_pg_database database)
{
	return database->datallowconn &&
		   (database->datconnlimit == -1 || database->datconnlimit > 0) &&
		   strcmp(NameStr(database->datname), "template0") != 0;
}

static void
look_at_databases(void)
{
	Relation rel;
	TableScanDesc scan;
	HeapTuple tuple;

	jq_bgw_begin("looking at the list of databases");
	rel = table_open(DatabaseRelationId, AccessShareLock);
	scan = table_beginscan_catalog(rel, 0, NULL);
	while (HeapTupleIsValid(tuple = heap_getnext(scan, ForwardScanDirection)))
	{
		Form_pg_database database = (Form_pg_database) GETSTRUCT(tuple);
		JqTarget *target = find_target(database->oid);

		target->listed = true;
		target->name = database->datname;
		target->connectable = is_connectable(database);
	}
	table_endscan(scan);
	table_close(rel, AccessShareLock);
	jq_bgw_commit();
}

static void
forget_dropped(void)
{
	HASH_SEQ_STATUS scan;
	JqTarget *target;

	hash_seq_init(&scan, targets);
	while ((target = hash_seq_search(&scan)) != NULL)
	{
		Oid database = target->oid;

		if (target->listed)
			continue;

		jq_ready_forget_database(database);
		jq_lease_forget_database(database);
		jq_database_forget(database);
		(void) hash_search(targets, &database, HASH_REMOVE, NULL);
	}
}

/*
 * Entries come first: who has an entry, and is not in a list of databases
 * made later, was dropped.  The other way round it might be new.
 */
static void
look(void)
{
	JQ_FAULT("launcher-look");
	forget_last_look();
	look_at_entries();
	look_at_databases();
	forget_dropped();
}

/*
 * Starting.
 */

/* Has the worker that was asked for come, or failed to? */
static void
check_pending(TimestampTz now)
{
	pid_t pid;
	BgwHandleStatus status;
	JqTarget *target;
	bool arrived;

	if (pending == NULL)
		return;

	/*
	 * Before the entry is looked at: what has ended changes no more.  A worker
	 * that finds no extension is waited for until it has ended, since the next
	 * one may need its slot.
	 */
	status = GetBackgroundWorkerPid(pending, &pid);
	look_at_entries();
	target = find_target(pending_database);
	arrived = target->has_entry && target->info.has_worker &&
			  target->info.presence == JQ_PRESENCE_PRESENT;

	if (!arrived && now < pending_until &&
		(status == BGWH_NOT_YET_STARTED || status == BGWH_STARTED))
		return;

	/* Does nothing if it came, whatever it did then. */
	jq_database_start_end(pending_database, true);
	pfree(pending);
	pending = NULL;
}

static void
note_no_slot(const JqTarget *target, TimestampTz now)
{
	if (slot_failures++ == 0)
		ereport(LOG,
				errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				errmsg("no free background worker slot for the job_queue "
					   "maintenance of database \"%s\"",
					   NameStr(target->name)),
				errdetail("It is tried again until there is one."),
				errhint("Raise \"max_worker_processes\"."));

	slot_retry_at =
		now + jq_retry_delay_us(
				  slot_failures, SLOT_BASE_US, 2.0, SLOT_MAX_US, 0.0, 0.0);
}

static void
note_slot(void)
{
	if (slot_failures > 0)
		ereport(LOG,
				errmsg("background worker slots for job_queue are free "
					   "again"));
	slot_failures = 0;
	slot_retry_at = 0;
}

static void
note_room(const JqTarget *target, bool room)
{
	if (!room && !no_room)
		ereport(LOG,
				errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				errmsg("no room for the job_queue maintenance of database "
					   "\"%s\"",
					   NameStr(target->name)),
				errhint("Raise \"job_queue.max_databases\"."));
	no_room = !room;
}

/* One of our own workers is gone: what is left of the wait is short. */
static void
note_free_slots(TimestampTz now)
{
	HASH_SEQ_STATUS scan;
	JqTarget *target;
	int workers = 0;

	hash_seq_init(&scan, targets);
	while ((target = hash_seq_search(&scan)) != NULL)
	{
		if (target->has_entry && target->info.has_worker)
			workers++;
	}

	if (slot_failures > 0 && workers < workers_before)
	{
		slot_failures = 1;
		slot_retry_at = now + SLOT_BASE_US;
	}
	workers_before = workers;
}

static bool
register_worker(Oid database)
{
	BackgroundWorker worker =
		jq_bgw_describe("job_queue maintenance", "job_queue_maintenance_main");
	MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);
	bool registered;

	worker.bgw_main_arg = ObjectIdGetDatum(database);
	worker.bgw_notify_pid = MyProcPid;
	registered = RegisterDynamicBackgroundWorker(&worker, &pending);
	MemoryContextSwitchTo(old);

	return registered;
}

/* Ask for a worker.  Returns whether others may be asked for as well. */
static bool
start_worker(JqTarget *target, TimestampTz now)
{
	bool room = jq_database_start_begin(target->oid);

	note_room(target, room);
	if (!room)
		return true;

	if (!register_worker(target->oid))
	{
		pending = NULL;
		jq_database_start_end(target->oid, false);
		note_no_slot(target, now);
		return false;
	}

	note_slot();
	pending_database = target->oid;
	pending_until = now + START_US;
	return false;
}

static bool
wants_worker(const JqTarget *target)
{
	return target->connectable && !target->absent &&
		   !(target->has_entry && target->info.has_worker);
}

/* When may a worker be started?  now: at once. */
static TimestampTz
start_time(const JqTarget *target, TimestampTz now)
{
	return target->has_entry ? Max(target->info.not_before, now) : now;
}

/* Tell the log when a database's worker begins to fail, and when no more. */
static void
note_failures(JqTarget *target)
{
	bool failing;

	if (!target->has_entry)
		return;

	failing = target->info.failures > 0;
	if (failing && !target->failing)
	{
		target->failing = true;
		ereport(LOG,
				errmsg("job_queue maintenance of database \"%s\" has ended "
					   "unexpectedly",
					   NameStr(target->name)),
				errdetail("It is started again until it stays."));
	}
	else if (!failing && target->failing && target->info.has_worker)
	{
		target->failing = false;
		ereport(LOG,
				errmsg("job_queue maintenance of database \"%s\" is running "
					   "again",
					   NameStr(target->name)));
	}
}

/*
 * Start a worker that is due, if none is on its way.  Returns when to look
 * again.
 */
static TimestampTz
start_next(TimestampTz now)
{
	TimestampTz next = now + LOOK_US;
	bool may_start = pending == NULL && now >= slot_retry_at;
	HASH_SEQ_STATUS scan;
	JqTarget *target;

	hash_seq_init(&scan, targets);
	while ((target = hash_seq_search(&scan)) != NULL)
	{
		note_failures(target);

		/* Who is in a database that was closed is in the owner's way. */
		if (!target->connectable && target->has_entry &&
			target->info.has_worker)
			jq_database_dismiss(target->oid);

		if (!wants_worker(target))
			continue;
		if (start_time(target, now) > now)
			next = Min(next, start_time(target, now));
		else if (may_start)
			may_start = start_worker(target, now);
	}

	if (pending != NULL)
		next = Min(next, pending_until);
	if (slot_failures > 0)
		next = Min(next, slot_retry_at);
	return next;
}

static void
make_targets(void)
{
	HASHCTL control = {.keysize = sizeof(Oid), .entrysize = sizeof(JqTarget)};

	targets = hash_create(
		"job_queue databases", 64, &control, HASH_ELEM | HASH_BLOBS);
}

void
job_queue_launcher_main(Datum arg)
{
	MemoryContext look_context;
	uint32 wait_event;

	/* There is nothing to cancel here. */
	pqsignal(SIGINT, SIG_IGN);
	jq_bgw_signals();
	jq_launcher_attach();
	jq_bgw_connect(InvalidOid);

	make_targets();
	look_context = AllocSetContextCreate(
		TopMemoryContext, "job_queue look", ALLOCSET_DEFAULT_SIZES);
	MemoryContextSwitchTo(look_context);
	wait_event = WaitEventExtensionNew("JobQueueLauncher");

	/* Recovery is over: from now on leases that nobody remembers count. */
	(void) jq_clock_epoch();

	for (;;)
	{
		TimestampTz now = GetCurrentTimestamp();
		TimestampTz next;

		check_pending(now);
		look();
		note_free_slots(now);
		next = start_next(now);
		MemoryContextReset(look_context);

		(void) jq_bgw_sleep(
			TimestampDifferenceMilliseconds(GetCurrentTimestamp(), next),
			wait_event);
	}
}
