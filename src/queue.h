/*-------------------------------------------------------------------------
 *
 * queue.h
 *		Queues and their settings, cached in this backend.
 *
 *-------------------------------------------------------------------------
 */
#ifndef JQ_QUEUE_H
#define JQ_QUEUE_H

#include "args.h"
#include "ready.h"

typedef struct JqQueue
{
	int32 id;
	char name[JQ_MAX_NAME_BYTES + 1];
	int max_attempts;
	int64 lease_us;
	int64 job_timeout_us; /* 0: none */
	int64 max_depth;	  /* waiting jobs; 0: no limit */
	bool relaxed;		  /* claims need not wait for the disk */
	bool paused;
	JqReadyRef ready; /* slot is JQ_NO_SLOT until somebody claims */
} JqQueue;

/* Find a queue.  A copy: the cache may be dropped at any moment. */
extern bool jq_queue_find(const text *name, JqQueue *queue);
extern bool jq_queue_find_by_id(int32 id, JqQueue *queue);

/* Read settings anew: a change may be committed before we are told of it. */
extern void jq_queue_forget_cache(void);

/*
 * Find or make (*made) the ready index of a queue.  False if there is no room
 * for it, in shared memory that must be there.
 */
extern bool jq_queue_open_index(JqQueue *queue, bool *made);

/* The same as jq_queue_find, with error JQ003 if there is none. */
extern void jq_queue_get(const text *name, JqQueue *queue);

/* The same, creating it if job_queue.auto_create_queues allows. */
extern void jq_queue_get_or_create(const text *name, JqQueue *queue);

/*
 * Lock a queue until the end of the transaction: shared by those who enqueue,
 * exclusive for drop_queue.  Shared: false if it has been dropped meanwhile.
 */
extern bool jq_queue_lock_shared(const JqQueue *queue);
extern void jq_queue_lock_exclusive(int32 id);

#endif /* JQ_QUEUE_H */
