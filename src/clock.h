/*-------------------------------------------------------------------------
 *
 * clock.h
 *		The extension's time: the wall clock, which tests can move.
 *
 *-------------------------------------------------------------------------
 */
#ifndef JQ_CLOCK_H
#define JQ_CLOCK_H

#include "datatype/timestamp.h"

/* Now.  Every time that job_queue takes comes from here. */
extern TimestampTz jq_now(void);

/* Move the time by so many microseconds, in all processes. */
extern void jq_clock_advance(int64 by_us);

/* Shared memory. */
extern Size jq_clock_shmem_size(void);
extern void jq_clock_shmem_init(bool found);

/*
 * When this server began to run jobs, after a start or a promotion: leases
 * that shared memory does not know count from then.  DT_NOBEGIN before that.
 */
extern TimestampTz jq_clock_epoch(void);

#endif /* JQ_CLOCK_H */
