/*-------------------------------------------------------------------------
 *
 * chunk.c
 *		The pool of memory chunks that ready indexes are made of.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "storage/shmem.h"
#include "storage/spin.h"

#include "chunk.h"
#include "guc.h"

/* One owner may have at most this part of the pool, its quota aside. */
#define LARGEST_SHARE 4

typedef struct JqChunkPool
{
	slock_t mutex; /* protects the fields below */
	int32 free;	   /* first of the free chunks */
	int nfree;	   /* how many are free */
	int nreserved; /* how many of them the open quotas of all owners need */
	int nchunks;   /* fixed at server start */
	int quota;	   /* fixed at server start */
} JqChunkPool;

static JqChunkPool *pool = NULL;
static JqChunk *chunks = NULL;

/* As many as ready_memory has, and one per queue in any case. */
static int
number_of_chunks(void)
{
	int wanted = jq_ready_memory_kb / (int) (sizeof(JqChunk) / 1024);

	return Max(wanted, jq_max_queues);
}

Size
jq_chunk_shmem_size(void)
{
	return add_size(MAXALIGN(sizeof(JqChunkPool)),
					mul_size(number_of_chunks(), sizeof(JqChunk)));
}

void
jq_chunk_shmem_init(bool found)
{
	bool mine;

	pool =
		ShmemInitStruct("job_queue ready chunks", jq_chunk_shmem_size(), &mine);
	chunks = (JqChunk *) ((char *) pool + MAXALIGN(sizeof(JqChunkPool)));
	if (found)
		return;

	SpinLockInit(&pool->mutex);
	pool->nchunks = number_of_chunks();
	pool->quota = pool->nchunks / jq_max_queues;
	pool->nfree = pool->nchunks;
	pool->nreserved = pool->quota * jq_max_queues;
	pool->free = 0;
	for (int i = 0; i < pool->nchunks; i++)
		chunks[i].next = i + 1 < pool->nchunks ? i + 1 : JQ_NO_CHUNK;
}

JqChunk *
jq_chunk_get(int32 number)
{
	return &chunks[number];
}

int32
jq_chunk_take(int used)
{
	int32 number = JQ_NO_CHUNK;
	bool within_quota = used < pool->quota;

	if (!within_quota && used >= pool->nchunks / LARGEST_SHARE)
		return JQ_NO_CHUNK;

	SpinLockAcquire(&pool->mutex);
	if (within_quota || pool->nfree > pool->nreserved)
	{
		number = pool->free;
		pool->free = chunks[number].next;
		pool->nfree--;
		if (within_quota)
			pool->nreserved--;
	}
	SpinLockRelease(&pool->mutex);

	return number;
}

void
jq_chunk_give(int32 number, int used)
{
	SpinLockAcquire(&pool->mutex);
	chunks[number].next = pool->free;
	pool->free = number;
	pool->nfree++;
	if (used <= pool->quota)
		pool->nreserved++;
	SpinLockRelease(&pool->mutex);
}
