/*-------------------------------------------------------------------------
 *
 * clock.c
 *		The extension's time: the wall clock, which tests can move.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fmgr.h"
#include "miscadmin.h"
#include "port/atomics.h"
#include "storage/shmem.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "clock.h"
#include "error.h"
#include "guc.h"

typedef struct JqClock
{
	TimestampTz epoch;		   /* set once, when shared memory is made */
	pg_atomic_uint64 ahead_us; /* signed microseconds ahead of the wall clock */
} JqClock;

static JqClock *shared_clock = NULL;

Size
jq_clock_shmem_size(void)
{
	return sizeof(JqClock);
}

void
jq_clock_shmem_init(bool found)
{
	bool mine;

	shared_clock = ShmemInitStruct("job_queue clock", sizeof(JqClock), &mine);
	if (found)
		return;
	shared_clock->epoch = GetCurrentTimestamp();
	pg_atomic_init_u64(&shared_clock->ahead_us, 0);
}

TimestampTz
jq_now(void)
{
	TimestampTz now = GetCurrentTimestamp();

	if (likely(!jq_testing) || shared_clock == NULL)
		return now;
	return now + (int64) pg_atomic_read_u64(&shared_clock->ahead_us);
}

TimestampTz
jq_clock_epoch(void)
{
	return shared_clock ? shared_clock->epoch : DT_NOBEGIN;
}

void
jq_clock_advance(int64 by_us)
{
	pg_atomic_fetch_add_u64(&shared_clock->ahead_us, by_us);
}

PG_FUNCTION_INFO_V1(job_queue_clock);

/* job_queue.clock() returns timestamptz: the extension's time. */
Datum
job_queue_clock(PG_FUNCTION_ARGS)
{
	PG_RETURN_TIMESTAMPTZ(jq_now());
}
