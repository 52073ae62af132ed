/*-------------------------------------------------------------------------
 *
 * token.h
 *		Lease tokens.
 *
 *-------------------------------------------------------------------------
 */
#ifndef JQ_TOKEN_H
#define JQ_TOKEN_H

/*
 * A new token: 53 random bits, never 0, so that JSON clients keep it exact.
 * Random, because counters repeat after a lost claim, a failover or a
 * point-in-time restore.
 */
extern int64 jq_token_new(void);

#endif /* JQ_TOKEN_H */
