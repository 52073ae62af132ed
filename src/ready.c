/*-------------------------------------------------------------------------
 *
 * ready.c
 *		The ready index: jobs that can be claimed, by queue, in shared memory.
 *
 * The invariant, which test/model/ready.pml checks: every committed waiting
 * row that is due is in the index, or owed to it by a transaction about to
 * push it or give it back, or at or after the position of an index that is
 * not complete.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "ready_slot.h"

/* Scan for more when fewer jobs than this are left. */
#define LOW_WATER 64

/* The scan that this process is in, if any. */
static bool scan_active = false;
static JqReadyRef scan_ref;
static uint32 scan_number;

/* The line that this process is in, if any. */
static bool in_line = false;
static JqReadyRef line_ref;

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
		jq_ready_slot_reset(slot, file);
}

void
jq_ready_push(JqReadyRef *ref, RelFileNumber file, const JqReadyEntry *entries,
			  int n, bool front)
{
	JqReadySlot *slot = jq_ready_slot_lock(ref);
	JqWakeList wake = {0};

	/* No slot: who takes one later scans the table from the start. */
	if (slot == NULL)
		return;
	use_file(slot, file);
	for (int i = 0; i < n; i++)
		place(slot, &entries[front ? n - 1 - i : i], front);
	jq_line_call(&slot->line, n, &wake);
	jq_ready_slot_unlock(slot);
	jq_wake_list_wake(&wake);
}

void
jq_ready_give_back(JqReadyRef *ref, RelFileNumber file,
				   const JqReadyEntry *entry)
{
	JqReadySlot *slot = jq_ready_slot_lock(ref);
	JqWakeList wake = {0};

	if (slot == NULL)
		return;
	/* The file may be that of a TRUNCATE rolled back with us. */
	if (slot->file != file)
		jq_ready_slot_reset(slot, InvalidRelFileNumber);
	place(slot, entry, true);
	jq_line_call(&slot->line, 1, &wake);
	jq_ready_slot_unlock(slot);
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
	JqReadySlot *slot = jq_ready_slot_lock(ref);

	if (slot == NULL)
		return;
	move_back(slot, position);
	jq_line_dismiss(&slot->line);
	jq_ready_slot_unlock(slot);
}

/* A queue's slot was freed under us: take another, to be filled by a scan. */
static bool
reopen(JqReadyRef *ref)
{
	bool taken;

	return jq_ready_open(ref, &taken);
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
	JqReadySlot *slot = jq_ready_slot_lock(ref);
	JqPopVerdict answer;

	*n = 0;
	if (slot == NULL)
		return reopen(ref) ? JQ_POP_REFILL : JQ_POP_EMPTY;
	use_file(slot, file);
	*n = jq_lanes_take(&slot->lanes, entries, max);
	answer = verdict(slot, *n == max);
	jq_ready_slot_unlock(slot);
	return answer;
}

/*
 * Refill.
 */

bool
jq_ready_scan_begin(JqReadyRef *ref, RelFileNumber file, JqPosition *from)
{
	JqReadySlot *slot = jq_ready_slot_lock(ref);

	if (slot == NULL)
		return false;
	use_file(slot, file);
	if (slot->complete || slot->scanning || slot->lanes.nentries >= LOW_WATER)
	{
		jq_ready_slot_unlock(slot);
		return false;
	}
	slot->scanning = true;
	slot->scan_from = slot->position;
	slot->low = JQ_POSITION_END;
	scan_active = true;
	scan_number = ++slot->scan_number;
	scan_ref = *ref;
	*from = slot->position;
	jq_ready_slot_unlock(slot);
	return true;
}

/* Not if the slot was freed meanwhile, and taken again. */
static bool
is_my_scan(const JqReadySlot *slot)
{
	return slot->scanning && slot->scan_number == scan_number;
}

bool
jq_ready_scan_add(const JqReadyEntry *entry)
{
	JqReadySlot *slot = jq_ready_slot_lock(&scan_ref);
	bool added;

	if (slot == NULL)
		return false;
	added = is_my_scan(slot) && jq_lanes_add(&slot->lanes, entry, false);
	jq_ready_slot_unlock(slot);
	return added;
}

void
jq_ready_scan_end(JqPosition end)
{
	JqReadySlot *slot = jq_ready_slot_lock(&scan_ref);
	ConditionVariable *ended;

	scan_active = false;
	if (slot == NULL)
		return;
	if (!is_my_scan(slot))
	{
		jq_ready_slot_unlock(slot);
		return;
	}
	slot->position = jq_position_min(slot->low, end);
	slot->complete = slot->position.priority == PG_INT32_MAX;
	slot->scanning = false;
	if (slot->lanes.nentries > 0 || !slot->complete)
		jq_line_dismiss(&slot->line);
	ended = &slot->scan_ended;
	jq_ready_slot_unlock(slot);
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
	JqReadySlot *slot = jq_ready_slot_lock(ref);
	bool scanning = false;

	if (slot != NULL)
	{
		scanning = slot->scanning && slot->lanes.nentries == 0;
		jq_ready_slot_unlock(slot);
	}
	return scanning;
}

void
jq_ready_scan_wait(JqReadyRef *ref)
{
	if (ref->slot == JQ_NO_SLOT)
		return;
	ConditionVariablePrepareToSleep(&jq_ready_slot_get(ref->slot)->scan_ended);
	while (is_scanning(ref))
		(void) ConditionVariableTimedSleep(
			&jq_ready_slot_get(ref->slot)->scan_ended, 100, PG_WAIT_EXTENSION);
	ConditionVariableCancelSleep();
}

/*
 * Waiting.
 */

JqWait
jq_ready_wait_begin(JqReadyRef *ref, RelFileNumber file, bool paused)
{
	JqReadySlot *slot = jq_ready_slot_lock(ref);
	JqWait answer = JQ_WAIT_IN_LINE;

	if (slot == NULL)
	{
		(void) reopen(ref);
		return JQ_WAIT_REFILL;
	}
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
	jq_ready_slot_unlock(slot);
	return answer;
}

bool
jq_ready_wait_end(void)
{
	JqReadySlot *slot = jq_ready_slot_lock(&line_ref);
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
	jq_ready_slot_unlock(slot);
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
	JqReadySlot *slot = jq_ready_slot_lock(ref);
	JqWakeList wake = {0};

	if (slot == NULL)
		return;
	if (slot->lanes.nentries > 0 || !slot->complete)
		jq_line_call(&slot->line, 1, &wake);
	jq_ready_slot_unlock(slot);
	jq_wake_list_wake(&wake);
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
	jq_ready_slot_for_each(database, dismiss_slot);
}

void
jq_ready_reset_database(Oid database)
{
	jq_ready_slot_for_each(database, reset_slot);
}
