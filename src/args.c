/*-------------------------------------------------------------------------
 *
 * args.c
 *		Reading and checking the arguments of SQL functions.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/detoast.h"
#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/builtins.h"

#include "args.h"
#include "error.h"
#include "guc.h"

int64
jq_interval_us(const Interval *interval)
{
	return interval->time +
		   (interval->day + interval->month * (int64) DAYS_PER_MONTH) *
			   USECS_PER_DAY;
}

void
jq_arg_require(FunctionCallInfo fcinfo, int n, const char *name)
{
	if (PG_ARGISNULL(n))
		ereport(ERROR,
				errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				errmsg("argument \"%s\" must not be null", name));
}

text *
jq_arg_name(FunctionCallInfo fcinfo, int n, const char *name, bool may_be_null)
{
	text *value;
	Size length;

	if (PG_ARGISNULL(n) && may_be_null)
		return NULL;
	jq_arg_require(fcinfo, n, name);

	value = PG_GETARG_TEXT_PP(n);
	length = VARSIZE_ANY_EXHDR(value);
	if (length < 1 || length > JQ_MAX_NAME_BYTES)
		ereport(
			ERROR,
			errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			errmsg("argument \"%s\" must have 1 to %d bytes, not %zu",
				   name,
				   JQ_MAX_NAME_BYTES,
				   length),
			length < 1
				? 0
				: errhint(
					  "Put longer texts into the payload or the metadata."));
	return value;
}

text *
jq_arg_text(FunctionCallInfo fcinfo, int n)
{
	return PG_ARGISNULL(n) ? NULL : PG_GETARG_TEXT_PP(n);
}

int
jq_arg_int(FunctionCallInfo fcinfo, int n, const char *name, int lo, int hi,
		   int if_null)
{
	int value;

	if (PG_ARGISNULL(n))
		return if_null;

	value = PG_GETARG_INT32(n);
	if (value < lo || value > hi)
		ereport(ERROR,
				errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				errmsg("argument \"%s\" must be between %d and %d, not %d",
					   name,
					   lo,
					   hi,
					   value));
	return value;
}

/* Can every field of an interval be added up without overflow? */
static bool
interval_is_sane(const Interval *interval)
{
	return interval->month >= -12000 && interval->month <= 12000 &&
		   interval->day >= -366000 && interval->day <= 366000 &&
		   interval->time >= -JQ_MAX_INTERVAL_US &&
		   interval->time <= JQ_MAX_INTERVAL_US;
}

int64
jq_arg_interval(FunctionCallInfo fcinfo, int n, const char *name, int64 lo_us,
				int64 if_null)
{
	Interval *interval;
	int64 us = -1;

	if (PG_ARGISNULL(n))
		return if_null;

	interval = PG_GETARG_INTERVAL_P(n);
	if (interval_is_sane(interval))
		us = jq_interval_us(interval);
	if (us < lo_us || us > JQ_MAX_INTERVAL_US)
		ereport(
			ERROR,
			errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			errmsg("argument \"%s\" must be %s and at most 1000 years, not %s",
				   name,
				   lo_us > 0 ? "positive" : "at least zero",
				   DatumGetCString(DirectFunctionCall1(
					   interval_out, IntervalPGetDatum(interval)))));
	return us;
}

/* Take a one-dimensional array apart. */
static int
array_elements(FunctionCallInfo fcinfo, int n, const char *name, Datum **values,
			   bool **nulls)
{
	ArrayType *array;
	int length;

	jq_arg_require(fcinfo, n, name);
	array = PG_GETARG_ARRAYTYPE_P(n);
	if (ARR_NDIM(array) > 1)
		ereport(
			ERROR,
			errcode(ERRCODE_ARRAY_SUBSCRIPT_ERROR),
			errmsg("argument \"%s\" must be a one-dimensional array", name));
	length = ArrayGetNItems(ARR_NDIM(array), ARR_DIMS(array));
	if (length > JQ_MAX_ARRAY_LENGTH)
		ereport(ERROR,
				errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				errmsg("argument \"%s\" has %d elements, more than %d",
					   name,
					   length,
					   JQ_MAX_ARRAY_LENGTH),
				errhint("Use several calls."));

	if (ARR_ELEMTYPE(array) == INT8OID)
		deconstruct_array(array,
						  INT8OID,
						  sizeof(int64),
						  FLOAT8PASSBYVAL,
						  TYPALIGN_DOUBLE,
						  values,
						  nulls,
						  &length);
	else
		deconstruct_array(
			array, JSONBOID, -1, false, TYPALIGN_INT, values, nulls, &length);
	return length;
}

static void
forbid_nulls(const bool *nulls, int length, const char *name)
{
	for (int i = 0; i < length; i++)
		if (nulls[i])
			ereport(ERROR,
					errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					errmsg("element %d of argument \"%s\" must not be null",
						   i + 1,
						   name));
}

int
jq_arg_int64_array(FunctionCallInfo fcinfo, int n, const char *name,
				   int64 **values)
{
	Datum *elements;
	bool *nulls;
	int length = array_elements(fcinfo, n, name, &elements, &nulls);

	forbid_nulls(nulls, length, name);
	*values = palloc(sizeof(int64) * Max(length, 1));
	for (int i = 0; i < length; i++)
		(*values)[i] = DatumGetInt64(elements[i]);
	return length;
}

int
jq_arg_jsonb_array(FunctionCallInfo fcinfo, int n, const char *name,
				   Datum **values, bool **nulls)
{
	bool *are_null;
	int length = array_elements(fcinfo, n, name, values, &are_null);

	if (nulls == NULL)
		forbid_nulls(are_null, length, name);
	else
		*nulls = are_null;
	return length;
}

void
jq_args_same_length(int a, const char *a_name, int b, const char *b_name)
{
	if (a != b)
		ereport(
			ERROR,
			errcode(ERRCODE_ARRAY_SUBSCRIPT_ERROR),
			errmsg("arguments \"%s\" and \"%s\" differ in length: %d and %d",
				   a_name,
				   b_name,
				   a,
				   b));
}

void
jq_args_check_size(Datum jsonb, const char *name)
{
	Size size = toast_raw_datum_size(jsonb) - VARHDRSZ;

	if (size > (Size) jq_max_payload_bytes)
		ereport(
			ERROR,
			errcode(JQ_ERRCODE_PAYLOAD_TOO_LARGE),
			errmsg("%s of %zu bytes is larger than %d bytes",
				   name,
				   size,
				   jq_max_payload_bytes),
			errhint("Store large documents elsewhere and enqueue a "
					"reference, or raise \"job_queue.max_payload_bytes\"."));
}
