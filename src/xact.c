/*-------------------------------------------------------------------------
 *
 * xact.c
 *		What a transaction owes to shared memory at commit and at abort.
 *
 * XACT_EVENT_COMMIT arrives after the commit record is written and the changes
 * are visible, while the locks are still held; an error there would become a
 * PANIC.  So nothing in the callbacks allocates, reads a catalog or reports.
 *
 * A prepared transaction is committed by another session, which knows nothing
 * of our debts: COMMIT PREPARED has all queues and running rows of the
 * database looked at anew (hooks.c).
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "miscadmin.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "clock.h"
#include "database.h"
#include "due.h"
#include "fault.h"
#include "lease.h"
#include "shmem.h"
#include "xact.h"

/*
 * More debts than this in one transaction are not remembered one by one: the
 * queue's position is moved back to the first of them.
 */
#define MAX_DEBTS 65536

/* Pushes that one lock of a queue's slot covers. */
#define PUSH_BATCH 64

typedef enum DebtKind
{
	DEBT_PUSH,		/* commit: push entry, or schedule it for time */
	DEBT_MOVE_BACK, /* commit: move back to entry, schedule for time */
	DEBT_POPPED,	/* abort: give entry back */
	DEBT_UNDO_BACK, /* abort: move back to entry */
	DEBT_LEASE,		/* abort: remove lease (job_id, token) */
	DEBT_LEASE_END, /* commit: remove lease */
	DEBT_CANCEL,	/* commit: tell the lease's worker */
	DEBT_SPARE,		/* commit, abort: spare lease */
	DEBT_UNLISTED,	/* commit: a lease without an entry ends at time */
	DEBT_WAKE,		/* commit: wake all waiters of the database */
	DEBT_OPENED,	/* abort: free the queue's slot */
	DEBT_FORGET,	/* commit: free the queue's slot */
	DEBT_RECHECK,	/* commit: the worker looks whether it is needed */
} DebtKind;

typedef struct Debt
{
	DebtKind kind;
	int level;	/* nesting level of the subtransaction */
	bool again; /* push: before the others; lease: in another's place */
	JqReadyRef ref;
	RelFileNumber file;
	JqReadyEntry entry; /* its job_id is also the lease's */
	union
	{
		TimestampTz time; /* DT_NOBEGIN: at once */
		int64 token;
	} u;
	TimestampTz expires_at; /* of a lease that was entered */
} Debt;

/* In the order in which they were made, so levels never fall. */
static Debt *debts = NULL;
static int ndebts = 0;
static int max_debts = 0;
static int database_index = -1; /* set when the first debt is made */

/* What is known of the durability that this transaction needs. */
static bool claims_only = false; /* so far, relaxed claims alone */
static XLogRecPtr claims_end = InvalidXLogRecPtr; /* last WAL of a claim */

void
jq_xact_reserve(int n)
{
	if (ndebts + n <= max_debts)
		return;
	max_debts = Max(ndebts + n, Max(64, max_debts * 2));
	if (debts == NULL)
		debts = MemoryContextAlloc(TopMemoryContext, sizeof(Debt) * max_debts);
	else
		debts = repalloc_huge(debts, sizeof(Debt) * max_debts);
}

/* Note a debt, if there is shared memory to owe to. */
static Debt *
owe(DebtKind kind)
{
	static Debt ignored;
	Debt *debt;

	if (!jq_shmem_available())
		return &ignored;
	if (ndebts == 0)
		database_index = jq_database_index();
	jq_xact_reserve(1);
	debt = &debts[ndebts++];
	memset(debt, 0, sizeof(Debt));
	debt->kind = kind;
	debt->level = GetCurrentTransactionNestLevel();
	return debt;
}

static Debt *
owe_entry(DebtKind kind, const JqReadyRef *ref, RelFileNumber file,
		  const JqReadyEntry *entry)
{
	Debt *debt = owe(kind);

	debt->ref = *ref;
	debt->file = file;
	debt->entry = *entry;
	return debt;
}

/* The earlier of two times to come, of which DT_NOBEGIN is none. */
static TimestampTz
earlier_time(TimestampTz a, TimestampTz b)
{
	if (a == DT_NOBEGIN)
		return b;
	return b == DT_NOBEGIN ? a : Min(a, b);
}

/*
 * Merge a debt into one that stands for many of its kind already.  Pushes and
 * changes may alternate, so it is the last one or the one before.
 */
static bool
merge(DebtKind kind, const JqReadyRef *ref, const JqReadyEntry *entry,
	  TimestampTz time)
{
	int level = GetCurrentTransactionNestLevel();

	for (int i = ndebts - 1; i >= 0 && i >= ndebts - 2; i--)
	{
		Debt *many = &debts[i];

		if (many->kind != kind || many->level != level ||
			many->ref.key.queue_id != ref->key.queue_id)
			continue;
		if (jq_position_before(jq_position_of(entry),
							   jq_position_of(&many->entry)))
			many->entry = *entry;
		many->u.time = earlier_time(many->u.time, time);
		return true;
	}
	return false;
}

void
jq_xact_owe_push(const JqReadyRef *ref, RelFileNumber file,
				 const JqReadyEntry *entry, TimestampTz run_at, bool again)
{
	if (ndebts < MAX_DEBTS)
	{
		Debt *debt = owe_entry(DEBT_PUSH, ref, file, entry);

		debt->u.time = run_at;
		debt->again = again;
	}
	else if (!merge(DEBT_MOVE_BACK, ref, entry, run_at))
		owe_entry(DEBT_MOVE_BACK, ref, file, entry)->u.time = run_at;
}

void
jq_xact_owe_popped(const JqReadyRef *ref, RelFileNumber file,
				   const JqReadyEntry *entry)
{
	(void) owe_entry(DEBT_POPPED, ref, file, entry);
}

void
jq_xact_owe_changed(const JqReadyRef *ref, RelFileNumber file,
					const JqReadyEntry *entry)
{
	if (ndebts < MAX_DEBTS)
		(void) owe_entry(DEBT_POPPED, ref, file, entry);
	else if (!merge(DEBT_UNDO_BACK, ref, entry, DT_NOBEGIN))
		owe_entry(DEBT_UNDO_BACK, ref, file, entry)->u.time = DT_NOBEGIN;
}

static Debt *
owe_lease(DebtKind kind, int64 job_id, int64 token)
{
	Debt *debt = owe(kind);

	debt->entry.job_id = job_id;
	debt->u.token = token;
	return debt;
}

void
jq_xact_owe_lease(int64 job_id, int64 token, TimestampTz expires_at,
				  bool replaced)
{
	Debt *debt = owe_lease(DEBT_LEASE, job_id, token);

	debt->expires_at = expires_at;
	debt->again = replaced;
}

void
jq_xact_owe_lease_end(int64 job_id, int64 token)
{
	(void) owe_lease(DEBT_LEASE_END, job_id, token);
}

void
jq_xact_owe_cancel(int64 job_id, int64 token)
{
	(void) owe_lease(DEBT_CANCEL, job_id, token);
}

void
jq_xact_owe_spare(int64 job_id, int64 token)
{
	(void) owe_lease(DEBT_SPARE, job_id, token);
}

void
jq_xact_owe_unlisted(TimestampTz expires_at)
{
	owe(DEBT_UNLISTED)->u.time = expires_at;
}

void
jq_xact_owe_wake(void)
{
	(void) owe(DEBT_WAKE);
}

void
jq_xact_owe_opened(const JqReadyRef *ref)
{
	owe(DEBT_OPENED)->ref = *ref;
}

void
jq_xact_owe_forget(const JqReadyRef *ref)
{
	owe(DEBT_FORGET)->ref = *ref;
}

void
jq_xact_owe_recheck(void)
{
	(void) owe(DEBT_RECHECK);
}

/*
 * Relaxed claims.
 */

void
jq_xact_claim_begin(bool relaxed)
{
	if (!TransactionIdIsValid(GetTopTransactionIdIfAny()))
		claims_only = relaxed && XactLastRecEnd == InvalidXLogRecPtr;
	else if (!relaxed || XactLastRecEnd != claims_end)
		claims_only = false;
}

void
jq_xact_claim_end(void)
{
	claims_end = XactLastRecEnd;
}

/* Before commit: nothing but relaxed claims does not wait for the disk. */
static void
relax_commit(void)
{
	if (claims_only && XactLastRecEnd == claims_end &&
		synchronous_commit > SYNCHRONOUS_COMMIT_OFF)
		(void) set_config_option("synchronous_commit",
								 "off",
								 PGC_USERSET,
								 PGC_S_SESSION,
								 GUC_ACTION_LOCAL,
								 true,
								 0,
								 false);
}

/*
 * Commit.
 */

/* Is a job to be pushed now?  If not, the worker will do it in time. */
static bool
is_due(const Debt *debt)
{
	return debt->u.time == DT_NOBEGIN ||
		   jq_due_arrive(database_index, debt->u.time);
}

/* Push the jobs of a run of debts to one queue.  Returns the run's length. */
static int
push_run(Debt *first, int max)
{
	JqReadyEntry batch[PUSH_BATCH];
	int length = 0;
	int n = 0;

	while (length < max && n < PUSH_BATCH && first[length].kind == DEBT_PUSH &&
		   first[length].ref.key.queue_id == first->ref.key.queue_id &&
		   first[length].file == first->file &&
		   first[length].again == first->again)
	{
		if (is_due(&first[length]))
			batch[n++] = first[length].entry;
		length++;
	}
	if (n > 0)
		jq_ready_push(&first->ref, first->file, batch, n, first->again);
	return length;
}

static void
move_back(Debt *debt)
{
	if (debt->u.time != DT_NOBEGIN)
		(void) jq_due_arrive(database_index, debt->u.time);
	jq_ready_move_back(&debt->ref, jq_position_of(&debt->entry));
}

/* Settle a debt, or a run of them.  Returns how many. */
static int
settle(Debt *debt, int max)
{
	switch (debt->kind)
	{
		case DEBT_PUSH:
			return push_run(debt, max);
		case DEBT_MOVE_BACK:
			move_back(debt);
			break;
		case DEBT_LEASE_END:
			jq_lease_remove(MyDatabaseId, debt->entry.job_id, debt->u.token);
			break;
		case DEBT_CANCEL:
			jq_lease_request_cancel(
				MyDatabaseId, debt->entry.job_id, debt->u.token);
			break;
		case DEBT_SPARE:
			jq_lease_spare(debt->entry.job_id, debt->u.token);
			break;
		case DEBT_UNLISTED:
			jq_due_unlisted_lease(database_index, debt->u.time);
			break;
		case DEBT_WAKE:
			jq_ready_wake_database(MyDatabaseId);
			break;
		case DEBT_FORGET:
			jq_ready_forget(&debt->ref.key);
			break;
		case DEBT_RECHECK:
			jq_database_recheck(database_index);
			break;
		case DEBT_LEASE:
			if (debt->expires_at <= jq_now())
				jq_due_unlisted_lease(database_index, debt->expires_at);
			break;
		case DEBT_POPPED:
		case DEBT_UNDO_BACK:
		case DEBT_OPENED:
			break;
	}
	return 1;
}

static void
settle_all(void)
{
	/* First, lest a lease be spared, and prolonged, that has just ended. */
	for (int i = 0; i < ndebts; i++)
		if (debts[i].kind == DEBT_LEASE_END)
			(void) settle(&debts[i], 1);
	for (int i = 0; i < ndebts;)
		i += settle(&debts[i], ndebts - i);
}

/*
 * Abort.
 */

static void
undo(Debt *debt)
{
	switch (debt->kind)
	{
		case DEBT_POPPED:
			jq_ready_give_back(&debt->ref, debt->file, &debt->entry);
			break;
		case DEBT_LEASE:
			jq_lease_remove(MyDatabaseId, debt->entry.job_id, debt->u.token);
			/* The one that it replaced counts again. */
			if (debt->again)
				jq_due_unlisted_lease(database_index, DT_NOBEGIN);
			break;
		case DEBT_UNDO_BACK:
			move_back(debt);
			break;
		case DEBT_OPENED:
			jq_ready_forget(&debt->ref.key);
			break;
		case DEBT_SPARE:
			jq_lease_spare(debt->entry.job_id, debt->u.token);
			break;
		default:
			break;
	}
}

/* Undo, latest first, what was done at this nesting level or below. */
static void
undo_from_level(int level)
{
	while (ndebts > 0 && debts[ndebts - 1].level >= level)
		undo(&debts[--ndebts]);
}

/*
 * Prepare.
 */

/*
 * What this session can still do for a prepared transaction.  Hints go back to
 * the index: claimers drop those whose row the transaction holds, and COMMIT
 * PREPARED and ROLLBACK PREPARED have the queues scanned anew.  Leases that it
 * is about to end are spared: it holds their rows.
 */
static void
settle_for_prepare(void)
{
	for (int i = ndebts - 1; i >= 0; i--)
		switch (debts[i].kind)
		{
			case DEBT_PUSH:
			case DEBT_MOVE_BACK:
			case DEBT_UNDO_BACK:
				move_back(&debts[i]);
				break;
			case DEBT_POPPED:
			case DEBT_SPARE:
				undo(&debts[i]);
				break;
			default:
				break;
		}
}

/* Memory of a huge transaction is not kept for the next. */
static void
forget_debts(void)
{
	ndebts = 0;
	claims_only = false;
	claims_end = InvalidXLogRecPtr;
	if (max_debts > 2 * MAX_DEBTS)
	{
		pfree(debts);
		debts = NULL;
		max_debts = 0;
	}
}

static void
xact_callback(XactEvent event, void *arg)
{
	switch (event)
	{
		case XACT_EVENT_PRE_COMMIT:
			JQ_FAULT("xact-precommit");
			relax_commit();
			break;
		case XACT_EVENT_COMMIT:
			settle_all();
			forget_debts();
			break;
		case XACT_EVENT_ABORT:
			jq_ready_scan_abort();
			jq_ready_wait_abort();
			undo_from_level(1);
			forget_debts();
			break;
		case XACT_EVENT_PREPARE:
			settle_for_prepare();
			forget_debts();
			break;
		default:
			break;
	}
}

static void
subxact_callback(SubXactEvent event, SubTransactionId mine,
				 SubTransactionId parent, void *arg)
{
	int level = GetCurrentTransactionNestLevel();

	if (event == SUBXACT_EVENT_ABORT_SUB)
	{
		jq_ready_scan_abort();
		jq_ready_wait_abort();
		undo_from_level(level);
	}
	else if (event == SUBXACT_EVENT_COMMIT_SUB)
		for (int i = ndebts - 1; i >= 0 && debts[i].level >= level; i--)
			debts[i].level = level - 1;
}

void
jq_xact_register(void)
{
	RegisterXactCallback(xact_callback, NULL);
	RegisterSubXactCallback(subxact_callback, NULL);
}
