/*-------------------------------------------------------------------------
 *
 * lanes.h
 *		Ready jobs of one queue by priority: a double-ended list per priority.
 *
 * The caller holds the queue's lock.  Nothing here fails or allocates.
 *
 *-------------------------------------------------------------------------
 */
#ifndef JQ_LANES_H
#define JQ_LANES_H

#include "chunk.h"

/*
 * Place in the order of dispatch, which is that of the index
 * job_dispatch_idx within a queue.
 */
typedef struct JqPosition
{
	int32 priority;
	int64 job_id;
} JqPosition;

#define JQ_POSITION_START ((JqPosition){PG_INT32_MIN, PG_INT64_MIN})
#define JQ_POSITION_END ((JqPosition){PG_INT32_MAX, PG_INT64_MAX})

static inline bool
jq_position_before(JqPosition a, JqPosition b)
{
	return a.priority < b.priority ||
		   (a.priority == b.priority && a.job_id < b.job_id);
}

static inline JqPosition
jq_position_min(JqPosition a, JqPosition b)
{
	return jq_position_before(a, b) ? a : b;
}

static inline JqPosition
jq_position_of(const JqReadyEntry *entry)
{
	return (JqPosition){entry->priority, entry->job_id};
}

/* The jobs of one priority.  Never empty. */
typedef struct JqLane
{
	int32 head; /* first chunk */
	int32 tail; /* last chunk */
	int16 priority;
	int16 head_entry; /* first entry in head */
	int16 tail_entry; /* behind the last entry in tail */
} JqLane;

/*
 * More distinct priorities than this at a time are right but slower: the
 * worst wait in the table.
 */
#define JQ_MAX_LANES 16

typedef struct JqLanes
{
	int nlanes;
	int nchunks; /* taken from the pool */
	int64 nentries;
	JqLane lane[JQ_MAX_LANES]; /* best first */
} JqLanes;

/* Add a job at the end of its priority, or at its front.  False if full. */
extern bool jq_lanes_add(JqLanes *lanes, const JqReadyEntry *entry, bool front);

/* Take the best jobs, at most max.  Returns how many. */
extern int jq_lanes_take(JqLanes *lanes, JqReadyEntry *entries, int max);

/*
 * Throw out some of the worst jobs if they are of a worse priority than this.
 * Returns whether it did, and lowers *lowest to the first of them.
 */
extern bool jq_lanes_evict(JqLanes *lanes, int16 priority, JqPosition *lowest);

/* Throw out everything. */
extern void jq_lanes_clear(JqLanes *lanes);

#endif /* JQ_LANES_H */
