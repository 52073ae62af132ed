/*-------------------------------------------------------------------------
 *
 * fault.h
 *		Fault points: named places at which tests make things go wrong.
 *
 * With job_queue.testing a superuser arms a point by name with an action:
 * error, wait (until disarmed), sleep (so many milliseconds), exit, kill
 * (SIGKILL of this process).  Otherwise a point costs a test of a variable.
 *
 *-------------------------------------------------------------------------
 */
#ifndef JQ_FAULT_H
#define JQ_FAULT_H

#include "guc.h"

#define JQ_FAULT(name)              \
	do                              \
	{                               \
		if (unlikely(jq_testing))   \
			jq_fault_reached(name); \
	} while (0)

/* Do what the point is armed for, if it is. */
extern void jq_fault_reached(const char *name);

/* Error unless a superuser calls, on a server with job_queue.testing. */
extern void jq_fault_require_testing(const char *what);

extern Size jq_fault_shmem_size(void);
extern void jq_fault_shmem_init(bool found);

#endif /* JQ_FAULT_H */
