/*-------------------------------------------------------------------------
 *
 * ready.c
 *		The ready index: jobs that can be claimed, by queue, in shared memory.
 *
 * A directory finds the slot of a queue.  Lock order: directory, then slot.
 * A slot's key changes only under both, so either is enough to rely on it.
 *
 * The invariant, which test/model/ready.pml checks: every committed waiting
 * row that is due is in the index, or owed to it by a transaction about to
 * push it or give it back, or at or after the position of an index that is
 * not complete.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "storage/condition_variable.h"
#include "storage/shmem.h"

#include "guc.h"
#include "ready.h"
#include "waiter.h"

/* Scan for more when fewer jobs than this are left. */
#define LOW_WATER 64

typedef struct JqReadySlot
{
	JqReadyKey key; /* relation is InvalidOid if the slot is free */
	int next;		/* in its directory bucket, or among the free slots */

	/* Protected by the slot's lock, from here on. */
	RelFileNumber file; /* of the TIDs; InvalidRelFileNumber: none yet */
	bool complete;		/* the index has, or is owed, all that is ready */
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

typedef struct JqReadyDirectory
{
	int free;							/* first of the free slots */
	int buckets[FLEXIBLE_ARRAY_MEMBER]; /* first slot of each; max_queues */
} JqReadyDirectory;

static JqReadyDirectory *directory = NULL;
static JqReadySlot *slots = NULL;
static LWLockPadded *locks = NULL; /* the directory's, then one per slot */

/* The scan that this process is in, if any. */
static bool scan_active = false;
static JqReadyRef scan_ref;

/* The line that this process is in, if any. */
static bool in_line = false;
static JqReadyRef line_ref;

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

/* The slot of a queue, locked; NULL if it has none. */
static JqReadySlot *
lock_slot(JqReadyRef *ref)
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

/* Look at the whole table anew.  Under the slot's lock. */
static void
reset(JqReadySlot *slot, RelFileNumber file)
{
	jq_lanes_clear(&slot->lanes);
	slot->file = file;
	slot->complete = false;
	slot->position = JQ_POSITION_START;
	slot->low = JQ_POSITION_START;
}

bool
jq_ready_open(JqReadyRef *ref)
{
	JqReadySlot *slot = lock_slot(ref);
	int i;

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

		i = directory->free;
		slot = &slots[i];
		LWLockAcquire(SLOT_LOCK(slot), LW_EXCLUSIVE);
		directory->free = slot->next;
		slot->key = ref->key;
		slot->next = *bucket;
		*bucket = i;
		reset(slot, InvalidRelFileNumber);
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

/*
 * Entries in and out.
 */

/* Give a job its place in the index, or remember where to scan for it. */
static void
place(JqReadySlot *slot, const JqReadyEntry *entry, bool front)
{
	JqPosition here = jq_position_of(entry);

	if (slot->scanning)
	{
		/* What is behind the scan's begin it may see, or may have passed. */
		if (!jq_position_before(here, slot->scan_from) ||
			!jq_lanes_add(&slot->lanes, entry, front))
			slot->low = jq_position_min(slot->low, here);
		return;
	}
	if (!slot->complete && !jq_position_before(here, slot->position))
		return; /* a later scan, with a later snapshot, finds it */
	if (jq_lanes_add(&slot->lanes, entry, front))
		return;

	/* Full.  The worse of it and what is there waits in the table. */
	if (slot->complete)
		slot->position = JQ_POSITION_END;
	slot->complete = false;
	if (!jq_lanes_evict(&slot->lanes, entry->priority, &slot->position) ||
		!jq_lanes_add(&slot->lanes, entry, front))
		slot->position = jq_position_min(slot->position, here);
}

/* The TIDs to come belong to this file: forget those of another. */
static void
use_file(JqReadySlot *slot, RelFileNumber file)
{
	if (slot->file != file)
		reset(slot, file);
}

void
jq_ready_push(JqReadyRef *ref, RelFileNumber file, const JqReadyEntry *entries,
			  int n, bool front)
{
	JqReadySlot *slot = lock_slot(ref);
	JqWakeList wake = {0};

	/* No slot: who takes one later scans the table from the start. */
	if (slot == NULL)
		return;
	use_file(slot, file);
	for (int i = 0; i < n; i++)
		place(slot, &entries[front ? n - 1 - i : i], front);
	jq_line_call(&slot->line, n, &wake);
	LWLockRelease(SLOT_LOCK(slot));
	jq_wake_list_wake(&wake);
}

void
jq_ready_give_back(JqReadyRef *ref, RelFileNumber file,
				   const JqReadyEntry *entry)
{
	JqReadySlot *slot = lock_slot(ref);
	JqWakeList wake = {0};

	if (slot == NULL)
		return;
	/* The file may be that of a TRUNCATE rolled back with us. */
	if (slot->file != file)
		reset(slot, InvalidRelFileNumber);
	place(slot, entry, true);
	jq_line_call(&slot->line, 1, &wake);
	LWLockRelease(SLOT_LOCK(slot));
	jq_wake_list_wake(&wake);
}

/* Under the slot's lock. */
static void
move_back(JqReadySlot *slot, JqPosition position)
{
	if (slot->scanning)
		slot->low = jq_position_min(slot->low, position);
	else
	{
		if (slot->complete)
			slot->position = JQ_POSITION_END;
		slot->complete = false;
		slot->position = jq_position_min(slot->position, position);
	}
}

void
jq_ready_move_back(JqReadyRef *ref, JqPosition position)
{
	JqReadySlot *slot = lock_slot(ref);
	JqWakeList wake = {0};

	if (slot == NULL)
		return;
	move_back(slot, position);
	jq_line_call(&slot->line, slot->line.length, &wake);
	LWLockRelease(SLOT_LOCK(slot));
	jq_wake_list_wake(&wake);
}

/* What a claimer that wanted more than it got should do. */
static JqPopVerdict
verdict(const JqReadySlot *slot, bool satisfied)
{
	if (slot->complete && !slot->scanning)
		return satisfied || slot->lanes.nentries > 0 ? JQ_POP_ENOUGH
													 : JQ_POP_EMPTY;
	if (slot->scanning)
		return satisfied ? JQ_POP_ENOUGH : JQ_POP_SCANNING;
	return slot->lanes.nentries < LOW_WATER ? JQ_POP_REFILL : JQ_POP_ENOUGH;
}

JqPopVerdict
jq_ready_pop(JqReadyRef *ref, RelFileNumber file, JqReadyEntry *entries,
			 int max, int *n)
{
	JqReadySlot *slot = lock_slot(ref);
	JqPopVerdict answer;

	*n = 0;
	if (slot == NULL)
		return JQ_POP_EMPTY;
	use_file(slot, file);
	*n = jq_lanes_take(&slot->lanes, entries, max);
	answer = verdict(slot, *n == max);
	LWLockRelease(SLOT_LOCK(slot));
	return answer;
}

/*
 * Refill.
 */

bool
jq_ready_scan_begin(JqReadyRef *ref, RelFileNumber file, JqPosition *from)
{
	JqReadySlot *slot = lock_slot(ref);

	if (slot == NULL)
		return false;
	use_file(slot, file);
	if (slot->complete || slot->scanning || slot->lanes.nentries >= LOW_WATER)
	{
		LWLockRelease(SLOT_LOCK(slot));
		return false;
	}
	slot->scanning = true;
	slot->scan_from = slot->position;
	slot->low = JQ_POSITION_END;
	scan_active = true;
	scan_ref = *ref;
	*from = slot->position;
	LWLockRelease(SLOT_LOCK(slot));
	return true;
}

bool
jq_ready_scan_add(const JqReadyEntry *entry)
{
	JqReadySlot *slot = lock_slot(&scan_ref);
	bool added;

	if (slot == NULL)
		return false;
	added = jq_lanes_add(&slot->lanes, entry, false);
	LWLockRelease(SLOT_LOCK(slot));
	return added;
}

void
jq_ready_scan_end(JqPosition end)
{
	JqReadySlot *slot = lock_slot(&scan_ref);
	JqWakeList wake = {0};
	ConditionVariable *ended;

	scan_active = false;
	if (slot == NULL)
		return;
	slot->position = jq_position_min(slot->low, end);
	slot->complete = slot->position.priority == PG_INT32_MAX;
	slot->scanning = false;
	if (slot->lanes.nentries > 0 || !slot->complete)
		jq_line_call(&slot->line, slot->line.length, &wake);
	ended = &slot->scan_ended;
	LWLockRelease(SLOT_LOCK(slot));
	jq_wake_list_wake(&wake);
	ConditionVariableBroadcast(ended);
}

void
jq_ready_scan_abort(void)
{
	if (scan_active)
		jq_ready_scan_end(JQ_POSITION_START);
}

static bool
is_scanning(JqReadyRef *ref)
{
	JqReadySlot *slot = lock_slot(ref);
	bool scanning = false;

	if (slot != NULL)
	{
		scanning = slot->scanning && slot->lanes.nentries == 0;
		LWLockRelease(SLOT_LOCK(slot));
	}
	return scanning;
}

void
jq_ready_scan_wait(JqReadyRef *ref)
{
	if (ref->slot == JQ_NO_SLOT)
		return;
	ConditionVariablePrepareToSleep(&slots[ref->slot].scan_ended);
	while (is_scanning(ref))
		(void) ConditionVariableTimedSleep(
			&slots[ref->slot].scan_ended, 100, PG_WAIT_EXTENSION);
	ConditionVariableCancelSleep();
}

/*
 * Waiting.
 */

JqWait
jq_ready_wait_begin(JqReadyRef *ref, RelFileNumber file, bool paused)
{
	JqReadySlot *slot = lock_slot(ref);
	JqWait answer = JQ_WAIT_IN_LINE;

	if (slot == NULL)
		return JQ_WAIT_REFILL;
	use_file(slot, file);
	if (!paused && slot->lanes.nentries > 0)
		answer = JQ_WAIT_AVAILABLE;
	else if (!paused && !slot->complete && !slot->scanning)
		answer = JQ_WAIT_REFILL;
	else
	{
		jq_line_join(&slot->line);
		in_line = true;
		line_ref = *ref;
	}
	LWLockRelease(SLOT_LOCK(slot));
	return answer;
}

bool
jq_ready_wait_end(void)
{
	JqReadySlot *slot = lock_slot(&line_ref);
	JqLine nobody;
	bool called;

	in_line = false;
	if (slot == NULL)
	{
		/* The queue is gone, and everyone in its line was called. */
		jq_line_init(&nobody);
		return jq_line_leave(&nobody);
	}
	called = jq_line_leave(&slot->line);
	LWLockRelease(SLOT_LOCK(slot));
	return called;
}

void
jq_ready_wait_abort(void)
{
	if (in_line && jq_ready_wait_end())
		jq_ready_wake_one(&line_ref);
}

void
jq_ready_wake_one(JqReadyRef *ref)
{
	JqReadySlot *slot = lock_slot(ref);
	JqWakeList wake = {0};

	if (slot == NULL)
		return;
	if (slot->lanes.nentries > 0 || !slot->complete)
		jq_line_call(&slot->line, 1, &wake);
	LWLockRelease(SLOT_LOCK(slot));
	jq_wake_list_wake(&wake);
}

/*
 * Whole queues and databases.
 */

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

/* Do something with each slot of a database, both locks held. */
static void
for_each_slot(Oid database, void (*action)(JqReadySlot *))
{
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

static void
reset_slot(JqReadySlot *slot)
{
	move_back(slot, JQ_POSITION_START);
	jq_line_dismiss(&slot->line);
}

static void
dismiss_slot(JqReadySlot *slot)
{
	jq_line_dismiss(&slot->line);
}

void
jq_ready_wake_database(Oid database)
{
	for_each_slot(database, dismiss_slot);
}

void
jq_ready_reset_database(Oid database)
{
	if (directory != NULL)
		for_each_slot(database, reset_slot);
}

void
jq_ready_forget_database(Oid database)
{
	if (directory != NULL)
		for_each_slot(database, free_slot);
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
