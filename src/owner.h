/*-------------------------------------------------------------------------
 *
 * owner.h
 *		Running SQL on our private tables on behalf of a caller.
 *
 *-------------------------------------------------------------------------
 */
#ifndef JQ_OWNER_H
#define JQ_OWNER_H

#include "executor/spi.h"

/*
 * Run a statement by SPI as the owner of the extension's tables, with a
 * pinned search path.  Its plan is kept in *plan for the next call.  Error
 * unless SPI answers as expected.  The caller is connected to SPI.
 */
typedef struct JqStatement
{
	const char *sql;
	int expected; /* SPI_OK_... */
	int nargs;
	Oid types[16];
	SPIPlanPtr plan; /* NULL until first run */
} JqStatement;

extern uint64 jq_owner_run(JqStatement *statement, Datum *values,
						   const char *nulls, long limit);

#endif /* JQ_OWNER_H */
