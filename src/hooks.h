/*-------------------------------------------------------------------------
 *
 * hooks.h
 *		Commands of the server that concern our workers or our jobs.
 *
 *-------------------------------------------------------------------------
 */
#ifndef JQ_HOOKS_H
#define JQ_HOOKS_H

/* From _PG_init, when the library is being preloaded. */
extern void jq_hooks_install(void);

#endif /* JQ_HOOKS_H */
