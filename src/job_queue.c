/*-------------------------------------------------------------------------
 *
 * job_queue.c
 *		Module load: settings, callbacks, shared memory, launcher.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fmgr.h"
#include "miscadmin.h"

#include "catalog.h"
#include "compat.h"
#include "guc.h"
#include "hooks.h"
#include "launcher.h"
#include "shmem.h"
#include "xact.h"

JQ_MODULE_MAGIC;

extern PGDLLEXPORT void _PG_init(void);

void
_PG_init(void)
{
	jq_guc_define();
	jq_catalog_register();
	jq_xact_register();

	/* Without preloading, SQL works and jobs are queued, but none is run. */
	if (!process_shared_preload_libraries_in_progress || IsBinaryUpgrade)
		return;

	jq_shmem_install();
	jq_hooks_install();
	jq_launcher_register();
}
