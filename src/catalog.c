/*-------------------------------------------------------------------------
 *
 * catalog.c
 *		Our tables: their OIDs, cached, and the numbers of their columns.
 *
 * The caches belong to this backend and are dropped by relcache invalidation,
 * which every change of a table or of its indexes sends, DROP EXTENSION too.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "catalog/index.h"
#include "catalog/namespace.h"
#include "catalog/pg_am_d.h"
#include "nodes/primnodes.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"

#include "catalog.h"

#define SCHEMA "job_queue"

static const char *const relation_names[JQ_NUM_RELATIONS] = {
	[JQ_JOB] = "job",
	[JQ_JOB_PKEY] = "job_pkey",
	[JQ_JOB_DISPATCH_IDX] = "job_dispatch_idx",
	[JQ_JOB_DUE_IDX] = "job_due_idx",
	[JQ_JOB_ID_SEQ] = "job_id_seq",
	[JQ_JOB_HISTORY] = "job_history",
	[JQ_JOB_HISTORY_DEFAULT] = "job_history_default",
	[JQ_QUEUE] = "queue",
	[JQ_QUEUE_PKEY] = "queue_pkey",
	[JQ_QUEUE_NAME_KEY] = "queue_name_key",
	[JQ_PIPELINE] = "pipeline",
	[JQ_PIPELINE_PKEY] = "pipeline_pkey",
};

static Oid oids[JQ_NUM_RELATIONS];
static uint64 queue_generation = 1;
static uint64 changes = 0; /* relcache invalidations seen */

/* job, its history's partition of today and of yesterday, the default one */
#define NUM_LISTS 4
static JqIndexList lists[NUM_LISTS];
static MemoryContext list_contexts[NUM_LISTS];

/* relcache callback; relid is InvalidOid for all relations */
static void
relation_changed(Datum arg, Oid relid)
{
	changes++;
	if (!OidIsValid(relid) || relid == oids[JQ_QUEUE] ||
		relid == oids[JQ_PIPELINE])
		queue_generation++;

	for (int i = 0; i < NUM_LISTS; i++)
		if (!OidIsValid(relid) || lists[i].table == relid)
			lists[i].table = InvalidOid;

	for (int i = 0; i < JQ_NUM_RELATIONS; i++)
		if (!OidIsValid(relid) || oids[i] == relid)
			oids[i] = InvalidOid;
}

void
jq_catalog_register(void)
{
	CacheRegisterRelcacheCallback(relation_changed, (Datum) 0);
}

uint64
jq_catalog_queue_generation(void)
{
	return queue_generation;
}

Oid
jq_catalog_lookup(const char *name)
{
	Oid schema = get_namespace_oid(SCHEMA, true);

	return OidIsValid(schema) ? get_relname_relid(name, schema) : InvalidOid;
}

bool
jq_catalog_installed(void)
{
	if (!OidIsValid(oids[JQ_JOB]))
		oids[JQ_JOB] = jq_catalog_lookup(relation_names[JQ_JOB]);
	return OidIsValid(oids[JQ_JOB]);
}

Oid
jq_catalog_oid(JqRelation relation)
{
	if (unlikely(!OidIsValid(oids[relation])))
		oids[relation] = jq_catalog_lookup(relation_names[relation]);
	if (unlikely(!OidIsValid(oids[relation])))
		ereport(ERROR,
				errcode(ERRCODE_UNDEFINED_TABLE),
				errmsg("relation \"%s.%s\" does not exist",
					   SCHEMA,
					   relation_names[relation]),
				errhint("Create the extension with CREATE EXTENSION "
						"job_queue."));
	return oids[relation];
}

/* Of a predicate "column IS NOT NULL" the column, else 0. */
static AttrNumber
not_null_column(List *predicate)
{
	NullTest *test;

	if (list_length(predicate) != 1 || !IsA(linitial(predicate), NullTest))
		return 0;
	test = linitial_node(NullTest, predicate);
	if (test->nulltesttype != IS_NOT_NULL || !IsA(test->arg, Var))
		return 0;
	return ((Var *) test->arg)->varattno;
}

/*
 * Can C maintain an index without the executor?  Other access methods keep
 * things in the IndexInfo that do not live as long as our list.
 */
static bool
is_plain(const IndexInfo *info, Relation index)
{
	return index->rd_rel->relam == BTREE_AM_OID &&
		   info->ii_Expressions == NIL && info->ii_ExclusionOps == NULL &&
		   (info->ii_Predicate == NIL ||
			not_null_column(info->ii_Predicate) > 0) &&
		   (!info->ii_Unique || index->rd_index->indimmediate);
}

static void
add_index(JqIndexList *list, Oid oid)
{
	Relation index = index_open(oid, AccessShareLock);
	IndexInfo *info = BuildIndexInfo(index);

	if (!is_plain(info, index) || list->n == JQ_MAX_INDEXES)
		list->other = true;
	else if (info->ii_ReadyForInserts)
		list->index[list->n++] =
			(JqIndex){.oid = oid,
					  .info = info,
					  .only_if_not_null = not_null_column(info->ii_Predicate)};
	index_close(index, AccessShareLock);
}

/*
 * Fill list i for a table.  It becomes valid last, so an error leaves it not;
 * nor does it if something changed meanwhile: then it is good for now, since
 * a new index waits for transactions like ours, but is made anew next time.
 */
static void
build_list(int i, Relation table)
{
	JqIndexList *list = &lists[i];
	List *indexes = RelationGetIndexList(table);
	MemoryContext caller_context;
	uint64 changes_before = changes;
	ListCell *cell;

	if (list_contexts[i] == NULL)
		list_contexts[i] = AllocSetContextCreate(
			CacheMemoryContext, "job_queue indexes", ALLOCSET_SMALL_SIZES);
	MemoryContextReset(list_contexts[i]);

	caller_context = MemoryContextSwitchTo(list_contexts[i]);
	*list = (JqIndexList){0};
	foreach(cell, indexes)
		add_index(list, lfirst_oid(cell));
	MemoryContextSwitchTo(caller_context);

	if (changes == changes_before)
		list->table = RelationGetRelid(table);
}

const JqIndexList *
jq_catalog_indexes(Relation table)
{
	static int next = 0;
	Oid oid = RelationGetRelid(table);

	for (int i = 0; i < NUM_LISTS; i++)
		if (lists[i].table == oid)
			return &lists[i];

	next = (next + 1) % NUM_LISTS;
	build_list(next, table);
	return &lists[next];
}
