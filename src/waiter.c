/*-------------------------------------------------------------------------
 *
 * waiter.c
 *		Processes in line for the jobs of a queue.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "storage/latch.h"
#include "storage/shmem.h"

#include "compat.h"
#include "waiter.h"

/* One per backend, at its proc number; protected by the line's lock. */
typedef struct JqWaiter
{
	int prev;
	int next;
	bool in_line;
	bool called;
} JqWaiter;

static JqWaiter *waiters = NULL;

/* Regular backends and background workers have the lowest numbers. */
static int
number_of_waiters(void)
{
	return MaxBackends;
}

Size
jq_waiter_shmem_size(void)
{
	return mul_size(number_of_waiters(), sizeof(JqWaiter));
}

void
jq_waiter_shmem_init(bool found)
{
	bool mine;

	waiters =
		ShmemInitStruct("job_queue waiters", jq_waiter_shmem_size(), &mine);
	if (!found)
		memset(waiters, 0, jq_waiter_shmem_size());
}

void
jq_line_init(JqLine *line)
{
	*line = (JqLine){.first = JQ_NO_WAITER, .last = JQ_NO_WAITER};
}

void
jq_line_join(JqLine *line)
{
	int me = jq_my_proc_number();

	waiters[me] =
		(JqWaiter){.prev = line->last, .next = JQ_NO_WAITER, .in_line = true};
	if (line->last == JQ_NO_WAITER)
		line->first = me;
	else
		waiters[line->last].next = me;
	line->last = me;
	line->length++;
}

static void
unlink_waiter(JqLine *line, int number)
{
	JqWaiter *waiter = &waiters[number];

	if (waiter->prev == JQ_NO_WAITER)
		line->first = waiter->next;
	else
		waiters[waiter->prev].next = waiter->next;
	if (waiter->next == JQ_NO_WAITER)
		line->last = waiter->prev;
	else
		waiters[waiter->next].prev = waiter->prev;
	waiter->in_line = false;
	line->length--;
}

bool
jq_line_leave(JqLine *line)
{
	JqWaiter *waiter = &waiters[jq_my_proc_number()];
	bool called = waiter->called;

	if (waiter->in_line)
		unlink_waiter(line, jq_my_proc_number());
	waiter->called = false;
	return called;
}

void
jq_line_call(JqLine *line, int n, JqWakeList *list)
{
	while (n-- > 0 && line->length > 0 && list->n < JQ_WAKE_BATCH)
	{
		int number = line->first;

		unlink_waiter(line, number);
		waiters[number].called = true;
		list->procs[list->n++] = number;
	}
}

void
jq_line_dismiss(JqLine *line)
{
	while (line->length > 0)
	{
		JqWakeList list = {0};

		jq_line_call(line, line->length, &list);
		jq_wake_list_wake(&list);
	}
}

void
jq_wake_list_wake(const JqWakeList *list)
{
	for (int i = 0; i < list->n; i++)
		SetLatch(&GetPGProcByNumber(list->procs[i])->procLatch);
}
