/*-------------------------------------------------------------------------
 *
 * lease.c
 *		Leases and progress of running jobs, in shared memory.
 *
 * A hash table in partitions, each with its lock, its entries and its
 * buckets.  Entries never move.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "miscadmin.h"
#include "port/atomics.h"
#include "storage/shmem.h"
#include "utils/timestamp.h"

#include "clock.h"
#include "guc.h"
#include "lease.h"
#include "retry.h"

#define NUM_PARTITIONS 32
#define NO_ENTRY (-1)

/* How long recovery leaves a lease alone that it could not end. */
#define SPARE_US (USECS_PER_SEC / 2)

/* Protected by its partition's lock. */
typedef struct JqLeaseEntry
{
	bool used;
	int next; /* in its bucket, or among the free entries */
	JqLease lease;
} JqLeaseEntry;

/* Protected by its lock. */
typedef struct JqLeasePartition
{
	int free;  /* first of the free entries */
	int nused; /* entries in use */
	int high;  /* no entry from here on was ever used */
} JqLeasePartition;

static LWLockPadded *locks = NULL;
static pg_atomic_uint32 *any_dirty = NULL; /* has there been a report? */
static JqLeasePartition *partitions = NULL;
static int *buckets = NULL;			 /* per_partition() of each partition */
static JqLeaseEntry *entries = NULL; /* per_partition() of each partition */

static int
per_partition(void)
{
	return (jq_max_leases + NUM_PARTITIONS - 1) / NUM_PARTITIONS;
}

/* The partitions, and the flag behind them. */
static Size
partitions_size(void)
{
	return MAXALIGN(sizeof(JqLeasePartition) * NUM_PARTITIONS +
					sizeof(pg_atomic_uint32));
}

static Size
buckets_size(void)
{
	return MAXALIGN(
		mul_size(sizeof(int), mul_size(per_partition(), NUM_PARTITIONS)));
}

Size
jq_lease_shmem_size(void)
{
	Size size = add_size(partitions_size(), buckets_size());

	return add_size(size,
					mul_size(sizeof(JqLeaseEntry),
							 mul_size(per_partition(), NUM_PARTITIONS)));
}

int
jq_lease_num_locks(void)
{
	return NUM_PARTITIONS;
}

void
jq_lease_shmem_init(LWLockPadded *my_locks, bool found)
{
	bool mine;
	char *base =
		ShmemInitStruct("job_queue leases", jq_lease_shmem_size(), &mine);

	locks = my_locks;
	partitions = (JqLeasePartition *) base;
	any_dirty = (pg_atomic_uint32 *) &partitions[NUM_PARTITIONS];
	buckets = (int *) (base + partitions_size());
	entries = (JqLeaseEntry *) (base + partitions_size() + buckets_size());
	if (found)
		return;

	memset(base, 0, jq_lease_shmem_size());
	pg_atomic_init_u32(any_dirty, 0);
	for (int p = 0; p < NUM_PARTITIONS; p++)
	{
		int first = p * per_partition();

		partitions[p].free = first;
		for (int i = 0; i < per_partition(); i++)
		{
			buckets[first + i] = NO_ENTRY;
			entries[first + i].next =
				i + 1 < per_partition() ? first + i + 1 : NO_ENTRY;
		}
	}
}

/*
 * Hash table.
 */

static uint32
hash_of(Oid database, int64 job_id)
{
	return hash_combine(murmurhash32((uint32) job_id ^ (uint32) (job_id >> 32)),
						murmurhash32(database));
}

static int
partition_of(uint32 hash)
{
	return (int) (hash % NUM_PARTITIONS);
}

static int *
bucket_of(uint32 hash)
{
	return &buckets[partition_of(hash) * per_partition() +
					(hash / NUM_PARTITIONS) % per_partition()];
}

/* The entry of a job; NULL if it has none.  Under its partition's lock. */
static JqLeaseEntry *
find(uint32 hash, Oid database, int64 job_id)
{
	for (int i = *bucket_of(hash); i != NO_ENTRY; i = entries[i].next)
		if (entries[i].lease.job_id == job_id &&
			entries[i].lease.database == database)
			return &entries[i];
	return NULL;
}

/* A new entry for a hash; NULL if there is no room.  Under the lock. */
static JqLeaseEntry *
add(uint32 hash)
{
	JqLeasePartition *partition = &partitions[partition_of(hash)];
	int *bucket = bucket_of(hash);
	int i = partition->free;

	if (i == NO_ENTRY)
		return NULL;
	partition->free = entries[i].next;
	partition->nused++;
	partition->high = Max(partition->high, i % per_partition() + 1);
	entries[i].used = true;
	entries[i].next = *bucket;
	*bucket = i;
	return &entries[i];
}

/* Under the partition's lock. */
static void
discard(uint32 hash, JqLeaseEntry *entry)
{
	JqLeasePartition *partition = &partitions[partition_of(hash)];
	int *link = bucket_of(hash);

	while (&entries[*link] != entry)
		link = &entries[*link].next;
	*link = entry->next;
	entry->used = false;
	entry->next = partition->free;
	partition->free = (int) (entry - entries);
	partition->nused--;
}

/* Lock the partition of a job and find the entry with this very token. */
static JqLeaseEntry *
lock_and_find(Oid database, int64 job_id, int64 token, uint32 *hash)
{
	JqLeaseEntry *entry;

	*hash = hash_of(database, job_id);
	LWLockAcquire(&locks[partition_of(*hash)].lock, LW_EXCLUSIVE);
	entry = find(*hash, database, job_id);
	return entry != NULL && entry->lease.token == token ? entry : NULL;
}

static void
unlock(uint32 hash)
{
	LWLockRelease(&locks[partition_of(hash)].lock);
}

/*
 * Life of a lease.
 */

static bool
enter(const JqLease *lease, bool replace, bool *replaced)
{
	uint32 hash = hash_of(lease->database, lease->job_id);
	JqLeaseEntry *entry;

	LWLockAcquire(&locks[partition_of(hash)].lock, LW_EXCLUSIVE);
	entry = find(hash, lease->database, lease->job_id);
	*replaced = entry != NULL;
	if (entry == NULL || replace || entry->lease.token != lease->token)
	{
		if (entry == NULL)
			entry = add(hash);
		if (entry != NULL)
			entry->lease = *lease;
	}
	unlock(hash);
	return entry != NULL;
}

bool
jq_lease_enter(const JqLease *lease, bool *replaced)
{
	return enter(lease, true, replaced);
}

bool
jq_lease_adopt(const JqLease *lease)
{
	bool replaced;

	return enter(lease, false, &replaced);
}

/* Take over what is set.  Under the partition's lock. */
static void
merge(JqLease *lease, const JqProgress *news)
{
	JqProgress *progress = &lease->progress;

#define TAKE(field)                                                      \
	if (news->has_##field)                                               \
	{                                                                    \
		progress->has_##field = true;                                    \
		memcpy(&progress->field, &news->field, sizeof(progress->field)); \
	}
	TAKE(percent)
	TAKE(bytes_done)
	TAKE(bytes_total)
	TAKE(stage)
	TAKE(message)
#undef TAKE
	lease->version++;
	lease->dirty = true;
	pg_atomic_write_u32(any_dirty, 1);
}

JqBeat
jq_lease_beat(int64 job_id, int64 token, TimestampTz now, int64 lease_us,
			  const JqProgress *progress)
{
	uint32 hash;
	JqLeaseEntry *entry = lock_and_find(MyDatabaseId, job_id, token, &hash);
	JqBeat answer = JQ_BEAT_UNKNOWN;

	if (entry != NULL && (entry->lease.ending || entry->lease.deadline <= now))
		answer = JQ_BEAT_ENDING;
	else if (entry != NULL)
	{
		JqLease *lease = &entry->lease;

		lease->expires_at = jq_retry_lease_end(
			now, lease_us > 0 ? lease_us : lease->lease_us, lease->deadline);
		lease->beat_at = now;
		if (progress != NULL)
			merge(lease, progress);
		answer = lease->cancel_requested ? JQ_BEAT_CANCEL : JQ_BEAT_HELD;
	}
	unlock(hash);
	return answer;
}

bool
jq_lease_get(int64 job_id, int64 token, JqLease *copy)
{
	uint32 hash;
	JqLeaseEntry *entry = lock_and_find(MyDatabaseId, job_id, token, &hash);

	if (entry != NULL)
		*copy = entry->lease;
	unlock(hash);
	return entry != NULL;
}

void
jq_lease_remove(Oid database, int64 job_id, int64 token)
{
	uint32 hash;
	JqLeaseEntry *entry = lock_and_find(database, job_id, token, &hash);

	if (entry != NULL)
		discard(hash, entry);
	unlock(hash);
}

void
jq_lease_request_cancel(Oid database, int64 job_id, int64 token)
{
	uint32 hash;
	JqLeaseEntry *entry = lock_and_find(database, job_id, token, &hash);

	if (entry != NULL)
		entry->lease.cancel_requested = true;
	unlock(hash);
}

void
jq_lease_spare(int64 job_id, int64 token)
{
	uint32 hash;
	JqLeaseEntry *entry = lock_and_find(MyDatabaseId, job_id, token, &hash);

	if (entry != NULL && entry->lease.ending)
	{
		entry->lease.ending = false;
		entry->lease.spared_until = jq_now() + SPARE_US;
	}
	unlock(hash);
}

JqLeaseEnd
jq_lease_end(int64 job_id, int64 token, TimestampTz now, TimestampTz *end)
{
	uint32 hash;
	JqLeaseEntry *entry = lock_and_find(MyDatabaseId, job_id, token, &hash);
	JqLeaseEnd answer = JQ_LEASE_UNKNOWN;

	if (entry != NULL)
	{
		*end = entry->lease.expires_at;
		answer = *end > now ? JQ_LEASE_VALID : JQ_LEASE_ENDED;
		if (answer == JQ_LEASE_ENDED)
			entry->lease.ending = true;
	}
	unlock(hash);
	return answer;
}

void
jq_lease_mark_dirty(int64 job_id, int64 token)
{
	uint32 hash;
	JqLeaseEntry *entry = lock_and_find(MyDatabaseId, job_id, token, &hash);

	if (entry != NULL)
	{
		entry->lease.dirty = true;
		pg_atomic_write_u32(any_dirty, 1);
	}
	unlock(hash);
}

/*
 * Sweeps over all entries.
 */

bool
jq_lease_next_end(TimestampTz *next)
{
	bool found = false;

	for (int p = 0; p < NUM_PARTITIONS; p++)
	{
		int first = p * per_partition();

		if (partitions[p].nused == 0)
			continue;
		LWLockAcquire(&locks[p].lock, LW_SHARED);
		for (int i = first; i < first + partitions[p].high; i++)
			if (entries[i].used && !entries[i].lease.ending &&
				entries[i].lease.database == MyDatabaseId)
			{
				*next = Min(*next,
							Max(entries[i].lease.expires_at,
								entries[i].lease.spared_until));
				found = true;
			}
		LWLockRelease(&locks[p].lock);
	}
	return found;
}

/* Under the partition's lock. */
static int
collect_ended_in(int p, TimestampTz now, int32 queue_id, JqLeaseId *ended,
				 int max)
{
	int first = p * per_partition();
	int n = 0;

	for (int i = first; i < first + partitions[p].high && n < max; i++)
	{
		JqLease *lease = &entries[i].lease;

		if (!entries[i].used || lease->database != MyDatabaseId ||
			lease->ending || lease->expires_at > now ||
			lease->spared_until > now ||
			(queue_id != 0 && lease->queue_id != queue_id))
			continue;
		lease->ending = true;
		ended[n++] = (JqLeaseId){lease->job_id, lease->token};
	}
	return n;
}

int
jq_lease_collect_ended(TimestampTz now, int32 queue_id, JqLeaseId *ended,
					   int max)
{
	int n = 0;

	for (int p = 0; p < NUM_PARTITIONS; p++)
	{
		LWLockAcquire(&locks[p].lock, LW_EXCLUSIVE);
		if (partitions[p].nused > 0)
			n += collect_ended_in(p, now, queue_id, ended + n, max - n);
		LWLockRelease(&locks[p].lock);
	}
	return n;
}

/* Under the partition's lock. */
static int
collect_dirty_in(int p, JqLease *dirty, int max)
{
	int first = p * per_partition();
	int n = 0;

	for (int i = first; i < first + partitions[p].high && n < max; i++)
	{
		JqLease *lease = &entries[i].lease;

		if (!entries[i].used || !lease->dirty)
			continue;
		if (lease->database != MyDatabaseId)
		{
			/* for that database's worker */
			pg_atomic_write_u32(any_dirty, 1);
			continue;
		}
		lease->dirty = false;
		dirty[n++] = *lease;
	}
	return n;
}

bool
jq_lease_any_dirty(void)
{
	return pg_atomic_read_u32(any_dirty) != 0;
}

int
jq_lease_collect_dirty(JqLease *dirty, int max)
{
	int n = 0;

	/* Before the sweep: whoever reports behind it sets the flag again. */
	pg_atomic_write_u32(any_dirty, 0);
	for (int p = 0; p < NUM_PARTITIONS; p++)
	{
		LWLockAcquire(&locks[p].lock, LW_EXCLUSIVE);
		if (partitions[p].nused > 0)
			n += collect_dirty_in(p, dirty + n, max - n);
		LWLockRelease(&locks[p].lock);
	}
	return n;
}

void
jq_lease_forget_database(Oid database)
{
	if (locks == NULL)
		return;
	for (int p = 0; p < NUM_PARTITIONS; p++)
	{
		int first = p * per_partition();

		LWLockAcquire(&locks[p].lock, LW_EXCLUSIVE);
		for (int i = first; i < first + partitions[p].high; i++)
			if (entries[i].used && entries[i].lease.database == database)
				discard(hash_of(database, entries[i].lease.job_id),
						&entries[i]);
		LWLockRelease(&locks[p].lock);
	}
}
