/*-------------------------------------------------------------------------
 *
 * lease.h
 *		Leases and progress of running jobs, in shared memory.
 *
 * A claim is durable in the job's row.  Here is what changes often: until
 * when the lease runs, and how far the job is.  When there is no entry (after
 * a restart, or when max_leases are in use) the row's own end counts.
 *
 * Nothing here allocates.  remove and request_cancel may be called from
 * transaction callbacks.
 *
 *-------------------------------------------------------------------------
 */
#ifndef JQ_LEASE_H
#define JQ_LEASE_H

#include "datatype/timestamp.h"
#include "storage/itemptr.h"
#include "storage/lwlock.h"

#define JQ_LEASE_STAGE_BYTES 256
#define JQ_LEASE_MESSAGE_BYTES 192

/* What a worker reports.  Fields that are not set stay as they are. */
typedef struct JqProgress
{
	bool has_percent;
	bool has_bytes_done;
	bool has_bytes_total;
	bool has_stage;
	bool has_message;
	double percent;
	int64 bytes_done;
	int64 bytes_total;
	char stage[JQ_LEASE_STAGE_BYTES];	  /* cut at a character's border */
	char message[JQ_LEASE_MESSAGE_BYTES]; /* the same */
} JqProgress;

typedef struct JqLease
{
	int64 job_id;
	int64 token;
	Oid database;
	int32 queue_id;
	ItemPointerData tid; /* of the running row, as a hint */
	bool cancel_requested;
	bool ending;	/* recovery is about to take the job away */
	bool dirty;		/* progress not yet in the row */
	int64 lease_us; /* length of the lease, as claimed */
	TimestampTz expires_at;
	TimestampTz deadline; /* end of the attempt by job_timeout, or DT_NOEND */
	TimestampTz beat_at;  /* last sign of life */
	TimestampTz spared_until; /* recovery does not try again before */
	int64 version;			  /* grows with each report */
	JqProgress progress;
} JqLease;

typedef enum JqBeat
{
	JQ_BEAT_HELD,
	JQ_BEAT_CANCEL, /* held, and the worker is asked to stop */
	JQ_BEAT_ENDING, /* recovery takes the job away, or is about to */
	JQ_BEAT_UNKNOWN /* no such entry: ask the row */
} JqBeat;

extern Size jq_lease_shmem_size(void);
extern int jq_lease_num_locks(void);
extern void jq_lease_shmem_init(LWLockPadded *locks, bool found);

/*
 * Enter a lease, in the place of an older one of the same job, if it has one
 * (*replaced).  False if there is no room: then the row's lease counts.
 */
extern bool jq_lease_enter(const JqLease *lease, bool *replaced);

/* Enter a lease found in a row, unless it has an entry already. */
extern bool jq_lease_adopt(const JqLease *lease);

/*
 * A sign of life: the lease now runs for lease_us from now, or for its own
 * length if lease_us is 0.  progress may be NULL.
 */
extern JqBeat jq_lease_beat(int64 job_id, int64 token, TimestampTz now,
							int64 lease_us, const JqProgress *progress);

/* Copy an entry of this database.  False if there is none. */
extern bool jq_lease_get(int64 job_id, int64 token, JqLease *copy);

/* Forget a lease. */
extern void jq_lease_remove(Oid database, int64 job_id, int64 token);

/* The worker is to be told at its next call. */
extern void jq_lease_request_cancel(Oid database, int64 job_id, int64 token);

/*
 * When does the first lease of this database end?  False if there is none.
 * Lowers *next.
 */
extern bool jq_lease_next_end(TimestampTz *next);

/*
 * Collect leases of this database that have ended, of one queue or (0) of
 * all, at most max, and note it:
 * from now on their workers are refused, until jq_lease_spare.
 */
typedef struct JqLeaseId
{
	int64 job_id;
	int64 token;
} JqLeaseId;

extern int jq_lease_collect_ended(TimestampTz now, int32 queue_id,
								  JqLeaseId *ended, int max);

/*
 * End a lease, if it has run out: from now on its worker is refused, until
 * jq_lease_spare.
 */
typedef enum JqLeaseEnd
{
	JQ_LEASE_ENDED,
	JQ_LEASE_VALID,
	JQ_LEASE_UNKNOWN, /* no such entry */
} JqLeaseEnd;

extern JqLeaseEnd jq_lease_end(int64 job_id, int64 token, TimestampTz now,
							   TimestampTz *end);

/* Recovery did not take this job away after all; it may try again later. */
extern void jq_lease_spare(int64 job_id, int64 token);

/*
 * Collect leases of this database whose progress is not in the row yet, and
 * is there any, in any database?
 */
extern bool jq_lease_any_dirty(void);
extern int jq_lease_collect_dirty(JqLease *dirty, int max);

/* What was collected could not be written: it is not in the row yet. */
extern void jq_lease_mark_dirty(int64 job_id, int64 token);

/* A database is gone. */
extern void jq_lease_forget_database(Oid database);

#endif /* JQ_LEASE_H */
