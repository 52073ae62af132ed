/*-------------------------------------------------------------------------
 *
 * fault.c
 *		Fault points: named places at which tests make things go wrong.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <signal.h>
#include <unistd.h>

#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/shmem.h"
#include "storage/spin.h"
#include "utils/builtins.h"

#include "args.h"
#include "compat.h"
#include "error.h"
#include "fault.h"

#define MAX_POINTS 32
#define NAME_BYTES 64

typedef enum JqFaultAction
{
	JQ_FAULT_NONE,
	JQ_FAULT_ERROR,
	JQ_FAULT_WAIT,
	JQ_FAULT_SLEEP,
	JQ_FAULT_EXIT,
	JQ_FAULT_KILL,
} JqFaultAction;

static const char *const action_names[] = {
	"none", "error", "wait", "sleep", "exit", "kill"};

typedef struct JqFaultPoint
{
	char name[NAME_BYTES];
	JqFaultAction action; /* none: this entry is free */
	int value;			  /* sleep: milliseconds */
	int64 hits;			  /* how often it was reached while armed */
	int waiting;		  /* processes that wait in it */
} JqFaultPoint;

typedef struct JqFaults
{
	slock_t mutex; /* protects points[] */
	JqFaultPoint points[MAX_POINTS];
} JqFaults;

static JqFaults *faults = NULL;

Size
jq_fault_shmem_size(void)
{
	return sizeof(JqFaults);
}

void
jq_fault_shmem_init(bool found)
{
	bool mine;

	faults = ShmemInitStruct("job_queue fault points", sizeof(JqFaults), &mine);
	if (found)
		return;
	memset(faults, 0, sizeof(JqFaults));
	SpinLockInit(&faults->mutex);
}

/* The armed point of a name; NULL if there is none.  Under the mutex. */
static JqFaultPoint *
find_point(const char *name)
{
	for (int i = 0; i < MAX_POINTS; i++)
		if (faults->points[i].action != JQ_FAULT_NONE &&
			strcmp(faults->points[i].name, name) == 0)
			return &faults->points[i];
	return NULL;
}

/* Note a hit, and a change in the number of those that wait. */
static JqFaultAction
look_up(const char *name, int hits, int waiting, int *value)
{
	JqFaultAction action = JQ_FAULT_NONE;
	JqFaultPoint *point;

	SpinLockAcquire(&faults->mutex);
	point = find_point(name);
	if (point != NULL)
	{
		action = point->action;
		point->hits += hits;
		point->waiting += waiting;
		*value = point->value;
	}
	SpinLockRelease(&faults->mutex);
	return action;
}

static void
nap(long ms)
{
	(void) WaitLatch(MyLatch,
					 WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
					 ms,
					 PG_WAIT_EXTENSION);
	ResetLatch(MyLatch);
	CHECK_FOR_INTERRUPTS();
}

/* Stay until the point is disarmed. */
static void
wait_for_release(const char *name)
{
	int value;

	(void) look_up(name, 0, 1, &value);
	while (look_up(name, 0, 0, &value) == JQ_FAULT_WAIT)
		nap(10);
	(void) look_up(name, 0, -1, &value);
}

void
jq_fault_reached(const char *name)
{
	int value = 0;

	if (faults == NULL)
		return;
	switch (look_up(name, 1, 0, &value))
	{
		case JQ_FAULT_NONE:
			break;
		case JQ_FAULT_ERROR:
			ereport(ERROR,
					errcode(ERRCODE_EXTERNAL_ROUTINE_EXCEPTION),
					errmsg("fault point \"%s\" was reached", name));
			break;
		case JQ_FAULT_WAIT:
			wait_for_release(name);
			break;
		case JQ_FAULT_SLEEP:
			pg_usleep(value * 1000L);
			break;
		case JQ_FAULT_EXIT:
			proc_exit(1);
			break;
		case JQ_FAULT_KILL:
			kill(MyProcPid, SIGKILL);
			break;
	}
}

void
jq_fault_require_testing(const char *what)
{
	if (!superuser())
		ereport(ERROR,
				errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				errmsg("only superusers may call %s", what));
	if (!jq_testing || faults == NULL)
		ereport(ERROR,
				errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				errmsg("%s is for tests only", what),
				errhint("Set \"job_queue.testing\" to on and restart the "
						"server."));
}

static JqFaultAction
parse_action(const char *name)
{
	for (int i = JQ_FAULT_ERROR; i <= JQ_FAULT_KILL; i++)
		if (strcmp(action_names[i], name) == 0)
			return i;
	ereport(ERROR,
			errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			errmsg("unknown fault action \"%s\"", name),
			errhint("Use error, wait, sleep, exit or kill."));
}

/* Arm a point, in its own entry or a free one.  False if all are in use. */
static bool
arm(const char *name, JqFaultAction action, int value)
{
	JqFaultPoint *point;

	SpinLockAcquire(&faults->mutex);
	point = find_point(name);
	for (int i = 0; point == NULL && i < MAX_POINTS; i++)
		if (faults->points[i].action == JQ_FAULT_NONE)
			point = &faults->points[i];
	if (point != NULL)
	{
		memset(point, 0, sizeof(JqFaultPoint));
		strlcpy(point->name, name, NAME_BYTES);
		point->action = action;
		point->value = value;
	}
	SpinLockRelease(&faults->mutex);
	return point != NULL;
}

PG_FUNCTION_INFO_V1(job_queue_fault_arm);

/* job_queue.fault_arm(name text, action text, value int) returns void */
Datum
job_queue_fault_arm(PG_FUNCTION_ARGS)
{
	text *name;
	JqFaultAction action;

	jq_fault_require_testing("fault_arm()");
	name = jq_arg_name(fcinfo, 0, "name", false);
	jq_arg_require(fcinfo, 1, "action");
	action = parse_action(text_to_cstring(PG_GETARG_TEXT_PP(1)));
	if (!arm(text_to_cstring(name),
			 action,
			 jq_arg_int(fcinfo, 2, "value", 0, 3600000, 0)))
		ereport(ERROR,
				errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				errmsg("more than %d fault points are armed", MAX_POINTS));
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(job_queue_fault_disarm);

/* job_queue.fault_disarm(name text) returns void: one point, or all */
Datum
job_queue_fault_disarm(PG_FUNCTION_ARGS)
{
	char *name;

	jq_fault_require_testing("fault_disarm()");
	name = PG_ARGISNULL(0) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(0));

	SpinLockAcquire(&faults->mutex);
	for (int i = 0; i < MAX_POINTS; i++)
		if (name == NULL || strcmp(faults->points[i].name, name) == 0)
			faults->points[i].action = JQ_FAULT_NONE;
	SpinLockRelease(&faults->mutex);
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(job_queue_fault_points);

/*
 * job_queue.fault_points()
 *		returns setof (name text, action text, value int, hits bigint,
 *					   waiting int)
 */
Datum
job_queue_fault_points(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	JqFaults copy;

	jq_fault_require_testing("fault_points()");
	SpinLockAcquire(&faults->mutex);
	memcpy(&copy, faults, sizeof(copy));
	SpinLockRelease(&faults->mutex);

	InitMaterializedSRF(fcinfo, 0);
	for (int i = 0; i < MAX_POINTS; i++)
	{
		JqFaultPoint *point = &copy.points[i];
		Datum values[5];
		bool nulls[5] = {false};

		if (point->action == JQ_FAULT_NONE)
			continue;
		values[0] = CStringGetTextDatum(point->name);
		values[1] = CStringGetTextDatum(action_names[point->action]);
		values[2] = Int32GetDatum(point->value);
		values[3] = Int64GetDatum(point->hits);
		values[4] = Int32GetDatum(point->waiting);
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
	return (Datum) 0;
}
