/*-------------------------------------------------------------------------
 *
 * finish.c
 *		Completing jobs: from running rows to history.
 *
 * The other ends of an attempt (fail, snooze, release, cancel, expiry) are
 * rarer and are written in SQL.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"

#include "args.h"
#include "claim.h"
#include "clock.h"
#include "error.h"
#include "fault.h"
#include "lease.h"
#include "owner.h"
#include "shmem.h"
#include "store.h"
#include "xact.h"

typedef enum Outcome
{
	OUTCOME_COMPLETED, /* by this call */
	OUTCOME_REPEATED,  /* by an earlier call with the same token */
	OUTCOME_LOST,	   /* the token is stale */
} Outcome;

/* Jobs to complete, in input order. */
typedef struct Batch
{
	int n;
	int64 *ids;
	int64 *tokens;
	Datum *results;
	bool *result_nulls;
	Outcome *outcomes;
} Batch;

/* Rows completed so far, on their way to history. */
typedef struct Finished
{
	JqRow *rows;
	Datum *results;
	bool *result_nulls;
	int n;
} Finished;

/* Find the running row of a lease.  False if the token is stale. */
static bool
find_running(JqJobTable *table, int64 id, int64 token, JqRow *row)
{
	JqLease lease;
	bool found;

	if (jq_shmem_available() && jq_lease_get(id, token, &lease))
		found = jq_store_fetch(table, &lease.tid, id, row);
	else
		found = jq_store_fetch_by_id(table, id, row);

	return found && !JQ_ROW_IS_NULL(row, lease_token) &&
		   DatumGetInt64(JQ_ROW(row, lease_token)) == token;
}

/* Did this very lease complete the job before? */
static bool
is_completed_already(int64 id, int64 token)
{
	static JqStatement find = {
		.sql = "SELECT FROM job_queue.job_history"
			   " WHERE id OPERATOR(pg_catalog.=) $1"
			   "   AND lease_token OPERATOR(pg_catalog.=) $2"
			   "   AND status OPERATOR(pg_catalog.=) 'c'",
		.expected = SPI_OK_SELECT,
		.nargs = 2,
		.types = {INT8OID, INT8OID},
	};
	Datum values[2] = {Int64GetDatum(id), Int64GetDatum(token)};
	bool found;

	SPI_connect();
	found = jq_owner_run(&find, values, NULL, 1) > 0;
	SPI_finish();
	return found;
}

/* Complete one job, if its lease holds; the row is left in finished. */
static Outcome
complete_one(JqJobTable *table, int64 id, int64 token, Finished *finished)
{
	JqRow *row = &finished->rows[finished->n];

	for (;;)
	{
		TM_Result result;

		if (!find_running(table, id, token, row))
			return is_completed_already(id, token) ? OUTCOME_REPEATED
												   : OUTCOME_LOST;
		JQ_FAULT("complete-before-delete");
		result = jq_store_delete(table, row, true);
		if (result == TM_Ok)
			break;
		/* Somebody else changed it first: look at what is there now. */
		CHECK_FOR_INTERRUPTS();
	}

	jq_xact_owe_lease_end(id, token);
	JQ_FAULT("complete-after-delete");
	return OUTCOME_COMPLETED;
}

static const Batch *sort_batch; /* for compare_leases() */

static int
compare_leases(const void *a, const void *b)
{
	const int *x = a;
	const int *y = b;
	const Batch *batch = sort_batch;

	if (batch->ids[*x] != batch->ids[*y])
		return batch->ids[*x] > batch->ids[*y] ? 1 : -1;
	if (batch->tokens[*x] != batch->tokens[*y])
		return batch->tokens[*x] > batch->tokens[*y] ? 1 : -1;
	return *x - *y;
}

/* Everybody locks rows in the order of their ids, so that none deadlocks. */
static int *
order_by_id(const Batch *batch)
{
	int *order = palloc(sizeof(int) * Max(batch->n, 1));

	for (int i = 0; i < batch->n; i++)
		order[i] = i;
	sort_batch = batch;
	qsort(order, batch->n, sizeof(int), compare_leases);
	return order;
}

static bool
same_lease(const Batch *batch, int a, int b)
{
	return batch->ids[a] == batch->ids[b] &&
		   batch->tokens[a] == batch->tokens[b];
}

/* What a lease that is named twice in a call gets the second time. */
static Outcome
again(Outcome first)
{
	return first == OUTCOME_COMPLETED ? OUTCOME_REPEATED : first;
}

static void
complete_batch(Batch *batch)
{
	JqJobTable table = jq_store_open();
	int *order = order_by_id(batch);
	Finished finished = {
		.rows =
			palloc_extended(sizeof(JqRow) * Max(batch->n, 1), MCXT_ALLOC_HUGE),
		.results = palloc(sizeof(Datum) * Max(batch->n, 1)),
		.result_nulls = palloc(sizeof(bool) * Max(batch->n, 1)),
	};

	for (int o = 0; o < batch->n; o++)
	{
		int i = order[o];

		if (o > 0 && same_lease(batch, i, order[o - 1]))
		{
			batch->outcomes[i] = again(batch->outcomes[order[o - 1]]);
			continue;
		}
		batch->outcomes[i] =
			complete_one(&table, batch->ids[i], batch->tokens[i], &finished);
		if (batch->outcomes[i] != OUTCOME_COMPLETED)
			continue;
		finished.results[finished.n] = batch->results[i];
		finished.result_nulls[finished.n] = batch->result_nulls[i];
		finished.n++;
	}

	jq_store_insert_history(finished.rows,
							finished.results,
							finished.result_nulls,
							finished.n,
							jq_now());
	CommandCounterIncrement();
	jq_store_close(&table);
}

static void
report_lost(int64 id)
{
	ereport(ERROR,
			errcode(JQ_ERRCODE_LEASE_LOST),
			errmsg("the lease of job " INT64_FORMAT " is lost", id),
			errdetail("The job was given to another worker, or is finished."),
			errhint("Stop working on it; nothing was changed."));
}

PG_FUNCTION_INFO_V1(job_queue_complete);

/* job_queue.complete(job_id bigint, lease_token bigint, result jsonb) */
Datum
job_queue_complete(PG_FUNCTION_ARGS)
{
	int64 id;
	int64 token;
	Datum result = (Datum) 0;
	bool result_is_null = PG_ARGISNULL(2);
	Outcome outcome = OUTCOME_LOST;
	Batch batch = {.n = 1,
				   .ids = &id,
				   .tokens = &token,
				   .results = &result,
				   .result_nulls = &result_is_null,
				   .outcomes = &outcome};

	PreventCommandIfReadOnly("job_queue.complete()");
	jq_arg_require(fcinfo, 0, "job_id");
	jq_arg_require(fcinfo, 1, "lease_token");
	id = PG_GETARG_INT64(0);
	token = PG_GETARG_INT64(1);
	if (!result_is_null)
	{
		result = PG_GETARG_DATUM(2);
		jq_args_check_size(result, "result");
	}

	complete_batch(&batch);
	if (outcome == OUTCOME_LOST)
		report_lost(id);
	PG_RETURN_BOOL(outcome == OUTCOME_COMPLETED);
}

/* Read job_ids, lease_tokens and results, from argument "first" on. */
static void
read_batch(FunctionCallInfo fcinfo, int first, Batch *batch)
{
	int ntokens;
	int nresults;

	batch->n = jq_arg_int64_array(fcinfo, first, "job_ids", &batch->ids);
	ntokens =
		jq_arg_int64_array(fcinfo, first + 1, "lease_tokens", &batch->tokens);
	jq_args_same_length(batch->n, "job_ids", ntokens, "lease_tokens");
	batch->outcomes = palloc(sizeof(Outcome) * Max(batch->n, 1));

	if (PG_ARGISNULL(first + 2))
	{
		batch->results = palloc0(sizeof(Datum) * Max(batch->n, 1));
		batch->result_nulls = palloc(sizeof(bool) * Max(batch->n, 1));
		memset(batch->result_nulls, true, batch->n);
		return;
	}
	nresults = jq_arg_jsonb_array(
		fcinfo, first + 2, "results", &batch->results, &batch->result_nulls);
	jq_args_same_length(batch->n, "job_ids", nresults, "results");
	for (int i = 0; i < nresults; i++)
		if (!batch->result_nulls[i])
			jq_args_check_size(batch->results[i], "result");
}

PG_FUNCTION_INFO_V1(job_queue_complete_many);

/*
 * job_queue.complete_many(job_ids bigint[], lease_tokens bigint[],
 *						   results jsonb[])
 *		returns setof (job_id bigint, completed boolean)
 */
Datum
job_queue_complete_many(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	Batch batch;

	PreventCommandIfReadOnly("job_queue.complete_many()");
	read_batch(fcinfo, 0, &batch);
	InitMaterializedSRF(fcinfo, 0);
	complete_batch(&batch);

	for (int i = 0; i < batch.n; i++)
	{
		Datum values[2] = {
			Int64GetDatum(batch.ids[i]),
			BoolGetDatum(batch.outcomes[i] == OUTCOME_COMPLETED)};
		bool nulls[2] = {false};

		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
	return (Datum) 0;
}

PG_FUNCTION_INFO_V1(job_queue_complete_and_claim);

/*
 * job_queue.complete_and_claim(queue text, job_ids bigint[],
 *								lease_tokens bigint[], results jsonb[],
 *								max_jobs int, worker text, lease interval)
 *		returns setof job_queue.claimed_job
 *
 * All or nothing: a stale lease is an error.  One that completed its job
 * before is not, so that a client that lost the answer may ask again.
 */
Datum
job_queue_complete_and_claim(PG_FUNCTION_ARGS)
{
	JqClaimArgs args;
	Batch batch;

	jq_claim_read_args(fcinfo, 4, &args);
	read_batch(fcinfo, 1, &batch);
	if (batch.n > 0)
		complete_batch(&batch);
	for (int i = 0; i < batch.n; i++)
		if (batch.outcomes[i] == OUTCOME_LOST)
			report_lost(batch.ids[i]);
	jq_claim_into_result(fcinfo, &args);
	return (Datum) 0;
}
