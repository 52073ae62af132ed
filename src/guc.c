/*-------------------------------------------------------------------------
 *
 * guc.c
 *		Settings: their names, ranges and defaults.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/guc.h"

#include "guc.h"

int jq_max_queues = 1024;
int jq_max_leases = 32768;
int jq_max_databases = 64;
int jq_ready_memory_kb = 32768;

bool jq_testing = false;
bool jq_auto_create_queues = true;
int jq_max_payload_bytes = 1048576;
int jq_history_partition_ahead = 7;
char *jq_user_id = NULL;

/* They size shared memory, so they cannot be defined after startup. */
static void
define_sizes(void)
{
	DefineCustomIntVariable(
		"job_queue.max_queues",
		"Sets the maximum number of queues in all databases that can be "
		"claimed from.",
		NULL,
		&jq_max_queues,
		1024,
		1,
		65536,
		PGC_POSTMASTER,
		0,
		NULL,
		NULL,
		NULL);

	DefineCustomIntVariable(
		"job_queue.max_leases",
		"Sets how many running jobs have their lease in shared memory.",
		"Heartbeats of further running jobs write to the job's row.",
		&jq_max_leases,
		32768,
		64,
		4194304,
		PGC_POSTMASTER,
		0,
		NULL,
		NULL,
		NULL);

	DefineCustomIntVariable(
		"job_queue.max_databases",
		"Sets the maximum number of databases that have the extension.",
		NULL,
		&jq_max_databases,
		64,
		1,
		10000,
		PGC_POSTMASTER,
		0,
		NULL,
		NULL,
		NULL);

	DefineCustomIntVariable(
		"job_queue.ready_memory",
		"Sets the shared memory for the jobs that are ready to be claimed.",
		"Jobs that do not fit wait in the table; none is lost.  At least 2 kB "
		"per queue are taken in any case.",
		&jq_ready_memory_kb,
		32768,
		64,
		16777216,
		PGC_POSTMASTER,
		GUC_UNIT_KB,
		NULL,
		NULL,
		NULL);

	DefineCustomBoolVariable("job_queue.testing",
							 "Enables the test clock and the fault points.",
							 "Not for servers whose jobs matter.",
							 &jq_testing,
							 false,
							 PGC_POSTMASTER,
							 0,
							 NULL,
							 NULL,
							 NULL);
}

void
jq_guc_define(void)
{
	if (process_shared_preload_libraries_in_progress)
		define_sizes();

	DefineCustomBoolVariable(
		"job_queue.auto_create_queues",
		"Creates a queue with the defaults when a job is enqueued to an "
		"unknown one.",
		NULL,
		&jq_auto_create_queues,
		true,
		PGC_USERSET,
		0,
		NULL,
		NULL,
		NULL);

	DefineCustomIntVariable(
		"job_queue.max_payload_bytes",
		"Sets the maximum size of a job's payload and metadata, each.",
		NULL,
		&jq_max_payload_bytes,
		1048576,
		1024,
		268435456,
		PGC_SUSET,
		GUC_UNIT_BYTE,
		NULL,
		NULL,
		NULL);

	DefineCustomIntVariable(
		"job_queue.history_partition_ahead",
		"Sets for how many days after today partitions of the history exist.",
		NULL,
		&jq_history_partition_ahead,
		7,
		1,
		366,
		PGC_SIGHUP,
		0,
		NULL,
		NULL,
		NULL);

	DefineCustomStringVariable(
		"job_queue.user_id",
		"Sets the application's user that this session acts for.",
		"It is the default of the argument user_id of enqueue.",
		&jq_user_id,
		"",
		PGC_USERSET,
		0,
		NULL,
		NULL,
		NULL);

	MarkGUCPrefixReserved("job_queue");
}
