/*-------------------------------------------------------------------------
 *
 * ready_slot.h
 *		Slots of the ready index: for ready.c and ready_slot.c alone.
 *
 *-------------------------------------------------------------------------
 */
#ifndef JQ_READY_SLOT_H
#define JQ_READY_SLOT_H

#include "storage/condition_variable.h"

#include "ready.h"
#include "waiter.h"

typedef struct JqReadySlot
{
	JqReadyKey key; /* relation is InvalidOid if the slot is free */
	int next;		/* in its directory bucket, or among the free slots */

	/* Protected by the slot's lock, from here on. */
	RelFileNumber file; /* of the TIDs; InvalidRelFileNumber: none yet */
	bool complete;		/* the index has, or is owed, all that is ready */
	uint32 scan_number; /* of the latest scan: only its own process ends it */
	bool scanning;		/* a process scans the table for more */
	JqPosition
		position; /* if not complete: the table may have more from here */
	JqPosition scan_from; /* if scanning: where the scan began */
	JqPosition
		low; /* if scanning: the first job that came and found no place */
	JqLanes lanes;
	JqLine line;
	ConditionVariable scan_ended;
} JqReadySlot;

/* The slot of a queue, locked; NULL if it has none. */
extern JqReadySlot *jq_ready_slot_lock(JqReadyRef *ref);
extern void jq_ready_slot_unlock(JqReadySlot *slot);

/* A slot by its number, not locked. */
extern JqReadySlot *jq_ready_slot_get(int slot_number);

/* Empty it, and look at the whole table anew.  Under its lock. */
extern void jq_ready_slot_reset(JqReadySlot *slot, RelFileNumber file);

/* Do something with each slot of a database, locked. */
extern void jq_ready_slot_for_each(Oid database, void (*action)(JqReadySlot *));

#endif /* JQ_READY_SLOT_H */
