/*-------------------------------------------------------------------------
 *
 * flush.c
 *		Progress: from the leases in shared memory to the rows.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "bgw.h"
#include "clock.h"
#include "lease.h"
#include "owner.h"
#include "reap.h"

/* Reports written in one transaction. */
#define FLUSH_BATCH 200

#define FLUSH_INTERVAL_US USECS_PER_SEC

/* Write one report, unless the row is locked or is not this lease's. */
static bool
write_report(const JqLease *lease)
{
	static JqStatement write = {
		.sql = "UPDATE job_queue.job SET"
			   "       progress = coalesce($3, progress),"
			   "       bytes_done = coalesce($4, bytes_done),"
			   "       bytes_total = coalesce($5, bytes_total),"
			   "       stage = coalesce($6, stage),"
			   "       message = coalesce($7, message)"
			   " WHERE id OPERATOR(pg_catalog.=) ("
			   "       SELECT id FROM job_queue.job"
			   "        WHERE id OPERATOR(pg_catalog.=) $1"
			   "          AND lease_token OPERATOR(pg_catalog.=) $2"
			   "          FOR NO KEY UPDATE SKIP LOCKED)",
		.expected = SPI_OK_UPDATE,
		.nargs = 7,
		.types =
			{INT8OID, INT8OID, FLOAT8OID, INT8OID, INT8OID, TEXTOID, TEXTOID},
	};
	const JqProgress *progress = &lease->progress;
	Datum values[7] = {Int64GetDatum(lease->job_id),
					   Int64GetDatum(lease->token),
					   Float8GetDatum(progress->percent),
					   Int64GetDatum(progress->bytes_done),
					   Int64GetDatum(progress->bytes_total),
					   CStringGetTextDatum(progress->stage),
					   CStringGetTextDatum(progress->message)};
	char nulls[8] = {' ',
					 ' ',
					 progress->has_percent ? ' ' : 'n',
					 progress->has_bytes_done ? ' ' : 'n',
					 progress->has_bytes_total ? ' ' : 'n',
					 progress->has_stage ? ' ' : 'n',
					 progress->has_message ? ' ' : 'n',
					 '\0'};

	return jq_owner_run(&write, values, nulls, 0) == 1;
}

/* Reports collected, and of these the ones that could not be written. */
typedef struct Reports
{
	JqLease *batch; /* FLUSH_BATCH of them */
	List *failed;	/* of JqLeaseId */
} Reports;

static void
mark_dirty(const JqLease *reports, int n)
{
	for (int i = 0; i < n; i++)
		jq_lease_mark_dirty(reports[i].job_id, reports[i].token);
}

static void
write_reports(Reports *reports, int n)
{
	MemoryContext caller_context = CurrentMemoryContext;

	jq_bgw_begin("saving progress");
	SPI_connect();
	for (int i = 0; i < n; i++)
	{
		JqLease *lease = &reports->batch[i];
		MemoryContext spi_context;
		JqLeaseId *id;

		if (write_report(lease))
			continue;
		spi_context = MemoryContextSwitchTo(caller_context);
		id = palloc(sizeof(JqLeaseId));
		*id = (JqLeaseId){lease->job_id, lease->token};
		reports->failed = lappend(reports->failed, id);
		MemoryContextSwitchTo(spi_context);
	}
	SPI_finish();
	jq_bgw_commit();
}

/* Write some reports; after an error all are to be written.  Returns how many. */
static int
flush_batch(Reports *reports)
{
	int n = jq_lease_collect_dirty(reports->batch, FLUSH_BATCH);

	if (n == 0)
		return 0;
	PG_TRY();
	{
		write_reports(reports, n);
	}
	PG_CATCH();
	{
		mark_dirty(reports->batch, n);
		PG_RE_THROW();
	}
	PG_END_TRY();
	return n;
}

TimestampTz
jq_flush_run(void)
{
	static TimestampTz last = DT_NOBEGIN;
	TimestampTz now = jq_now();
	Reports reports = {0};
	ListCell *cell;

	if (!jq_lease_any_dirty())
		return DT_NOEND;
	if (last <= now && now < last + FLUSH_INTERVAL_US)
		return last + FLUSH_INTERVAL_US;

	reports.batch = palloc(sizeof(JqLease) * FLUSH_BATCH);
	while (flush_batch(&reports) == FLUSH_BATCH)
		CHECK_FOR_INTERRUPTS();
	pfree(reports.batch);

	/* Not before now, lest they be collected again and again. */
	foreach(cell, reports.failed)
	{
		JqLeaseId *id = lfirst(cell);

		jq_lease_mark_dirty(id->job_id, id->token);
	}
	list_free_deep(reports.failed);
	last = now;
	return jq_lease_any_dirty() ? now + FLUSH_INTERVAL_US : DT_NOEND;
}
