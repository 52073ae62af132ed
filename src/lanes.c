/*-------------------------------------------------------------------------
 *
 * lanes.c
 *		Ready jobs of one queue by priority: a double-ended list per priority.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "lanes.h"

static int32
take_chunk(JqLanes *lanes)
{
	int32 number = jq_chunk_take(lanes->nchunks);

	if (number != JQ_NO_CHUNK)
	{
		lanes->nchunks++;
		jq_chunk_get(number)->next = JQ_NO_CHUNK;
		jq_chunk_get(number)->prev = JQ_NO_CHUNK;
	}
	return number;
}

static void
give_chunk(JqLanes *lanes, int32 number)
{
	jq_chunk_give(number, lanes->nchunks);
	lanes->nchunks--;
}

/* Where the lane of a priority is, or would be. */
static int
lane_index(const JqLanes *lanes, int16 priority)
{
	int i = 0;

	while (i < lanes->nlanes && lanes->lane[i].priority < priority)
		i++;
	return i;
}

static void
remove_lane(JqLanes *lanes, int i)
{
	lanes->nlanes--;
	memmove(&lanes->lane[i],
			&lanes->lane[i + 1],
			sizeof(JqLane) * (lanes->nlanes - i));
}

/* Open a lane of one chunk, empty: the caller fills it at once. */
static bool
insert_lane(JqLanes *lanes, int i, int16 priority)
{
	int32 number;

	if (lanes->nlanes == JQ_MAX_LANES)
		return false;
	number = take_chunk(lanes);
	if (number == JQ_NO_CHUNK)
		return false;

	memmove(&lanes->lane[i + 1],
			&lanes->lane[i],
			sizeof(JqLane) * (lanes->nlanes - i));
	lanes->nlanes++;
	lanes->lane[i] =
		(JqLane){.head = number, .tail = number, .priority = priority};
	return true;
}

static bool
append(JqLanes *lanes, JqLane *lane, const JqReadyEntry *entry)
{
	if (lane->tail_entry == JQ_CHUNK_ENTRIES)
	{
		int32 number = take_chunk(lanes);

		if (number == JQ_NO_CHUNK)
			return false;
		jq_chunk_get(number)->prev = lane->tail;
		jq_chunk_get(lane->tail)->next = number;
		lane->tail = number;
		lane->tail_entry = 0;
	}
	jq_chunk_get(lane->tail)->entries[lane->tail_entry++] = *entry;
	return true;
}

static bool
prepend(JqLanes *lanes, JqLane *lane, const JqReadyEntry *entry)
{
	if (lane->head_entry == 0)
	{
		int32 number = take_chunk(lanes);

		if (number == JQ_NO_CHUNK)
			return false;
		jq_chunk_get(number)->next = lane->head;
		jq_chunk_get(lane->head)->prev = number;
		lane->head = number;
		lane->head_entry = JQ_CHUNK_ENTRIES;
	}
	jq_chunk_get(lane->head)->entries[--lane->head_entry] = *entry;
	return true;
}

bool
jq_lanes_add(JqLanes *lanes, const JqReadyEntry *entry, bool front)
{
	int i = lane_index(lanes, entry->priority);
	bool present =
		i < lanes->nlanes && lanes->lane[i].priority == entry->priority;
	bool added;

	if (!present)
	{
		if (!insert_lane(lanes, i, entry->priority))
			return false;
		front = false;
	}

	added = front ? prepend(lanes, &lanes->lane[i], entry)
				  : append(lanes, &lanes->lane[i], entry);
	if (added)
		lanes->nentries++;
	return added;
}

/* Take from the best lane what one chunk of it has. */
static int
take_from_head(JqLanes *lanes, JqReadyEntry *entries, int max)
{
	JqLane *lane = &lanes->lane[0];
	JqChunk *chunk = jq_chunk_get(lane->head);
	bool last = lane->head == lane->tail;
	int end = last ? lane->tail_entry : JQ_CHUNK_ENTRIES;
	int n = Min(max, end - lane->head_entry);

	memcpy(
		entries, &chunk->entries[lane->head_entry], sizeof(JqReadyEntry) * n);
	lane->head_entry = (int16) (lane->head_entry + n);
	lanes->nentries -= n;

	if (lane->head_entry == end)
	{
		int32 empty = lane->head;

		lane->head = chunk->next;
		lane->head_entry = 0;
		if (last)
			remove_lane(lanes, 0);
		else
			jq_chunk_get(lane->head)->prev = JQ_NO_CHUNK;
		give_chunk(lanes, empty);
	}
	return n;
}

int
jq_lanes_take(JqLanes *lanes, JqReadyEntry *entries, int max)
{
	int n = 0;

	while (n < max && lanes->nlanes > 0)
		n += take_from_head(lanes, entries + n, max - n);
	return n;
}

/* Throw out the last chunk of a lane. */
static void
evict_tail(JqLanes *lanes, int i, JqPosition *lowest)
{
	JqLane *lane = &lanes->lane[i];
	JqChunk *chunk = jq_chunk_get(lane->tail);
	bool only = lane->head == lane->tail;
	int32 evicted = lane->tail;
	int begin = only ? lane->head_entry : 0;

	for (int e = begin; e < lane->tail_entry; e++)
		*lowest = jq_position_min(*lowest, jq_position_of(&chunk->entries[e]));
	lanes->nentries -= lane->tail_entry - begin;

	lane->tail = chunk->prev;
	lane->tail_entry = JQ_CHUNK_ENTRIES;
	if (only)
		remove_lane(lanes, i);
	else
		jq_chunk_get(lane->tail)->next = JQ_NO_CHUNK;
	give_chunk(lanes, evicted);
}

bool
jq_lanes_evict(JqLanes *lanes, int16 priority, JqPosition *lowest)
{
	int before = lanes->nlanes;
	int worst = before - 1;

	if (before == 0 || lanes->lane[worst].priority <= priority)
		return false;

	/* When lanes are short a whole one must go, else a chunk is enough. */
	do
		evict_tail(lanes, worst, lowest);
	while (before == JQ_MAX_LANES && lanes->nlanes == before);
	return true;
}

void
jq_lanes_clear(JqLanes *lanes)
{
	JqPosition ignored = JQ_POSITION_END;

	while (lanes->nlanes > 0)
		evict_tail(lanes, lanes->nlanes - 1, &ignored);
}
