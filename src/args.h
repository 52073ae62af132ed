/*-------------------------------------------------------------------------
 *
 * args.h
 *		Reading and checking the arguments of SQL functions.
 *
 * All of these report a clear error for bad input, with the argument's name;
 * argument numbers count from 0, and name is the argument's SQL name.
 *
 *-------------------------------------------------------------------------
 */
#ifndef JQ_ARGS_H
#define JQ_ARGS_H

#include "fmgr.h"
#include "utils/timestamp.h"

#define JQ_MAX_NAME_BYTES 255
#define JQ_MAX_ARRAY_LENGTH 1000000
#define JQ_MAX_INTERVAL_US (INT64CONST(1000) * 366 * USECS_PER_DAY)

/* An interval's length in microseconds, a month being 30 days. */
extern int64 jq_interval_us(const Interval *interval);

/* Error if the argument is null. */
extern void jq_arg_require(FunctionCallInfo fcinfo, int n, const char *name);

/* A name of 1 to 255 bytes; null if it may be null and is. */
extern text *jq_arg_name(FunctionCallInfo fcinfo, int n, const char *name,
						 bool may_be_null);

/* Text of any length; null stays null. */
extern text *jq_arg_text(FunctionCallInfo fcinfo, int n);

/* An integer in lo .. hi; if_null when null. */
extern int jq_arg_int(FunctionCallInfo fcinfo, int n, const char *name, int lo,
					  int hi, int if_null);

/* An interval of at least lo_us microseconds and at most 1000 years. */
extern int64 jq_arg_interval(FunctionCallInfo fcinfo, int n, const char *name,
							 int64 lo_us, int64 if_null);

/* A one-dimensional array of bigint without nulls.  Returns its length. */
extern int jq_arg_int64_array(FunctionCallInfo fcinfo, int n, const char *name,
							  int64 **values);

/* A one-dimensional array of jsonb; nulls may be NULL to forbid nulls. */
extern int jq_arg_jsonb_array(FunctionCallInfo fcinfo, int n, const char *name,
							  Datum **values, bool **nulls);

/* Error if two arrays differ in length. */
extern void jq_args_same_length(int a, const char *a_name, int b,
								const char *b_name);

/* Error JQ007 if a jsonb value is larger than job_queue.max_payload_bytes. */
extern void jq_args_check_size(Datum jsonb, const char *name);

#endif /* JQ_ARGS_H */
