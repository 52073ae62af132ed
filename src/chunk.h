/*-------------------------------------------------------------------------
 *
 * chunk.h
 *		The pool of memory chunks that ready indexes are made of.
 *
 * Every owner (a queue's slot) has a quota that no other can take from it;
 * beyond it chunks are lent while there are more than all open quotas need.
 *
 *-------------------------------------------------------------------------
 */
#ifndef JQ_CHUNK_H
#define JQ_CHUNK_H

#include "storage/itemptr.h"

/* A job that is ready, as a hint: the row is the truth. */
typedef struct JqReadyEntry
{
	int64 job_id;
	ItemPointerData tid; /* where the row's version was when it was pushed */
	int16 priority;
} JqReadyEntry;

#define JQ_NO_CHUNK (-1)
#define JQ_CHUNK_ENTRIES 127

/* 2 kB.  next and prev link the chunks of a lane, next the free ones. */
typedef struct JqChunk
{
	int32 next;
	int32 prev;
	int64 unused;
	JqReadyEntry entries[JQ_CHUNK_ENTRIES];
} JqChunk;

StaticAssertDecl(sizeof(JqReadyEntry) == 16, "a ready entry has 16 bytes");
StaticAssertDecl(sizeof(JqChunk) == 2048, "a chunk has 2 kB");

extern Size jq_chunk_shmem_size(void);
extern void jq_chunk_shmem_init(bool found);

/* The chunk of a number that jq_chunk_take returned. */
extern JqChunk *jq_chunk_get(int32 number);

/*
 * Take a chunk for an owner that has used so many, or give one back.  Take
 * returns JQ_NO_CHUNK when the pool has none to spare.  Neither fails.
 */
extern int32 jq_chunk_take(int used);
extern void jq_chunk_give(int32 number, int used);

#endif /* JQ_CHUNK_H */
