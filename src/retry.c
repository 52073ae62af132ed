/*-------------------------------------------------------------------------
 *
 * retry.c
 *		Decisions about a job, as functions of their arguments alone.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <math.h>

#include "common/pg_prng.h"
#include "fmgr.h"
#include "utils/timestamp.h"

#include "args.h"
#include "retry.h"

int64
jq_retry_delay_us(int attempt, int64 base_us, double factor, int64 max_us,
				  double jitter, double random)
{
	/* pow() overflows to infinity, which the minimum then cuts */
	double delay = (double) base_us * pow(factor, attempt - 1);

	if (!(delay < (double) max_us))
		delay = (double) max_us;
	delay *= 1.0 + jitter * (2.0 * random - 1.0);

	return delay <= 0 ? 0 : (int64) delay;
}

JqFailure
jq_retry_decide(int attempt, int max_attempts, bool retryable,
				bool cancel_requested)
{
	if (cancel_requested)
		return JQ_FAILURE_CANCEL;
	if (retryable && attempt < max_attempts)
		return JQ_FAILURE_RETRY;
	return JQ_FAILURE_FINAL;
}

int64
jq_retry_lease_end(int64 now, int64 lease_us, int64 deadline)
{
	return Min(now + lease_us, deadline);
}

PG_FUNCTION_INFO_V1(job_queue_backoff);

/*
 * job_queue._backoff(attempt int, base interval, factor double precision,
 *					  max interval, jitter double precision) returns interval
 *
 * The delay before the attempt after this one.  Declared STRICT.
 */
Datum
job_queue_backoff(PG_FUNCTION_ARGS)
{
	Interval *delay = palloc0(sizeof(Interval));

	delay->time = jq_retry_delay_us(PG_GETARG_INT32(0),
									jq_interval_us(PG_GETARG_INTERVAL_P(1)),
									PG_GETARG_FLOAT8(2),
									jq_interval_us(PG_GETARG_INTERVAL_P(3)),
									PG_GETARG_FLOAT8(4),
									pg_prng_double(&pg_global_prng_state));
	PG_RETURN_INTERVAL_P(delay);
}
