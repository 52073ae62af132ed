/*-------------------------------------------------------------------------
 *
 * claim.h
 *		Claiming jobs.
 *
 *-------------------------------------------------------------------------
 */
#ifndef JQ_CLAIM_H
#define JQ_CLAIM_H

#include "fmgr.h"

#include "queue.h"

/* The arguments of a claim, checked. */
typedef struct JqClaimArgs
{
	JqQueue queue;
	int max_jobs;
	text *worker;
	int64 lease_us;
} JqClaimArgs;

/*
 * Read the arguments: queue, and from argument number "rest" on max_jobs,
 * worker, lease.
 */
extern void jq_claim_read_args(FunctionCallInfo fcinfo, int rest,
							   JqClaimArgs *args);

/* Claim, and return the set of claimed_job as the function's result. */
extern void jq_claim_into_result(FunctionCallInfo fcinfo, JqClaimArgs *args);

#endif /* JQ_CLAIM_H */
