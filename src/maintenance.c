/*-------------------------------------------------------------------------
 *
 * maintenance.c
 *		The worker that keeps a database's queues in order.
 *
 * It makes due jobs ready, takes jobs from workers that are gone, writes
 * progress to the tables and looks after the history: a few steps, each in
 * transactions of its own.  A step that fails is reported, waits, and does
 * not keep the others from running.  Between steps the worker holds nothing.
 *
 * It leaves when the extension is gone, or when somebody needs the database
 * for himself.  The launcher starts the next one.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "commands/extension.h"
#include "miscadmin.h"
#include "storage/ipc.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "bgw.h"
#include "clock.h"
#include "compat.h"
#include "database.h"
#include "due.h"
#include "fault.h"
#include "lease.h"
#include "ready.h"
#include "reap.h"
#include "retry.h"

/* Bounds of a nap, so that neither a bug nor a moved clock does much harm. */
#define MIN_NAP_MS 10
#define MAX_NAP_MS 60000

/* Wait after a step has failed: doubles up to the maximum. */
#define BACKOFF_BASE_US USECS_PER_SEC
#define BACKOFF_MAX_US (60 * USECS_PER_SEC)

/* How often to look for the extension without being asked. */
#define LOOK_US (60 * USECS_PER_SEC)

/* A part of the work.  run returns when it wants to run next. */
typedef struct JqStep
{
	const char *name;
	const char *fault;
	TimestampTz (*run)(void);
	bool always;	  /* in every round: cheap if there is nothing to do */
	TimestampTz next; /* else at this time; the extension's clock */
	int failures;	  /* in a row */
	int sqlerrcode;	  /* of the last one */
} JqStep;

static TimestampTz look_for_extension(void);

static JqStep steps[] = {
	{
		.name = "looking for the extension",
		.fault = "maintenance-look",
		.run = look_for_extension,
	},
	{
		.name = "making due jobs ready",
		.fault = "maintenance-due",
		.run = jq_due_run,
		.always = true,
	},
	{
		.name = "recovering stalled jobs",
		.fault = "maintenance-reap",
		.run = jq_reap_run,
		.always = true,
	},
	{
		.name = "saving progress",
		.fault = "maintenance-flush",
		.run = jq_flush_run,
		.always = true,
	},
	{
		.name = "housekeeping",
		.fault = "maintenance-housekeeping",
		.run = jq_housekeeping_run,
	},
};

#define NUM_STEPS ((int) lengthof(steps))
#define LOOKING (&steps[0])

/* Was the extension there when we last looked? */
static bool extension_found = false;

/* It was not, and nobody has asked to look again. */
static bool extension_gone = false;

static MemoryContext tick_context = NULL;

pg_noreturn extern PGDLLEXPORT void job_queue_maintenance_main(Datum arg);

/*
 * Without the extension there are no jobs to remember.  If it is there again
 * already, its tables say what was forgotten.
 */
static void
forget_jobs(void)
{
	jq_ready_forget_database(MyDatabaseId);
	jq_lease_forget_database(MyDatabaseId);
	jq_due_reset(jq_database_index());
}

static TimestampTz
look_for_extension(void)
{
	bool found;

	jq_bgw_begin("looking for the extension");
	found = OidIsValid(get_extension_oid("job_queue", true));
	jq_bgw_commit();

	if (!found)
		forget_jobs();
	if (!jq_database_report(found))
		return DT_NOBEGIN;

	extension_found = found;
	extension_gone = !found;
	return jq_now() + LOOK_US;
}

/* Which step was it?  Tells the server log. */
static void
step_error_callback(void *arg)
{
	errcontext("job_queue maintenance, %s", ((JqStep *) arg)->name);
}

/*
 * A step has failed: put things right, and try again later.  The log is told
 * of the first of several failures for the same reason.
 *
 * If we are to leave, or the extension may be gone, that was the reason, and
 * it is no failure.
 */
static void
note_failure(JqStep *step)
{
	int sqlerrcode = geterrcode();
	bool excused =
		jq_database_leave_requested() || jq_database_recheck_requested();
	bool news = step->failures == 0 || step->sqlerrcode != sqlerrcode;

	jq_bgw_recover(tick_context, news && !excused);
	if (excused)
	{
		step->next = DT_NOBEGIN;
		return;
	}

	step->failures++;
	step->sqlerrcode = sqlerrcode;
	step->next =
		jq_now() +
		jq_retry_delay_us(
			step->failures, BACKOFF_BASE_US, 2.0, BACKOFF_MAX_US, 0.0, 0.0);
}

static void
note_success(JqStep *step, TimestampTz next)
{
	if (step->failures > 0)
		ereport(LOG,
				errmsg("job_queue maintenance, %s: works again", step->name));
	step->failures = 0;
	step->next = next;
}

static TimestampTz
call_step(JqStep *step)
{
	ErrorContextCallback context = {.previous = error_context_stack,
									.callback = step_error_callback,
									.arg = step};
	TimestampTz next;

	error_context_stack = &context;
	JQ_FAULT(step->fault);
	next = step->run();
	error_context_stack = context.previous;

	return next;
}

static void
run_step(JqStep *step)
{
	jq_bgw_forget_cancel();

	PG_TRY();
	{
		note_success(step, call_step(step));
	}
	PG_CATCH();
	{
		note_failure(step);
	}
	PG_END_TRY();
}

static bool
is_due(const JqStep *step, TimestampTz now)
{
	return step->next <= now || (step->always && step->failures == 0);
}

/* Exit if nobody wants us here.  Status 0: it is no failure. */
static void
leave_if_unwanted(void)
{
	if (extension_gone || jq_database_leave_requested())
		proc_exit(0);
}

/* The next failure of this process counts as the first, once all is well. */
static void
report_health(void)
{
	static bool reported = false;

	if (reported)
		return;
	for (int i = 0; i < NUM_STEPS; i++)
	{
		if (steps[i].failures > 0)
			return;
	}
	jq_database_report_health();
	reported = true;
}

/*
 * A round: run what is due.  Returns when the next step is.
 */
static TimestampTz
tick(void)
{
	static TimestampTz last = DT_NOBEGIN;
	TimestampTz now = jq_now();
	TimestampTz next = DT_NOEND;
	bool clock_went_back = now < last;

	last = now;
	if (jq_database_take_recheck())
		LOOKING->next = DT_NOBEGIN;

	for (int i = 0; i < NUM_STEPS; i++)
	{
		JqStep *step = &steps[i];

		if (is_due(step, now) || clock_went_back)
			run_step(step);
		leave_if_unwanted();
		next = Min(next, step->next);

		/* Without the extension the other steps have nothing to work on. */
		if (!extension_found)
			return next;
		if (jq_database_recheck_requested())
			return DT_NOBEGIN;
	}

	report_health();
	return next;
}

static long
nap_ms(TimestampTz next)
{
	TimestampTz now = jq_now();

	/* Bounds first: next may be infinite. */
	if (next <= now + MIN_NAP_MS * INT64CONST(1000))
		return MIN_NAP_MS;
	if (next >= now + MAX_NAP_MS * INT64CONST(1000))
		return MAX_NAP_MS;
	return TimestampDifferenceMilliseconds(now, next);
}

void
job_queue_maintenance_main(Datum arg)
{
	Oid database = DatumGetObjectId(arg);
	uint32 wait_event;

	jq_bgw_signals();
	if (!jq_database_attach(database))
		proc_exit(0);
	jq_bgw_connect(database);

	tick_context = AllocSetContextCreate(
		TopMemoryContext, "job_queue tick", ALLOCSET_DEFAULT_SIZES);
	wait_event = WaitEventExtensionNew("JobQueueMaintenance");

	/* What the last worker here, or another database, left behind. */
	jq_due_reset(jq_database_index());

	for (int i = 0; i < NUM_STEPS; i++)
		steps[i].next = DT_NOBEGIN;

	for (;;)
	{
		TimestampTz next;

		MemoryContextSwitchTo(tick_context);
		next = tick();
		MemoryContextReset(tick_context);

		jq_database_plan_wake(next);
		(void) jq_bgw_sleep(nap_ms(next), wait_event);
		jq_database_plan_wake(DT_NOEND);
	}
}
