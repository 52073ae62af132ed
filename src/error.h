/*-------------------------------------------------------------------------
 *
 * error.h
 *		The SQLSTATEs of job_queue.
 *
 *-------------------------------------------------------------------------
 */
#ifndef JQ_ERROR_H
#define JQ_ERROR_H

#include "utils/elog.h"

#define JQ_ERRCODE(d4, d5) MAKE_SQLSTATE('J', 'Q', '0', d4, d5)

#define JQ_ERRCODE_LEASE_LOST JQ_ERRCODE('0', '1')
#define JQ_ERRCODE_CANCELLED JQ_ERRCODE('0', '2')
#define JQ_ERRCODE_NO_QUEUE JQ_ERRCODE('0', '3')
#define JQ_ERRCODE_DUPLICATE_KEY JQ_ERRCODE('0', '4')
#define JQ_ERRCODE_QUEUE_FULL JQ_ERRCODE('0', '5')
#define JQ_ERRCODE_NO_JOB JQ_ERRCODE('0', '6')
#define JQ_ERRCODE_PAYLOAD_TOO_LARGE JQ_ERRCODE('0', '7')
#define JQ_ERRCODE_WRONG_STATE JQ_ERRCODE('0', '8')
#define JQ_ERRCODE_NOT_PERMITTED JQ_ERRCODE('0', '9')
#define JQ_ERRCODE_NO_SHARED_MEMORY JQ_ERRCODE('1', '0')
#define JQ_ERRCODE_NO_SESSION JQ_ERRCODE('1', '1')

#endif /* JQ_ERROR_H */
