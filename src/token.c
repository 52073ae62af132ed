/*-------------------------------------------------------------------------
 *
 * token.c
 *		Lease tokens.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "token.h"

#define TOKEN_MASK ((UINT64CONST(1) << 53) - 1)

/* Asking the system for randomness is dear, so ask for many at a time. */
static uint64 stock[64];
static int nstock = 0;

int64
jq_token_new(void)
{
	int64 token;

	do
	{
		if (nstock == 0)
		{
			if (!pg_strong_random(stock, sizeof(stock)))
				ereport(ERROR,
						errcode(ERRCODE_INTERNAL_ERROR),
						errmsg("could not generate a lease token"));
			nstock = lengthof(stock);
		}
		token = (int64) (stock[--nstock] & TOKEN_MASK);
	} while (token == 0);

	return token;
}
