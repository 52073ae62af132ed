/*-------------------------------------------------------------------------
 *
 * wait.c
 *		Waiting for jobs.
 *
 * A push wakes as many waiters as there are jobs.  One that was called, and
 * then ends without having claimed, passes the call on to the next in line.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "args.h"
#include "compat.h"
#include "database.h"
#include "error.h"
#include "queue.h"
#include "refill.h"
#include "shmem.h"
#include "store.h"
#include "wait.h"
#include "xact.h"

/* Inside a transaction block waiting holds back vacuum, so not for long. */
#define MAX_ATOMIC_US (5 * USECS_PER_SEC)

/* Look again after this, whatever happens: no lost call delays more. */
#define SLICE_MS 5000

/* The call that this process got and has not answered, if any. */
static bool have_call = false;
static JqReadyRef call_ref;

void
jq_wait_call_answered(const JqReadyRef *ref)
{
	if (have_call && ref->key.queue_id == call_ref.key.queue_id)
		have_call = false;
}

static void
pass_call_on(void)
{
	if (have_call)
		jq_ready_wake_one(&call_ref);
	have_call = false;
}

/* before_shmem_exit callback */
static void
pass_call_on_at_exit(int code, Datum arg)
{
	pass_call_on();
}

static void
note_call(const JqReadyRef *ref)
{
	static bool registered = false;

	if (!registered)
		before_shmem_exit(pass_call_on_at_exit, (Datum) 0);
	registered = true;
	have_call = true;
	call_ref = *ref;
}

/*
 * The queue's settings.  Who resumes it wakes us before the invalidation of our
 * cache is sent, so that of a paused one is not believed.
 */
static void
read_queue(const text *name, JqQueue *queue)
{
	jq_queue_get(name, queue);
	if (queue->paused)
	{
		jq_queue_forget_cache();
		jq_queue_get(name, queue);
	}
}

/* Are there jobs?  If not, this process is in line for them. */
static bool
look(const text *name, JqReadyRef *ready)
{
	JqQueue queue;
	JqWait answer;

	do
	{
		JqJobTable table;
		RelFileNumber file;
		bool made;

		CHECK_FOR_INTERRUPTS();
		read_queue(name, &queue);
		if (!jq_queue_open_index(&queue, &made))
			ereport(ERROR,
					errcode(JQ_ERRCODE_NO_SHARED_MEMORY),
					errmsg("no shared memory for queue \"%s\"", queue.name),
					errhint("Raise \"job_queue.max_queues\" and restart the "
							"server; the waiting jobs are kept."));
		if (made)
			jq_xact_owe_opened(&queue.ready);
		table = jq_store_open();
		file = jq_relation_file(table.rel);
		if (!queue.paused)
			jq_refill(&queue.ready, &table, file);
		answer = jq_ready_wait_begin(&queue.ready, file, queue.paused);
		jq_store_close(&table);
	} while (answer == JQ_WAIT_REFILL);

	*ready = queue.ready;
	return answer == JQ_WAIT_AVAILABLE;
}

/* Sleep in line until called, or until some time.  Returns whether called. */
static bool
sleep_in_line(TimestampTz until)
{
	long left_ms =
		TimestampDifferenceMilliseconds(GetCurrentTimestamp(), until);

	(void) WaitLatch(MyLatch,
					 WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
					 Min(left_ms, SLICE_MS),
					 PG_WAIT_EXTENSION);
	ResetLatch(MyLatch);
	CHECK_FOR_INTERRUPTS();
	return jq_ready_wait_end();
}

/*
 * Wait until there are jobs or the time is over.  Returns whether there are.
 *
 * Outside a transaction block each look is a transaction of its own, and while
 * this process sleeps it holds no snapshot and no lock.
 */
static bool
wait_for_jobs(const text *name, int64 timeout_us, bool atomic)
{
	TimestampTz until = GetCurrentTimestamp() +
						(atomic ? Min(timeout_us, MAX_ATOMIC_US) : timeout_us);
	JqReadyRef ready;

	pass_call_on();
	for (;;)
	{
		bool called;

		if (look(name, &ready))
		{
			note_call(&ready);
			return true;
		}
		if (!atomic)
			SPI_commit();
		called = sleep_in_line(until);
		if (!called && GetCurrentTimestamp() >= until)
			return false;
	}
}

static bool
is_atomic(FunctionCallInfo fcinfo)
{
	return fcinfo->context == NULL || !IsA(fcinfo->context, CallContext) ||
		   castNode(CallContext, fcinfo->context)->atomic;
}

PG_FUNCTION_INFO_V1(job_queue_wait_for_jobs);

/*
 * CALL job_queue.wait_for_jobs(queue text, timeout interval,
 *								INOUT available boolean)
 */
Datum
job_queue_wait_for_jobs(PG_FUNCTION_ARGS)
{
	text *name = jq_arg_name(fcinfo, 0, "queue", false);
	int64 timeout_us;
	bool atomic = is_atomic(fcinfo);
	TupleDesc desc;
	Datum value;
	bool isnull = false;

	jq_arg_require(fcinfo, 1, "timeout");
	timeout_us = jq_arg_interval(fcinfo, 1, "timeout", 0, 0);
	jq_shmem_require("job_queue.wait_for_jobs()");
	PreventCommandDuringRecovery("job_queue.wait_for_jobs()");
	(void) jq_database_index();
	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	BlessTupleDesc(desc);

	SPI_connect_ext(atomic ? 0 : SPI_OPT_NONATOMIC);
	value = BoolGetDatum(wait_for_jobs(name, timeout_us, atomic));
	SPI_finish();

	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(desc, &value, &isnull)));
}
