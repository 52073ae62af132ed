/*-------------------------------------------------------------------------
 *
 * shmem.h
 *		Shared memory: put together from the parts of the modules.
 *
 *-------------------------------------------------------------------------
 */
#ifndef JQ_SHMEM_H
#define JQ_SHMEM_H

/* Ask for shared memory and its initialisation.  From _PG_init only. */
extern void jq_shmem_install(void);

/* Is there shared memory, that is, was the library preloaded? */
extern bool jq_shmem_available(void);

/* Error JQ010 if there is none; what names the call that needs it. */
extern void jq_shmem_require(const char *what);

#endif /* JQ_SHMEM_H */
