/* All that crosses fork: what the master hands to a child, and nothing else.
 * Filled by master/, read by the main function of each process kind. */
#ifndef SHM_HERITAGE_H
#define SHM_HERITAGE_H

#include "shm/desk.h"

struct config;                     /* common/config.h */

struct listener {                  /* one socket, made by the master, never closed while it runs */
	int fd;
	char text[64];             /* "127.0.0.1:7432" */
};

struct heritage {
	const struct config *config;       /* of this generation; the child's own copy after fork */
	const char *config_path;           /* for re-reading reload-safe keys; NULL = defaults */
	char *const *overrides;            /* -g, in order */
	size_t n_overrides;
	uint32_t config_generation;
	struct desks *desks;
	unsigned desk;                     /* the child's own */
	uint32_t incarnation;              /* of its seat */
	uint32_t index;                    /* worker number, 0.. */
	uint32_t node;
	uint64_t boot_id;                  /* random, the same for the life of this master */
	int lock_fd;                       /* LOCK of data_dir, held by the family */
	char shm_prefix[40];               /* "/engram-<16 hex>-": names of all regions of this data_dir */
	const struct listener *listeners;  /* of this worker: event_threads x addresses */
	unsigned n_listeners;
	int parent_pid;                    /* the master, for the getppid check */
};

#endif
