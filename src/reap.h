/*-------------------------------------------------------------------------
 *
 * reap.h
 *		What the maintenance worker does for jobs.
 *
 * Each function runs its own transactions and returns when it wants to run
 * next, by the extension's clock; DT_NOEND: when somebody wakes the worker.
 *
 *-------------------------------------------------------------------------
 */
#ifndef JQ_REAP_H
#define JQ_REAP_H

#include "datatype/timestamp.h"

/* Push scheduled jobs that are due to the ready index. */
extern TimestampTz jq_due_run(void);

/* Take jobs from workers whose lease has ended. */
extern TimestampTz jq_reap_run(void);

/* Write reported progress to the rows. */
extern TimestampTz jq_flush_run(void);

/* Partitions of the history, retention. */
extern TimestampTz jq_housekeeping_run(void);

#endif /* JQ_REAP_H */
