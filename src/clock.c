/*-------------------------------------------------------------------------
 *
 * clock.c
 *		The extension's time: the wall clock, which tests can move.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xlog.h"
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
	pg_atomic_uint64 epoch;	   /* 0 until the first use after recovery */
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
	pg_atomic_init_u64(&shared_clock->epoch, 0);
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

/*
 * Not the start of the server: a standby has been up for long when it is
 * promoted, and recovery may take its time.
 */
TimestampTz
jq_clock_epoch(void)
{
	uint64 unset = 0;

	if (shared_clock == NULL || RecoveryInProgress())
		return DT_NOBEGIN;
	if (pg_atomic_read_u64(&shared_clock->epoch) == 0)
		(void) pg_atomic_compare_exchange_u64(
			&shared_clock->epoch, &unset, (uint64) jq_now());
	return (TimestampTz) pg_atomic_read_u64(&shared_clock->epoch);
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
