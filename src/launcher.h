/*-------------------------------------------------------------------------
 *
 * launcher.h
 *		The process that starts a maintenance worker for each database.
 *
 *-------------------------------------------------------------------------
 */
#ifndef JQ_LAUNCHER_H
#define JQ_LAUNCHER_H

/*
 * Have the launcher started with the server.  From _PG_init; does nothing
 * when the library is not being preloaded, or for pg_upgrade, which drops
 * databases that a worker would sit in.
 */
extern void jq_launcher_register(void);

#endif /* JQ_LAUNCHER_H */
