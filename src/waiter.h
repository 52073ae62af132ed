/*-------------------------------------------------------------------------
 *
 * waiter.h
 *		Processes in line for the jobs of a queue.
 *
 * The caller holds the lock of the queue's slot, which embeds the line; one
 * process stands in one line at most.  Nothing here fails or allocates.
 *
 *-------------------------------------------------------------------------
 */
#ifndef JQ_WAITER_H
#define JQ_WAITER_H

#define JQ_NO_WAITER (-1)

/* First come, first served. */
typedef struct JqLine
{
	int first;
	int last;
	int length;
} JqLine;

/* Processes to wake once the lock is released. */
#define JQ_WAKE_BATCH 256
typedef struct JqWakeList
{
	int n;
	int procs[JQ_WAKE_BATCH];
} JqWakeList;

extern Size jq_waiter_shmem_size(void);
extern void jq_waiter_shmem_init(bool found);

extern void jq_line_init(JqLine *line);

/* Put this process at the end of the line. */
extern void jq_line_join(JqLine *line);

/* Leave the line, if still in it.  Returns whether this process was called. */
extern bool jq_line_leave(JqLine *line);

/* Call at most n from the front, as many as the list takes. */
extern void jq_line_call(JqLine *line, int n, JqWakeList *list);

/* Call everyone, at once: for a queue that goes. */
extern void jq_line_dismiss(JqLine *line);

/* Set the latches.  Without the lock. */
extern void jq_wake_list_wake(const JqWakeList *list);

#endif /* JQ_WAITER_H */
