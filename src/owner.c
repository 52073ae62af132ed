/*-------------------------------------------------------------------------
 *
 * owner.c
 *		Running SQL on our private tables on behalf of a caller.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/table.h"
#include "miscadmin.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "catalog.h"
#include "owner.h"

/* The owner of our tables. */
static Oid
owner(void)
{
	Relation job = table_open(jq_catalog_oid(JQ_JOB), AccessShareLock);
	Oid role = job->rd_rel->relowner;

	table_close(job, AccessShareLock);
	return role;
}

static void
prepare(JqStatement *statement)
{
	SPIPlanPtr plan =
		SPI_prepare(statement->sql, statement->nargs, statement->types);

	if (plan == NULL)
		elog(ERROR,
			 "could not prepare query: %s",
			 SPI_result_code_string(SPI_result));
	SPI_keepplan(plan);
	statement->plan = plan;
}

uint64
jq_owner_run(JqStatement *statement, Datum *values, const char *nulls,
			 long limit)
{
	Oid role = owner();
	Oid caller;
	int context;
	int nest_level;
	int rc;

	/* An error restores both, with the transaction or subtransaction. */
	GetUserIdAndSecContext(&caller, &context);
	SetUserIdAndSecContext(role, context | SECURITY_LOCAL_USERID_CHANGE);
	nest_level = NewGUCNestLevel();
	(void) set_config_option("search_path",
							 "pg_catalog, pg_temp",
							 PGC_USERSET,
							 PGC_S_SESSION,
							 GUC_ACTION_SAVE,
							 true,
							 0,
							 false);

	if (statement->plan == NULL)
		prepare(statement);
	rc = SPI_execute_plan(statement->plan, values, nulls, false, limit);
	if (rc != statement->expected)
		elog(ERROR,
			 "unexpected result %s of: %s",
			 SPI_result_code_string(rc),
			 statement->sql);

	AtEOXact_GUC(true, nest_level);
	SetUserIdAndSecContext(caller, context);
	return SPI_processed;
}
