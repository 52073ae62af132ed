/*-------------------------------------------------------------------------
 *
 * database.h
 *		The databases that have the extension, or may, and their workers.
 *
 * The launcher starts a maintenance worker for each of them, unless someone
 * asks it to stay out for a while.  Everything here is harmless, and does
 * nothing, when the library was not preloaded.
 *
 * What is named "at commit" may be called from a transaction callback: it
 * neither fails nor allocates.
 *
 *-------------------------------------------------------------------------
 */
#ifndef JQ_DATABASE_H
#define JQ_DATABASE_H

#include "datatype/timestamp.h"
#include "storage/lwlock.h"

/* Is the extension in the database? */
typedef enum JqPresence
{
	JQ_PRESENCE_UNKNOWN, /* nobody has looked since something changed */
	JQ_PRESENCE_ABSENT,
	JQ_PRESENCE_PRESENT
} JqPresence;

/* What the launcher sees of an entry. */
typedef struct JqDatabaseInfo
{
	Oid oid;
	JqPresence presence;
	bool has_worker;
	int failures;			/* workers in a row that failed */
	TimestampTz not_before; /* no worker is wanted until then, by wall clock */
} JqDatabaseInfo;

extern Size jq_database_shmem_size(void);
extern void jq_database_shmem_init(LWLock *my_lock, bool found);

/*
 * For everybody.
 */

/*
 * Index of this database's entry, or -1 if there is no room or no shared
 * memory.  Allocates an entry, and wakes the launcher if there is no worker.
 * Cheap, for any number of calls.
 */
extern int jq_database_index(void);

/* The same, when a worker may have found no extension and was too early. */
extern int jq_database_reopen(void);

/*
 * At commit: wake the maintenance worker, always, or if it means to sleep
 * longer.
 */
extern void jq_database_wake(int index);
extern void jq_database_wake_at(int index, TimestampTz when);

/* Wake those of all databases: the clock was moved. */
extern void jq_database_wake_all(void);

/* The extension came or went: worker and launcher look again.  At commit. */
extern void jq_database_recheck(int index);

/* At commit. */
extern void jq_launcher_wake(void);

/*
 * For commands that need a database for themselves.  Every begin that returns
 * true needs an end; without one the worker is back after half a minute.
 */

/* Ask the worker to leave.  False if that cannot be remembered. */
extern bool jq_database_leave_begin(Oid database);

/* Wait until it is gone, some seconds at most. */
extern void jq_database_leave_wait(Oid database);

/* It may come back.  At commit. */
extern void jq_database_leave_end(Oid database);

/*
 * For the launcher.
 */

/* This process is the launcher, until it exits. */
extern void jq_launcher_attach(void);

/* Copies of all entries, in the current memory context. */
extern JqDatabaseInfo *jq_database_list(int *count);

/* A worker is about to be started.  False if there is no room. */
extern bool jq_database_start_begin(Oid database);

/* It did not come: after a failure, the next one has to wait. */
extern void jq_database_start_end(Oid database, bool failed);

/* The worker is not wanted any more. */
extern void jq_database_dismiss(Oid database);

/* The database was dropped. */
extern void jq_database_forget(Oid database);

/*
 * For the maintenance worker.
 */

/*
 * This process is the database's worker, until it exits; call it before
 * connecting.  False if there is one already or none is wanted.
 */
extern bool jq_database_attach(Oid database);

/* Has somebody asked the worker to leave? */
extern bool jq_database_leave_requested(void);

/* Has somebody asked to look for the extension?  take forgets that they did. */
extern bool jq_database_recheck_requested(void);
extern bool jq_database_take_recheck(void);

/*
 * Whether the extension is there, as just seen.  False if somebody has asked
 * again since: then look again.
 */
extern bool jq_database_report(bool present);

/* All is well: the next failure counts as the first. */
extern void jq_database_report_health(void);

/* This process exits because it was told to: no failure. */
extern void jq_database_excuse_exit(void);

/*
 * The worker means to sleep until then.  It must say DT_NOEND when it is
 * awake, before it looks for work, so that whatever comes later wakes it.
 */
extern void jq_database_plan_wake(TimestampTz when);

#endif /* JQ_DATABASE_H */
