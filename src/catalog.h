/*-------------------------------------------------------------------------
 *
 * catalog.h
 *		Our tables: their OIDs, cached, and the numbers of their columns.
 *
 *-------------------------------------------------------------------------
 */
#ifndef JQ_CATALOG_H
#define JQ_CATALOG_H

#include "nodes/execnodes.h"
#include "utils/relcache.h"

typedef enum JqRelation
{
	JQ_JOB,
	JQ_JOB_PKEY,
	JQ_JOB_DISPATCH_IDX,
	JQ_JOB_DUE_IDX,
	JQ_JOB_ID_SEQ,
	JQ_JOB_HISTORY,
	JQ_JOB_HISTORY_DEFAULT,
	JQ_QUEUE,
	JQ_QUEUE_PKEY,
	JQ_QUEUE_NAME_KEY,
	JQ_PIPELINE,
	JQ_PIPELINE_PKEY,
	JQ_NUM_RELATIONS
} JqRelation;

/* Columns of job, as sql/10_tables.sql lists them. */
typedef enum JqJobColumn
{
	Anum_job_id = 1,
	Anum_job_enqueued_at,
	Anum_job_queue_id,
	Anum_job_enqueued_by,
	Anum_job_max_attempts,
	Anum_job_attempt,
	Anum_job_priority,
	Anum_job_state,
	Anum_job_cancel_requested,
	Anum_job_lease_token,
	Anum_job_started_at,
	Anum_job_lease_expires_at,
	Anum_job_worker,
	Anum_job_progress,
	Anum_job_bytes_done,
	Anum_job_bytes_total,
	Anum_job_stage,
	Anum_job_message,
	Anum_job_run_at,
	Anum_job_job_timeout,
	Anum_job_lease,
	Anum_job_session_id,
	Anum_job_job_type,
	Anum_job_unique_key,
	Anum_job_user_id,
	Anum_job_pipeline,
	Anum_job_cancel_reason,
	Anum_job_metadata,
	Anum_job_payload,
	Natts_job = Anum_job_payload
} JqJobColumn;

/* Columns of job_history. */
typedef enum JqHistoryColumn
{
	Anum_history_id = 1,
	Anum_history_enqueued_at,
	Anum_history_finished_at,
	Anum_history_queue_id,
	Anum_history_enqueued_by,
	Anum_history_max_attempts,
	Anum_history_attempt,
	Anum_history_priority,
	Anum_history_status,
	Anum_history_cancel_requested,
	Anum_history_lease_token,
	Anum_history_started_at,
	Anum_history_worker,
	Anum_history_progress,
	Anum_history_bytes_done,
	Anum_history_bytes_total,
	Anum_history_stage,
	Anum_history_message,
	Anum_history_run_at,
	Anum_history_job_timeout,
	Anum_history_session_id,
	Anum_history_job_type,
	Anum_history_unique_key,
	Anum_history_user_id,
	Anum_history_pipeline,
	Anum_history_cancel_reason,
	Anum_history_error_code,
	Anum_history_error_message,
	Anum_history_error_retryable,
	Anum_history_error_details,
	Anum_history_result,
	Anum_history_metadata,
	Anum_history_payload,
	Natts_history = Anum_history_payload
} JqHistoryColumn;

/* Columns of queue. */
typedef enum JqQueueColumn
{
	Anum_queue_id = 1,
	Anum_queue_name,
	Anum_queue_max_attempts,
	Anum_queue_lease,
	Anum_queue_backoff_base,
	Anum_queue_backoff_factor,
	Anum_queue_backoff_max,
	Anum_queue_backoff_jitter,
	Anum_queue_job_timeout,
	Anum_queue_retention,
	Anum_queue_max_depth,
	Anum_queue_cleanup_queue,
	Anum_queue_claim_durability,
	Anum_queue_notify,
	Anum_queue_paused
} JqQueueColumn;

#define JQ_STATE_WAITING 'w'
#define JQ_STATE_RUNNING 'r'
#define JQ_STATUS_COMPLETED 'c'
#define JQ_STATUS_FAILED 'f'
#define JQ_STATUS_CANCELLED 'x'

/* Watch for changes of our tables.  From _PG_init only. */
extern void jq_catalog_register(void);

/* The OID of a table or index; error if the extension is not installed. */
extern Oid jq_catalog_oid(JqRelation relation);

/* The same for a table of the schema by its name; InvalidOid if none. */
extern Oid jq_catalog_lookup(const char *name);

/* Is the extension installed in this database? */
extern bool jq_catalog_installed(void);

/* A number that changes when the table queue or pipeline may have changed. */
extern uint64 jq_catalog_queue_generation(void);

/* An index of a table that C writes. */
typedef struct JqIndex
{
	Oid oid;
	IndexInfo *info;
	AttrNumber only_if_not_null; /* of a partial index; 0: all rows */
} JqIndex;

#define JQ_MAX_INDEXES 16

/* The indexes of a table that C writes. */
typedef struct JqIndexList
{
	Oid table;	/* InvalidOid: not valid */
	bool other; /* has indexes that C cannot maintain by itself */
	int n;
	JqIndex index[JQ_MAX_INDEXES];
} JqIndexList;

/* The indexes of an open table; kept until they change. */
extern const JqIndexList *jq_catalog_indexes(Relation table);

#endif /* JQ_CATALOG_H */
