/*-------------------------------------------------------------------------
 *
 * shmem.c
 *		Shared memory: put together from the parts of the modules.
 *
 * Everything in it can be thrown away at any moment and rebuilt from the
 * tables.  Each module lays out its own part and hides it.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"

#include "clock.h"
#include "database.h"
#include "due.h"
#include "error.h"
#include "fault.h"
#include "lease.h"
#include "ready.h"
#include "shmem.h"

#define TRANCHE "job_queue"

/* The tranche's locks: registry of databases, then ready.c's, then lease.c's. */
#define NUM_DATABASE_LOCKS 1

static shmem_request_hook_type prev_shmem_request_hook = NULL;
static shmem_startup_hook_type prev_shmem_startup_hook = NULL;
static bool available = false;

static void
shmem_request(void)
{
	Size size = 0;

	if (prev_shmem_request_hook)
		(*prev_shmem_request_hook)();

	size = add_size(size, jq_clock_shmem_size());
	size = add_size(size, jq_fault_shmem_size());
	size = add_size(size, jq_database_shmem_size());
	size = add_size(size, jq_due_shmem_size());
	size = add_size(size, jq_ready_shmem_size());
	size = add_size(size, jq_lease_shmem_size());
	RequestAddinShmemSpace(size);
	RequestNamedLWLockTranche(TRANCHE,
							  NUM_DATABASE_LOCKS + jq_ready_num_locks() +
								  jq_lease_num_locks());
}

static void
shmem_startup(void)
{
	LWLockPadded *locks;
	bool found = IsUnderPostmaster;

	if (prev_shmem_startup_hook)
		(*prev_shmem_startup_hook)();

	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	locks = GetNamedLWLockTranche(TRANCHE);
	jq_clock_shmem_init(found);
	jq_fault_shmem_init(found);
	jq_database_shmem_init(&locks[0].lock, found);
	jq_due_shmem_init(found);
	jq_ready_shmem_init(locks + NUM_DATABASE_LOCKS, found);
	jq_lease_shmem_init(locks + NUM_DATABASE_LOCKS + jq_ready_num_locks(),
						found);
	LWLockRelease(AddinShmemInitLock);
	available = true;
}

void
jq_shmem_install(void)
{
	prev_shmem_request_hook = shmem_request_hook;
	shmem_request_hook = shmem_request;
	prev_shmem_startup_hook = shmem_startup_hook;
	shmem_startup_hook = shmem_startup;
}

bool
jq_shmem_available(void)
{
	return available;
}

void
jq_shmem_require(const char *what)
{
	if (!available)
		ereport(ERROR,
				errcode(JQ_ERRCODE_NO_SHARED_MEMORY),
				errmsg("%s needs job_queue's shared memory", what),
				errhint("Add job_queue to \"shared_preload_libraries\" and "
						"restart the server."));
}
