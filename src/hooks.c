/*-------------------------------------------------------------------------
 *
 * hooks.c
 *		Commands of the server that concern our workers or our jobs.
 *
 * A maintenance worker is connected to its database, and a few commands
 * refuse to run while anybody is: it is asked to leave before, and may come
 * back when the command's transaction ends, however that is.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "catalog/objectaccess.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_database.h"
#include "catalog/pg_extension.h"
#include "commands/dbcommands.h"
#include "commands/defrem.h"
#include "commands/extension.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "tcop/utility.h"
#include "utils/acl.h"
#include "utils/memutils.h"
#include "utils/syscache.h"

#include "compat.h"
#include "database.h"
#include "due.h"
#include "hooks.h"
#include "ready.h"
#include "xact.h"

static ProcessUtility_hook_type prev_process_utility = NULL;
static object_access_hook_type prev_object_access = NULL;

/*
 * Databases whose workers this transaction has asked to leave, in its own
 * memory; and whether the list of databases is about to change.
 */
static List *left_databases = NIL;
static bool databases_change = false;

/*
 * Permissions, as the commands will check them: nobody may keep the workers
 * out of a database by commands that are going to fail.
 */

static bool
may_create_databases(void)
{
	HeapTuple tuple;
	bool allowed;

	if (superuser())
		return true;

	tuple = SearchSysCache1(AUTHOID, ObjectIdGetDatum(GetUserId()));
	if (!HeapTupleIsValid(tuple))
		return false;
	allowed = ((Form_pg_authid) GETSTRUCT(tuple))->rolcreatedb;
	ReleaseSysCache(tuple);

	return allowed;
}

static bool
may_need_alone(Oid database, bool as_template)
{
	HeapTuple tuple = SearchSysCache1(DATABASEOID, ObjectIdGetDatum(database));
	Form_pg_database form;
	bool allowed;

	if (!HeapTupleIsValid(tuple))
		return false;

	form = (Form_pg_database) GETSTRUCT(tuple);
	allowed = has_privs_of_role(GetUserId(), form->datdba);
	if (as_template)
		allowed = (allowed || form->datistemplate) && may_create_databases();
	ReleaseSysCache(tuple);

	return allowed;
}

/*
 * Leaving.
 */

static void
ask_worker_to_leave(const char *name, bool as_template)
{
	Oid database = get_database_oid(name, true);
	MemoryContext old;

	if (!OidIsValid(database) || !may_need_alone(database, as_template))
		return;

	/* Once begun it must be in the list, so it is put there before. */
	old = MemoryContextSwitchTo(TopTransactionContext);
	left_databases = lappend_oid(left_databases, database);
	MemoryContextSwitchTo(old);

	if (jq_database_leave_begin(database))
		jq_database_leave_wait(database);
	else
		left_databases = list_delete_last(left_databases);
}

static const char *
template_name(const CreatedbStmt *stmt)
{
	ListCell *cell;

	foreach(cell, stmt->options)
	{
		DefElem *option = lfirst_node(DefElem, cell);

		if (strcmp(option->defname, "template") == 0 && option->arg != NULL)
			return defGetString(option);
	}
	return "template1";
}

static bool
moves_tablespace(const AlterDatabaseStmt *stmt)
{
	ListCell *cell;

	foreach(cell, stmt->options)
	{
		if (strcmp(lfirst_node(DefElem, cell)->defname, "tablespace") == 0)
			return true;
	}
	return false;
}

/* Before a command that needs a database for itself, or changes their list. */
static void
prepare_database_command(const Node *command)
{
	switch (nodeTag(command))
	{
		case T_CreatedbStmt:
			databases_change = true;
			ask_worker_to_leave(template_name((const CreatedbStmt *) command),
								true);
			break;

		case T_DropdbStmt:
			databases_change = true;
			ask_worker_to_leave(((const DropdbStmt *) command)->dbname, false);
			break;

		case T_RenameStmt:
			if (((const RenameStmt *) command)->renameType == OBJECT_DATABASE)
				ask_worker_to_leave(((const RenameStmt *) command)->subname,
									false);
			break;

		case T_AlterDatabaseStmt:
			/* It may also allow connections, or forbid them. */
			databases_change = true;
			if (moves_tablespace((const AlterDatabaseStmt *) command))
				ask_worker_to_leave(
					((const AlterDatabaseStmt *) command)->dbname, false);
			break;

		default:
			break;
	}
}

/* Commands after which rows are there that no callback of ours has seen. */
static bool
finishes_prepared_transaction(const Node *command)
{
	TransactionStmtKind kind;

	if (!IsA(command, TransactionStmt))
		return false;

	kind = ((const TransactionStmt *) command)->kind;
	return kind == TRANS_STMT_COMMIT_PREPARED ||
		   kind == TRANS_STMT_ROLLBACK_PREPARED;
}

/*
 * Another transaction has ended, and nobody knows what it did: have the ready
 * index and the worker look at the tables, if they are here.
 */
static void
look_at_everything(void)
{
	int database;

	if (!OidIsValid(get_extension_oid("job_queue", true)))
		return;

	database = jq_database_reopen();
	jq_ready_reset_database(MyDatabaseId);
	jq_due_reset(database);
	jq_database_wake(database);
}

/*
 * Hooks and callbacks.
 */

/* The server's signature. */
static void
/* NOLINTNEXTLINE(readability-function-size) */
process_utility(PlannedStmt *pstmt, const char *query, bool read_only_tree,
				ProcessUtilityContext context, ParamListInfo params,
				QueryEnvironment *environment, DestReceiver *dest,
				QueryCompletion *completion)
{
	ProcessUtility_hook_type next =
		prev_process_utility ? prev_process_utility : standard_ProcessUtility;

	/* Looked up before: the command may change its own tree. */
	bool finishes_prepared = finishes_prepared_transaction(pstmt->utilityStmt);

	prepare_database_command(pstmt->utilityStmt);

	(*next)(pstmt,
			query,
			read_only_tree,
			context,
			params,
			environment,
			dest,
			completion);

	if (finishes_prepared)
		look_at_everything();
}

/*
 * The extension comes and goes by many commands: DROP EXTENSION, DROP SCHEMA
 * and DROP OWNED, CASCADE from anywhere.  All end here.  A new extension's
 * name cannot be looked up yet, and one look too many does no harm.
 */
static void
object_access(ObjectAccessType access, Oid class_id, Oid object_id, int sub_id,
			  void *arg)
{
	if (prev_object_access)
		(*prev_object_access)(access, class_id, object_id, sub_id, arg);

	if (class_id != ExtensionRelationId)
		return;

	if (access == OAT_POST_CREATE)
		jq_xact_owe_recheck();
	else if (access == OAT_DROP)
	{
		char *name = get_extension_name(object_id);

		if (name != NULL && strcmp(name, "job_queue") == 0)
			jq_xact_owe_recheck();
	}
}

/*
 * The transaction has ended, and what it did is visible.  Its locks are still
 * held, which is fine: a worker that connects waits for them.
 */
static void
let_workers_return(void)
{
	ListCell *cell;

	foreach(cell, left_databases)
	{
		jq_database_leave_end(lfirst_oid(cell));
	}
	if (left_databases != NIL || databases_change)
		jq_launcher_wake();

	left_databases = NIL;
	databases_change = false;
}

static void
xact_callback(XactEvent event, void *arg)
{
	switch (event)
	{
		case XACT_EVENT_COMMIT:
		case XACT_EVENT_ABORT:
		case XACT_EVENT_PREPARE:
			let_workers_return();
			break;

		default:
			break;
	}
}

void
jq_hooks_install(void)
{
	prev_process_utility = ProcessUtility_hook;
	ProcessUtility_hook = process_utility;
	prev_object_access = object_access_hook;
	object_access_hook = object_access;
	RegisterXactCallback(xact_callback, NULL);
}
