/* Loading: memory for the new store, populated by several threads while others read.
 *
 * Clearing pages takes a third of a load's processor time. Who knows how long a region will
 * be says so (fill_add); the threads take it piece by piece; fill_end waits for the last
 * piece, and publishes the regions' new lengths. Until then nobody may touch what is new.
 */
#ifndef WAL_LOAD_FILL_H
#define WAL_LOAD_FILL_H

#include <pthread.h>

#include "shm/desk.h"
#include "shm/region_write.h"

#define EG_FILL_REGIONS (2u * EG_CLASSES + 2u)
#define EG_FILL_THREADS 8u

struct filler {
	const struct desks *desks;     /* whose heartbeat goes on */
	pthread_mutex_t lock;          /* guards all below */
	pthread_cond_t more;
	struct { struct region *region; uint64_t at, want; } of[EG_FILL_REGIONS];
	unsigned n, next;              /* regions; the one whose pieces are taken */
	int error;                     /* the first */
	bool sealed;                   /* no more regions come */
	unsigned n_threads;
	pthread_t threads[EG_FILL_THREADS];
};

/* threads: how many beside the caller's; fewer when they cannot be had. */
void fill_begin(struct filler *l, const struct desks *d, unsigned threads);
/* At least so many bytes of r will exist. EG_E_NO_STORAGE. */
enum err fill_add(struct filler *l, struct region *r, uint64_t bytes, struct fault *f) EG_MUST_USE;
/* Help, wait, publish. After an error (why != EG_E_OK) no length is published. EG_E_NO_STORAGE. */
enum err fill_end(struct filler *l, enum err why, struct fault *f) EG_MUST_USE;

#endif
