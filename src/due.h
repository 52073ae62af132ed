/*-------------------------------------------------------------------------
 *
 * due.h
 *		When scheduled jobs are due, and leases without an entry end.
 *
 * Per database: the horizon, up to which due jobs were moved to the ready
 * index, and the next instants at which the maintenance worker is needed.
 *
 * The horizon moves before the snapshot is taken with which the worker looks
 * for due jobs.  A commit that is not in that snapshot sees the new horizon
 * and pushes its jobs itself; so none falls between.
 *
 *-------------------------------------------------------------------------
 */
#ifndef JQ_DUE_H
#define JQ_DUE_H

#include "datatype/timestamp.h"

extern Size jq_due_shmem_size(void);
extern void jq_due_shmem_init(bool found);

/* A worker begins: let it find out what it is needed for. */
extern void jq_due_reset(int database_index);

/* Jobs with a run_at up to this are due.  Never before now. */
extern TimestampTz jq_due_horizon(int database_index);

/*
 * At commit: a job is to run at this time.  Returns true if it is due already
 * and must be pushed; else the worker is told.
 */
extern bool jq_due_arrive(int database_index, TimestampTz run_at);

/*
 * Move the horizon up to *horizon, which is raised to where it is if that is
 * later.  Returns up to where due jobs were moved before: the caller moves
 * those between, then says so, with the time of the first job after them.  If
 * it fails or dies before, the next call returns the same again.
 */
extern TimestampTz jq_due_advance(int database_index, TimestampTz *horizon);
extern void jq_due_finish(int database_index, TimestampTz horizon,
						  TimestampTz next);

/* When is the first scheduled job due? */
extern TimestampTz jq_due_next(int database_index);

/*
 * Leases without an entry: one ends at this time; when does the first; all
 * are looked at now (returns the first's end).
 */
extern void jq_due_unlisted_lease(int database_index, TimestampTz expires_at);
extern TimestampTz jq_due_unlisted_next(int database_index);
extern TimestampTz jq_due_unlisted_take(int database_index);

#endif /* JQ_DUE_H */
