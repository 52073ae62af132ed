/*-------------------------------------------------------------------------
 *
 * refill.h
 *		Filling a queue's ready index from the table.
 *
 *-------------------------------------------------------------------------
 */
#ifndef JQ_REFILL_H
#define JQ_REFILL_H

#include "ready.h"
#include "store.h"

/*
 * Scan the table in the order of dispatch for more ready jobs of a queue,
 * from where its index stops.  Does nothing if another process does it, or
 * if there is no need any more.
 */
extern void jq_refill(JqReadyRef *ready, JqJobTable *table, RelFileNumber file);

#endif /* JQ_REFILL_H */
