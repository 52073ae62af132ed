/*-------------------------------------------------------------------------
 *
 * queue.c
 *		Queues and their settings, cached in this backend.
 *
 * A trigger on the table queue sends a relcache invalidation for it with each
 * change; the cache is dropped when one arrives, at the latest when the next
 * transaction or the next lock is taken.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "catalog.h"
#include "error.h"
#include "guc.h"
#include "owner.h"
#include "queue.h"

typedef struct QueueByName
{
	char name[JQ_MAX_NAME_BYTES + 1]; /* hash key */
	JqQueue queue;
} QueueByName;

typedef struct QueueById
{
	int32 id; /* hash key */
	JqQueue queue;
} QueueById;

static HTAB *by_name = NULL;
static HTAB *by_id = NULL;
static uint64 cached_generation = 0;

static HTAB *
make_hash(const char *title, Size key_size, Size entry_size, int flags)
{
	HASHCTL ctl = {
		.keysize = key_size, .entrysize = entry_size, .hcxt = TopMemoryContext};

	return hash_create(title, 64, &ctl, flags | HASH_ELEM | HASH_CONTEXT);
}

/* Drop the cache if the table may have changed, or make it. */
static void
validate_cache(void)
{
	AcceptInvalidationMessages();
	if (by_id != NULL && cached_generation == jq_catalog_queue_generation())
		return;

	if (by_name != NULL)
		hash_destroy(by_name);
	by_name = NULL;
	if (by_id != NULL)
		hash_destroy(by_id);
	by_id = NULL;
	by_name = make_hash("job_queue queues by name",
						JQ_MAX_NAME_BYTES + 1,
						sizeof(QueueByName),
						HASH_STRINGS);
	by_id = make_hash(
		"job_queue queues by id", sizeof(int32), sizeof(QueueById), HASH_BLOBS);
	cached_generation = jq_catalog_queue_generation();
}

/* An interval column in microseconds; 0 for null. */
static int64
interval_column(HeapTuple tuple, TupleDesc desc, AttrNumber column)
{
	bool isnull;
	Datum value = heap_getattr(tuple, column, desc, &isnull);

	return isnull ? 0 : jq_interval_us(DatumGetIntervalP(value));
}

static void
decode(HeapTuple tuple, TupleDesc desc, JqQueue *queue)
{
	bool isnull;
	char *durability;

	memset(queue, 0, sizeof(JqQueue));
	queue->id =
		DatumGetInt32(heap_getattr(tuple, Anum_queue_id, desc, &isnull));
	text_to_cstring_buffer(
		DatumGetTextPP(heap_getattr(tuple, Anum_queue_name, desc, &isnull)),
		queue->name,
		sizeof(queue->name));
	queue->max_attempts = DatumGetInt32(
		heap_getattr(tuple, Anum_queue_max_attempts, desc, &isnull));
	queue->lease_us = interval_column(tuple, desc, Anum_queue_lease);
	queue->job_timeout_us =
		interval_column(tuple, desc, Anum_queue_job_timeout);
	queue->max_depth =
		DatumGetInt64(heap_getattr(tuple, Anum_queue_max_depth, desc, &isnull));
	if (isnull)
		queue->max_depth = 0;
	durability = TextDatumGetCString(
		heap_getattr(tuple, Anum_queue_claim_durability, desc, &isnull));
	queue->relaxed = strcmp(durability, "relaxed") == 0;
	queue->paused =
		DatumGetBool(heap_getattr(tuple, Anum_queue_paused, desc, &isnull));
}

/* What its ready index is called; it is opened by who claims. */
static void
locate(JqQueue *queue)
{
	queue->ready.key = (JqReadyKey){.database = MyDatabaseId,
									.relation = jq_catalog_oid(JQ_JOB),
									.queue_id = queue->id};
	queue->ready.slot = JQ_NO_SLOT;
}

/* Read a queue by a unique index, as it is committed now. */
static bool
read_queue(ScanKey key, JqRelation index, JqQueue *queue)
{
	Relation rel = table_open(jq_catalog_oid(JQ_QUEUE), AccessShareLock);
	Snapshot snapshot = RegisterSnapshot(GetLatestSnapshot());
	SysScanDesc scan =
		systable_beginscan(rel, jq_catalog_oid(index), true, snapshot, 1, key);
	HeapTuple tuple = systable_getnext(scan);

	if (HeapTupleIsValid(tuple))
		decode(tuple, RelationGetDescr(rel), queue);
	systable_endscan(scan);
	UnregisterSnapshot(snapshot);
	table_close(rel, AccessShareLock);

	if (!HeapTupleIsValid(tuple))
		return false;
	locate(queue);
	return true;
}

static void
remember(const JqQueue *queue)
{
	QueueByName *named;
	QueueById *numbered;
	bool found;

	/* Reading may have seen an invalidation: then not for the next time. */
	if (cached_generation != jq_catalog_queue_generation())
		return;
	named = hash_search(by_name, queue->name, HASH_ENTER, &found);
	named->queue = *queue;
	numbered = hash_search(by_id, &queue->id, HASH_ENTER, &found);
	numbered->queue = *queue;
}

bool
jq_queue_find(const text *name, JqQueue *queue)
{
	char key[JQ_MAX_NAME_BYTES + 1];
	QueueByName *entry;
	ScanKeyData scan_key;

	validate_cache();
	text_to_cstring_buffer(name, key, sizeof(key));
	entry = hash_search(by_name, key, HASH_FIND, NULL);
	if (entry != NULL)
	{
		*queue = entry->queue;
		return true;
	}

	ScanKeyInit(&scan_key,
				Anum_queue_name,
				BTEqualStrategyNumber,
				F_TEXTEQ,
				PointerGetDatum(name));
	if (!read_queue(&scan_key, JQ_QUEUE_NAME_KEY, queue))
		return false;
	remember(queue);
	return true;
}

bool
jq_queue_find_by_id(int32 id, JqQueue *queue)
{
	QueueById *entry;
	ScanKeyData scan_key;

	validate_cache();
	entry = hash_search(by_id, &id, HASH_FIND, NULL);
	if (entry != NULL)
	{
		*queue = entry->queue;
		return true;
	}

	ScanKeyInit(&scan_key,
				Anum_queue_id,
				BTEqualStrategyNumber,
				F_INT4EQ,
				Int32GetDatum(id));
	if (!read_queue(&scan_key, JQ_QUEUE_PKEY, queue))
		return false;
	remember(queue);
	return true;
}

void
jq_queue_forget_cache(void)
{
	cached_generation = 0;
}

bool
jq_queue_open_index(JqQueue *queue, bool *made)
{
	QueueByName *named;

	*made = false;
	if (queue->ready.slot != JQ_NO_SLOT)
		return true;
	if (!jq_ready_open(&queue->ready, made))
		return false;

	/* Next time it is known where it is. */
	named = hash_search(by_name, queue->name, HASH_FIND, NULL);
	if (named != NULL)
		named->queue.ready.slot = queue->ready.slot;
	return true;
}

void
jq_queue_get(const text *name, JqQueue *queue)
{
	if (!jq_queue_find(name, queue))
		ereport(ERROR,
				errcode(JQ_ERRCODE_NO_QUEUE),
				errmsg("queue \"%s\" does not exist", text_to_cstring(name)),
				errhint("Create it with job_queue.create_queue()."));
}

static void
create_with_defaults(const text *name)
{
	static JqStatement create = {
		.sql = "SELECT job_queue._auto_create_queue($1)",
		.expected = SPI_OK_SELECT,
		.nargs = 1,
		.types = {TEXTOID},
	};
	Datum value = PointerGetDatum(name);

	SPI_connect();
	(void) jq_owner_run(&create, &value, NULL, 0);
	SPI_finish();
}

void
jq_queue_get_or_create(const text *name, JqQueue *queue)
{
	if (jq_queue_find(name, queue))
		return;
	if (jq_auto_create_queues)
		create_with_defaults(name);
	jq_queue_get(name, queue);
}

bool
jq_queue_lock_shared(const JqQueue *queue)
{
	uint64 generation = cached_generation;
	JqQueue again;

	LockDatabaseObject(jq_catalog_oid(JQ_QUEUE), queue->id, 0, AccessShareLock);
	return generation == jq_catalog_queue_generation() ||
		   jq_queue_find_by_id(queue->id, &again);
}

void
jq_queue_lock_exclusive(int32 id)
{
	LockDatabaseObject(jq_catalog_oid(JQ_QUEUE), id, 0, AccessExclusiveLock);
}
