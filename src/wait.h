/*-------------------------------------------------------------------------
 *
 * wait.h
 *		Waiting for jobs.
 *
 *-------------------------------------------------------------------------
 */
#ifndef JQ_WAIT_H
#define JQ_WAIT_H

#include "ready.h"

/* This process claims from a queue: it has answered the call, if it had one. */
extern void jq_wait_call_answered(const JqReadyRef *ref);

#endif /* JQ_WAIT_H */
