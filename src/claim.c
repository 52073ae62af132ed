/*-------------------------------------------------------------------------
 *
 * claim.c
 *		Claiming jobs: from the ready index to running rows.
 *
 * A claim pops hints, and for each fetches the row, checks it, and writes its
 * running version without waiting for anyone.  A hint that no longer holds is
 * dropped: whoever changed the row owes its next hint.  An abort gives back
 * what was popped.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/timestamp.h"

#include "args.h"
#include "claim.h"
#include "clock.h"
#include "database.h"
#include "due.h"
#include "error.h"
#include "fault.h"
#include "lease.h"
#include "owner.h"
#include "refill.h"
#include "retry.h"
#include "shmem.h"
#include "store.h"
#include "token.h"
#include "wait.h"
#include "xact.h"

#define MAX_CLAIM 10000

/* Hints popped at a time. */
#define POP_BATCH 128

/* Columns of the type claimed_job. */
#define NUM_CLAIMED_COLUMNS 18

typedef struct ClaimState
{
	JqClaimArgs *args;
	JqJobTable table;
	RelFileNumber file;
	TimestampTz now;
	TimestampTz horizon; /* jobs with a run_at up to this are due */
	ReturnSetInfo *result;
	int claimed;
} ClaimState;

/*
 * The last columns of claimed_job, for jobs that have completed a stage.
 */

typedef struct ResumePoint
{
	Datum values[3]; /* stage, completed_stages, checkpoint */
	bool nulls[3];
} ResumePoint;

/*
 * keep_from names the first stage after which output is kept: until it is
 * completed a new attempt starts afresh, and the stage is null.
 */
static const char resume_sql[] =
	"SELECT CASE WHEN p.keep_from IS NULL"
	"            OR p.keep_from OPERATOR(pg_catalog.=) ANY (c.stages)"
	"       THEN c.stages[pg_catalog.cardinality(c.stages)] END,"
	"       c.stages, c.states"
	"  FROM (SELECT pg_catalog.array_agg(stage ORDER BY position) AS stages,"
	"               pg_catalog.jsonb_object_agg(stage, state) AS states"
	"          FROM job_queue.checkpoint"
	"         WHERE job_id OPERATOR(pg_catalog.=) $1) c"
	"  LEFT JOIN job_queue.pipeline p"
	"    ON p.name OPERATOR(pg_catalog.=) $2"
	" WHERE c.stages IS NOT NULL";

/* Where an earlier attempt got to.  Allocated in the caller's context. */
static void
find_resume_point(const JqRow *row, ResumePoint *point)
{
	static JqStatement find = {
		.sql = resume_sql,
		.expected = SPI_OK_SELECT,
		.nargs = 2,
		.types = {INT8OID, TEXTOID},
	};
	Datum values[2] = {JQ_ROW(row, id), JQ_ROW(row, pipeline)};
	char nulls[3] = {' ', JQ_ROW_IS_NULL(row, pipeline) ? 'n' : ' ', '\0'};

	memset(point->nulls, true, sizeof(point->nulls));
	SPI_connect();
	if (jq_owner_run(&find, values, nulls, 1) == 1)
		for (int i = 0; i < 3; i++)
		{
			Datum value = SPI_getbinval(SPI_tuptable->vals[0],
										SPI_tuptable->tupdesc,
										i + 1,
										&point->nulls[i]);

			if (!point->nulls[i])
				point->values[i] = SPI_datumTransfer(value, false, -1);
		}
	SPI_finish();
}

/*
 * One job.
 */

static Datum
microseconds_interval(int64 us)
{
	Interval *interval = palloc0(sizeof(Interval));

	interval->time = us;
	return IntervalPGetDatum(interval);
}

/* Add a claimed job to the result. */
static void
emit(ClaimState *state, const JqRow *row)
{
	Datum values[NUM_CLAIMED_COLUMNS];
	bool nulls[NUM_CLAIMED_COLUMNS] = {false};
	ResumePoint point = {{0}, {true, true, true}};
	int i = 0;

#define EMIT(column)                         \
	(values[i] = JQ_ROW(row, column),        \
	 nulls[i] = JQ_ROW_IS_NULL(row, column), \
	 i++)
	EMIT(id);
	values[i++] = CStringGetTextDatum(state->args->queue.name);
	EMIT(job_type);
	EMIT(payload);
	EMIT(metadata);
	values[i++] = Int32GetDatum(DatumGetInt16(JQ_ROW(row, priority)));
	EMIT(attempt);
	EMIT(max_attempts);
	EMIT(lease_token);
	EMIT(lease_expires_at);
	EMIT(enqueued_at);
	EMIT(session_id);
	EMIT(user_id);
	EMIT(pipeline);
	if (!JQ_ROW_IS_NULL(row, stage))
		find_resume_point(row, &point);
	for (int p = 0; p < 3; p++, i++)
	{
		values[i] = point.values[p];
		nulls[i] = point.nulls[p];
	}
	EMIT(job_timeout);
	if (nulls[i - 1] && state->args->queue.job_timeout_us > 0)
	{
		values[i - 1] =
			microseconds_interval(state->args->queue.job_timeout_us);
		nulls[i - 1] = false;
	}
#undef EMIT

	tuplestore_putvalues(
		state->result->setResult, state->result->setDesc, values, nulls);
}

/* When this attempt must end at the latest; DT_NOEND if it need not. */
static TimestampTz
deadline(const ClaimState *state, const JqRow *row)
{
	int64 timeout_us = state->args->queue.job_timeout_us;

	if (!JQ_ROW_IS_NULL(row, job_timeout))
		timeout_us =
			jq_interval_us(DatumGetIntervalP(JQ_ROW(row, job_timeout)));
	return timeout_us > 0 ? state->now + timeout_us : DT_NOEND;
}

/*
 * Is a job due?  One that became due since the claim began may have been
 * pushed, and popped by us: then the horizon has moved meanwhile.
 */
static bool
is_due(ClaimState *state, const JqRow *row)
{
	TimestampTz run_at = DatumGetTimestampTz(JQ_ROW(row, run_at));

	if (JQ_ROW_IS_NULL(row, run_at) || run_at <= state->horizon)
		return true;
	state->horizon = jq_due_horizon(jq_database_index());
	return run_at <= state->horizon;
}

static bool
is_claimable(ClaimState *state, const JqRow *row)
{
	return DatumGetChar(JQ_ROW(row, state)) == JQ_STATE_WAITING &&
		   DatumGetInt32(JQ_ROW(row, queue_id)) == state->args->queue.id &&
		   is_due(state, row);
}

/* Turn a waiting row into a running one. */
static void
make_running(const ClaimState *state, JqRow *row, JqLease *lease)
{
	int max_attempts = DatumGetInt32(JQ_ROW(row, max_attempts));
	int attempt = DatumGetInt32(JQ_ROW(row, attempt)) + 1;

	*lease = (JqLease){
		.job_id = DatumGetInt64(JQ_ROW(row, id)),
		.token = jq_token_new(),
		.database = MyDatabaseId,
		.queue_id = state->args->queue.id,
		.lease_us = state->args->lease_us,
		.deadline = deadline(state, row),
		.beat_at = state->now,
	};
	lease->expires_at =
		jq_retry_lease_end(state->now, lease->lease_us, lease->deadline);

	JQ_ROW_SET(row, state, CharGetDatum(JQ_STATE_RUNNING));
	JQ_ROW_SET(row, attempt, Int32GetDatum(Min(attempt, max_attempts)));
	JQ_ROW_SET(row, lease_token, Int64GetDatum(lease->token));
	JQ_ROW_SET(row, started_at, TimestampTzGetDatum(state->now));
	JQ_ROW_SET(row, lease_expires_at, TimestampTzGetDatum(lease->expires_at));
	if (state->args->worker != NULL)
		JQ_ROW_SET(row, worker, PointerGetDatum(state->args->worker));
}

/* Is the row locked by somebody who does not change it? */
static bool
is_only_locked(JqRow *row)
{
	uint16 infomask = row->tuple->t_data->t_infomask;

	return (infomask & HEAP_XMAX_INVALID) == 0 &&
		   HEAP_XMAX_IS_LOCKED_ONLY(infomask);
}

/* The lease of a job just claimed goes to shared memory, if there is room. */
static void
enter_lease(JqLease *lease, const JqRow *row)
{
	bool replaced;

	lease->tid = row->tuple->t_self;
	if (jq_lease_enter(lease, &replaced))
	{
		jq_xact_owe_lease(
			lease->job_id, lease->token, lease->expires_at, replaced);
		jq_database_wake_at(jq_database_index(), lease->expires_at);
	}
	else
		jq_xact_owe_unlisted(lease->expires_at);
}

/* Claim the job of a hint.  False if the hint does not hold. */
static bool
claim_one(ClaimState *state, const JqReadyEntry *entry)
{
	JqRow row;
	JqLease lease;
	TM_Result result;

	for (;;)
	{
		if (!jq_store_fetch(&state->table, &entry->tid, entry->job_id, &row) ||
			!is_claimable(state, &row))
			return false;

		JQ_FAULT("claim-before-update");
		make_running(state, &row, &lease);
		result = jq_store_update(&state->table, &row, false);
		if (result == TM_Ok)
			break;
		if (result == TM_SelfModified)
			return false; /* this very command has dealt with it */

		/*
		 * Who changes the row owes its next hint.  Who only locks it does
		 * not: then we owe it.  If neither is there any more, look again.
		 */
		if (!jq_store_fetch(&state->table, &entry->tid, entry->job_id, &row))
			return false;
		if (is_only_locked(&row))
		{
			jq_xact_owe_push(&state->args->queue.ready,
							 state->file,
							 entry,
							 DT_NOBEGIN,
							 false);
			return false;
		}
		if (result == TM_BeingModified &&
			(row.tuple->t_data->t_infomask & HEAP_XMAX_INVALID) == 0)
			return false;
		CHECK_FOR_INTERRUPTS();
	}

	enter_lease(&lease, &row);
	JQ_FAULT("claim-after-update");
	emit(state, &row);
	return true;
}

/*
 * Many jobs.
 */

/* Pop some hints and claim what they point to. */
static JqPopVerdict
claim_batch(ClaimState *state, int *popped)
{
	JqReadyEntry entries[POP_BATCH];
	JqReadyRef *ready = &state->args->queue.ready;
	int wanted = Min(state->args->max_jobs - state->claimed, POP_BATCH);
	JqPopVerdict verdict;

	/* Per job: popped, its lease, and perhaps another push. */
	jq_xact_reserve(3 * wanted);
	verdict = jq_ready_pop(ready, state->file, entries, wanted, popped);
	for (int i = 0; i < *popped; i++)
		jq_xact_owe_popped(ready, state->file, &entries[i]);

	JQ_FAULT("claim-after-pop");
	for (int i = 0; i < *popped; i++)
		if (claim_one(state, &entries[i]))
			state->claimed++;
	CHECK_FOR_INTERRUPTS();
	return verdict;
}

/* Claim until there are enough jobs, or no more. */
static void
claim_all(ClaimState *state)
{
	while (state->claimed < state->args->max_jobs)
	{
		int popped;

		switch (claim_batch(state, &popped))
		{
			case JQ_POP_EMPTY:
				return;
			case JQ_POP_ENOUGH:
				if (popped == 0)
					return;
				break;
			case JQ_POP_REFILL:
				jq_refill(
					&state->args->queue.ready, &state->table, state->file);
				break;
			case JQ_POP_SCANNING:
				if (state->claimed > 0)
					return;
				jq_ready_scan_wait(&state->args->queue.ready);
				break;
		}
	}
}

/* The queue's slot must be there: JQ010 if all are in use. */
static void
require_slot(JqQueue *queue)
{
	bool made;

	if (!jq_queue_open_index(queue, &made))
		ereport(ERROR,
				errcode(JQ_ERRCODE_NO_SHARED_MEMORY),
				errmsg("no shared memory for queue \"%s\"", queue->name),
				errdetail("%d queues are in use.", jq_max_queues),
				errhint("Raise \"job_queue.max_queues\" and restart the "
						"server; the waiting jobs are kept."));
	if (made)
		jq_xact_owe_opened(&queue->ready);
}

/* Claim into the prepared result. */
static void
claim_jobs(JqClaimArgs *args, ReturnSetInfo *result)
{
	ClaimState state = {.args = args, .result = result};

	if (args->queue.paused)
		return;
	require_slot(&args->queue);
	(void) jq_database_index();

	state.table = jq_store_open();
	state.file = jq_relation_file(state.table.rel);
	state.now = jq_now();
	state.horizon = jq_due_horizon(jq_database_index());
	jq_wait_call_answered(&args->queue.ready);
	jq_xact_claim_begin(args->queue.relaxed);
	claim_all(&state);
	CommandCounterIncrement();
	jq_xact_claim_end();
	jq_store_close(&state.table);
}

void
jq_claim_into_result(FunctionCallInfo fcinfo, JqClaimArgs *args)
{
	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	claim_jobs(args, (ReturnSetInfo *) fcinfo->resultinfo);
}

/* The worker's name when none is given: what it calls itself. */
static text *
default_worker(void)
{
	if (application_name == NULL || application_name[0] == '\0')
		return NULL;
	return cstring_to_text(application_name);
}

void
jq_claim_read_args(FunctionCallInfo fcinfo, int rest, JqClaimArgs *args)
{
	text *queue = jq_arg_name(fcinfo, 0, "queue", false);

	PreventCommandIfReadOnly("job_queue.claim()");
	jq_shmem_require("job_queue.claim()");
	jq_arg_require(fcinfo, rest, "max_jobs");
	args->max_jobs = jq_arg_int(fcinfo, rest, "max_jobs", 1, MAX_CLAIM, 1);
	args->worker = jq_arg_name(fcinfo, rest + 1, "worker", true);
	if (args->worker == NULL)
		args->worker = default_worker();
	args->lease_us = jq_arg_interval(fcinfo, rest + 2, "lease", 1, 0);
	jq_queue_get(queue, &args->queue);
	if (args->lease_us == 0)
		args->lease_us = args->queue.lease_us;
}

PG_FUNCTION_INFO_V1(job_queue_claim);

/*
 * job_queue.claim(queue text, max_jobs int, worker text, lease interval)
 *		returns setof job_queue.claimed_job
 */
Datum
job_queue_claim(PG_FUNCTION_ARGS)
{
	JqClaimArgs args;

	jq_claim_read_args(fcinfo, 1, &args);
	jq_claim_into_result(fcinfo, &args);
	return (Datum) 0;
}
