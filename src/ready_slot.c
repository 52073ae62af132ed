/*-------------------------------------------------------------------------
 *
 * ready_slot.c
 *		Slots of the ready index: where they are, and whose.
 *
 * A directory finds the slot of a queue.  Lock order: directory, then slot.
 * A slot's key changes only under both, so either is enough to rely on it.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "storage/shmem.h"

#include "guc.h"
#include "ready_slot.h"

typedef struct JqReadyDirectory
{
	int free;							/* first of the free slots */
	int buckets[FLEXIBLE_ARRAY_MEMBER]; /* first slot of each; max_queues */
} JqReadyDirectory;

static JqReadyDirectory *directory = NULL;
static JqReadySlot *slots = NULL;
static LWLockPadded *locks = NULL; /* the directory's, then one per slot */

#define DIRECTORY_LOCK (&locks[0].lock)
#define SLOT_LOCK(slot) (&locks[1 + ((slot) -slots)].lock)

static Size
directory_size(void)
{
	return MAXALIGN(add_size(offsetof(JqReadyDirectory, buckets),
							 mul_size(jq_max_queues, sizeof(int))));
}

static Size
slots_size(void)
{
	return mul_size(jq_max_queues, sizeof(JqReadySlot));
}

Size
jq_ready_shmem_size(void)
{
	Size size = add_size(directory_size(), slots_size());

	size = add_size(size, jq_chunk_shmem_size());
	return add_size(size, jq_waiter_shmem_size());
}

int
jq_ready_num_locks(void)
{
	return 1 + jq_max_queues;
}

void
jq_ready_shmem_init(LWLockPadded *my_locks, bool found)
{
	bool mine;

	jq_chunk_shmem_init(found);
	jq_waiter_shmem_init(found);
	locks = my_locks;
	directory = ShmemInitStruct("job_queue ready index",
								add_size(directory_size(), slots_size()),
								&mine);
	slots = (JqReadySlot *) ((char *) directory + directory_size());
	if (found)
		return;

	memset(directory, 0, add_size(directory_size(), slots_size()));
	directory->free = 0;
	for (int i = 0; i < jq_max_queues; i++)
	{
		directory->buckets[i] = JQ_NO_SLOT;
		slots[i].next = i + 1 < jq_max_queues ? i + 1 : JQ_NO_SLOT;
		ConditionVariableInit(&slots[i].scan_ended);
		jq_line_init(&slots[i].line);
	}
}

/*
 * Directory.
 */

static bool
same_key(const JqReadyKey *a, const JqReadyKey *b)
{
	return a->queue_id == b->queue_id && a->relation == b->relation &&
		   a->database == b->database;
}

static int *
bucket_of(const JqReadyKey *key)
{
	uint32 hash = hash_combine(murmurhash32(key->database ^ key->relation),
							   murmurhash32((uint32) key->queue_id));

	return &directory->buckets[hash % jq_max_queues];
}

/* Under the directory's lock. */
static int
find_slot(const JqReadyKey *key)
{
	int i = *bucket_of(key);

	while (i != JQ_NO_SLOT && !same_key(&slots[i].key, key))
		i = slots[i].next;
	return i;
}

JqReadySlot *
jq_ready_slot_lock(JqReadyRef *ref)
{
	JqReadySlot *slot;

	if (ref->slot != JQ_NO_SLOT)
	{
		slot = &slots[ref->slot];
		LWLockAcquire(SLOT_LOCK(slot), LW_EXCLUSIVE);
		if (same_key(&slot->key, &ref->key))
			return slot;
		LWLockRelease(SLOT_LOCK(slot));
	}

	LWLockAcquire(DIRECTORY_LOCK, LW_SHARED);
	ref->slot = find_slot(&ref->key);
	slot = ref->slot == JQ_NO_SLOT ? NULL : &slots[ref->slot];
	if (slot != NULL)
		LWLockAcquire(SLOT_LOCK(slot), LW_EXCLUSIVE);
	LWLockRelease(DIRECTORY_LOCK);
	return slot;
}

void
jq_ready_slot_unlock(JqReadySlot *slot)
{
	LWLockRelease(SLOT_LOCK(slot));
}

JqReadySlot *
jq_ready_slot_get(int slot_number)
{
	return &slots[slot_number];
}

void
jq_ready_slot_reset(JqReadySlot *slot, RelFileNumber file)
{
	jq_lanes_clear(&slot->lanes);
	slot->file = file;
	slot->complete = false;
	slot->position = JQ_POSITION_START;
	slot->low = JQ_POSITION_START;
}

bool
jq_ready_open(JqReadyRef *ref, bool *taken)
{
	JqReadySlot *slot = jq_ready_slot_lock(ref);
	int i;

	*taken = false;
	if (slot != NULL)
	{
		LWLockRelease(SLOT_LOCK(slot));
		return true;
	}

	LWLockAcquire(DIRECTORY_LOCK, LW_EXCLUSIVE);
	i = find_slot(&ref->key);
	if (i == JQ_NO_SLOT && directory->free != JQ_NO_SLOT)
	{
		int *bucket = bucket_of(&ref->key);

		*taken = true;
		i = directory->free;
		slot = &slots[i];
		LWLockAcquire(SLOT_LOCK(slot), LW_EXCLUSIVE);
		directory->free = slot->next;
		slot->key = ref->key;
		slot->next = *bucket;
		*bucket = i;
		jq_ready_slot_reset(slot, InvalidRelFileNumber);
		LWLockRelease(SLOT_LOCK(slot));
	}
	LWLockRelease(DIRECTORY_LOCK);

	ref->slot = i;
	return i != JQ_NO_SLOT;
}

/* Free a slot.  Under both locks; whoever waits in it looks again. */
static void
free_slot(JqReadySlot *slot)
{
	int *link = bucket_of(&slot->key);

	while (&slots[*link] != slot)
		link = &slots[*link].next;
	*link = slot->next;

	jq_lanes_clear(&slot->lanes);
	jq_line_dismiss(&slot->line);
	slot->key = (JqReadyKey){0};
	slot->scanning = false;
	slot->next = directory->free;
	directory->free = (int) (slot - slots);
}

void
jq_ready_forget(const JqReadyKey *key)
{
	int i;

	LWLockAcquire(DIRECTORY_LOCK, LW_EXCLUSIVE);
	i = find_slot(key);
	if (i != JQ_NO_SLOT)
	{
		LWLockAcquire(SLOT_LOCK(&slots[i]), LW_EXCLUSIVE);
		free_slot(&slots[i]);
		LWLockRelease(SLOT_LOCK(&slots[i]));
	}
	LWLockRelease(DIRECTORY_LOCK);
}

void
jq_ready_slot_for_each(Oid database, void (*action)(JqReadySlot *))
{
	if (directory == NULL)
		return;
	LWLockAcquire(DIRECTORY_LOCK, LW_EXCLUSIVE);
	for (int i = 0; i < jq_max_queues; i++)
	{
		if (slots[i].key.database != database)
			continue;
		LWLockAcquire(SLOT_LOCK(&slots[i]), LW_EXCLUSIVE);
		action(&slots[i]);
		LWLockRelease(SLOT_LOCK(&slots[i]));
	}
	LWLockRelease(DIRECTORY_LOCK);
}

void
jq_ready_forget_database(Oid database)
{
	jq_ready_slot_for_each(database, free_slot);
}

bool
jq_ready_inspect(int slot_number, JqReadyInfo *info)
{
	JqReadySlot *slot = &slots[slot_number];

	LWLockAcquire(SLOT_LOCK(slot), LW_SHARED);
	*info = (JqReadyInfo){
		.key = slot->key,
		.complete = slot->complete,
		.scanning = slot->scanning,
		.entries = slot->lanes.nentries,
		.position = slot->position,
		.waiters = slot->line.length,
	};
	LWLockRelease(SLOT_LOCK(slot));
	return OidIsValid(info->key.relation);
}
