/*-------------------------------------------------------------------------
 *
 * guc.h
 *		Settings.
 *
 *-------------------------------------------------------------------------
 */
#ifndef JQ_GUC_H
#define JQ_GUC_H

/* Sizes of shared memory, fixed at server start. */
extern int jq_max_queues;
extern int jq_max_leases;
extern int jq_max_databases;
extern int jq_ready_memory_kb;

/* Behaviour. */
extern bool jq_testing;
extern bool jq_auto_create_queues;
extern int jq_max_payload_bytes;
extern int jq_history_partition_ahead;
extern char *jq_user_id;

/* Define all settings.  Called once, from _PG_init. */
extern void jq_guc_define(void);

#endif /* JQ_GUC_H */
