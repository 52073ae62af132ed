/*-------------------------------------------------------------------------
 *
 * retry.h
 *		Decisions about a job, as functions of their arguments alone.
 *
 * No I/O, no clock, no randomness of their own: a simulator can run millions
 * of them from a seed.
 *
 *-------------------------------------------------------------------------
 */
#ifndef JQ_RETRY_H
#define JQ_RETRY_H

/* What happens to a job whose attempt has failed. */
typedef enum JqFailure
{
	JQ_FAILURE_RETRY,  /* it waits for another attempt */
	JQ_FAILURE_FINAL,  /* it is finished, failed */
	JQ_FAILURE_CANCEL, /* it is finished, cancelled */
} JqFailure;

/*
 * Delay in microseconds before the attempt after this one:
 * least(base * factor^(attempt - 1), max), then plus or minus the fraction
 * jitter of it.  random is uniform in [0, 1).  Never negative, and saturates
 * at max * (1 + jitter).
 */
extern int64 jq_retry_delay_us(int attempt, int64 base_us, double factor,
							   int64 max_us, double jitter, double random);

/* What an attempt's failure means. */
extern JqFailure jq_retry_decide(int attempt, int max_attempts, bool retryable,
								 bool cancel_requested);

/*
 * End of a lease of so many microseconds taken at now, which an attempt that
 * must end at deadline (DT_NOEND: none) cannot hold longer.
 */
extern int64 jq_retry_lease_end(int64 now, int64 lease_us, int64 deadline);

#endif /* JQ_RETRY_H */
