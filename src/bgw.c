/*-------------------------------------------------------------------------
 *
 * bgw.c
 *		What our background workers have in common.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <signal.h>

#include "access/xact.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/interrupt.h"
#include "storage/bufmgr.h"
#include "storage/condition_variable.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/lwlock.h"
#include "tcop/tcopprot.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timeout.h"

#include "bgw.h"
#include "compat.h"
#include "database.h"

typedef struct JqPin
{
	const char *name;
	const char *value;
} JqPin;

/*
 * A worker is subject to ALTER DATABASE ... SET and ALTER ROLE ... SET as a
 * session is, and who owns a database may set traps there.
 */
static const JqPin pins[] = {
	/* What SQL means. */
	{"search_path", "pg_catalog, pg_temp"},
	{"session_replication_role", "origin"},
	{"row_security", "off"},
	{"standard_conforming_strings", "on"},
	{"transform_null_equals", "off"},
	{"DateStyle", "ISO, YMD"},
	{"IntervalStyle", "postgres"},
	{"TimeZone", "UTC"},

	/* Transactions. */
	{"default_transaction_isolation", "read committed"},
	{"default_transaction_read_only", "off"},
	{"default_transaction_deferrable", "off"},

	/*
	 * Never wait for a standby: what a worker does and a failover loses, the
	 * worker over there does again.
	 */
	{"synchronous_commit", "local"},

	/*
	 * Give up a lock before anybody's deadlock_timeout, so that a user's
	 * command is never the victim of our maintenance, nor queued behind it.
	 */
	{"lock_timeout", "500ms"},
	{"statement_timeout", "0"},
	{"transaction_timeout", "0"},
	{"idle_in_transaction_session_timeout", "0"},

	/* Plans. */
	{"enable_bitmapscan", "on"},
	{"enable_hashagg", "on"},
	{"enable_hashjoin", "on"},
	{"enable_indexonlyscan", "on"},
	{"enable_indexscan", "on"},
	{"enable_material", "on"},
	{"enable_mergejoin", "on"},
	{"enable_nestloop", "on"},
	{"enable_seqscan", "on"},
	{"enable_sort", "on"},
	{"enable_tidscan", "on"},
	{"jit", "off"},
	{"plan_cache_mode", "auto"},

	/* The server log. */
	{"client_min_messages", "warning"},
	{"log_statement", "none"},
	{"log_duration", "off"},
	{"log_min_duration_statement", "-1"},
};

/* Restored when a transaction ends; the server resets it to the top. */
static MemoryContext context_before = NULL;

BackgroundWorker
jq_bgw_describe(const char *type, const char *function)
{
	BackgroundWorker worker = {
		.bgw_flags =
			BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION,
		.bgw_start_time = BgWorkerStart_RecoveryFinished,
		.bgw_restart_time = BGW_NEVER_RESTART,
	};

#define SET(field, value) strlcpy(worker.field, value, sizeof(worker.field))
	SET(bgw_name, type);
	SET(bgw_type, type);
	SET(bgw_library_name, "job_queue");
	SET(bgw_function_name, function);
#undef SET

	return worker;
}

void
jq_bgw_signals(void)
{
	/* SIGINT cancels, as set up by the server. */
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();
}

static void
pin(const char *name, const char *value)
{
	SetConfigOption(name, value, PGC_SUSET, PGC_S_OVERRIDE);
}

static void
pin_settings(void)
{
	for (int i = 0; i < (int) lengthof(pins); i++)
	{
		/* Not every server has every one of them. */
		if (GetConfigOption(pins[i].name, true, false) != NULL)
			pin(pins[i].name, pins[i].value);
	}
}

/* The worker works as the superuser that it connected as, as nobody else. */
static void
pin_user(void)
{
	pin("role", "none");
	if (GetSessionUserId() == GetAuthenticatedUserId())
		return;

	/* The name has to be looked up. */
	StartTransactionCommand();
	pin("session_authorization",
		GetUserNameFromId(GetAuthenticatedUserId(), false));
	CommitTransactionCommand();
}

void
jq_bgw_connect(Oid database)
{
	BackgroundWorkerInitializeConnectionByOid(database, InvalidOid, 0);
	pin_settings();
	if (OidIsValid(database))
		pin_user();
	pgstat_report_activity(STATE_IDLE, NULL);
}

void
jq_bgw_begin(const char *activity)
{
	context_before = CurrentMemoryContext;
	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	PushActiveSnapshot(GetTransactionSnapshot());
	pgstat_report_activity(STATE_RUNNING, activity);
}

void
jq_bgw_commit(void)
{
	PopActiveSnapshot();
	CommitTransactionCommand();
	MemoryContextSwitchTo(context_before);

	/* Nobody else flushes a worker's counts. */
	(void) pgstat_report_stat(true);
	pgstat_report_activity(STATE_IDLE, NULL);
}

void
jq_bgw_recover(MemoryContext context, bool report)
{
	HOLD_INTERRUPTS();

	/* A timeout that is under way must not hit what comes next. */
	disable_all_timeouts(false);
	QueryCancelPending = false;

	MemoryContextSwitchTo(context);
	if (report)
		EmitErrorReport();

	AbortOutOfAnyTransaction();

	/* The abort did this already if there was a transaction. */
	LWLockReleaseAll();
	ConditionVariableCancelSleep();
	pgstat_report_wait_end();
	UnlockBuffers();

	MemoryContextSwitchTo(context);
	FlushErrorState();
	(void) pgstat_report_stat(true);
	pgstat_report_activity(STATE_IDLE, NULL);

	RESUME_INTERRUPTS();
}

void
jq_bgw_forget_cancel(void)
{
	QueryCancelPending = false;
}

/* Do what signals asked for while nothing is going on. */
static void
handle_signals(void)
{
	/*
	 * Status 1, so that whoever started us does it again.  Without the
	 * server's message about the administrator's command, and without a word
	 * from the launcher: every shutdown is one.
	 */
	if (ProcDiePending)
	{
		jq_database_excuse_exit();
		proc_exit(1);
	}

	/* A cancel ends a statement, and there is none. */
	HOLD_CANCEL_INTERRUPTS();
	CHECK_FOR_INTERRUPTS();
	RESUME_CANCEL_INTERRUPTS();

	if (ConfigReloadPending)
	{
		ConfigReloadPending = false;
		ProcessConfigFile(PGC_SIGHUP);
	}
}

bool
jq_bgw_sleep(long timeout_ms, uint32 wait_event)
{
	int events;

	handle_signals();

	/*
	 * The latch is reset before the next look for work, never after it: what
	 * comes while we work sets it again and cuts the next nap short.
	 */
	events = WaitLatch(MyLatch,
					   WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
					   timeout_ms,
					   wait_event);
	ResetLatch(MyLatch);
	handle_signals();

	return (events & WL_LATCH_SET) != 0;
}
