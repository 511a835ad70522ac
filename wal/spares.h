/* Spare segments: files made ahead by a thread of their own, so that preparing
 * blocks, and the lack of them, happen outside of the commit path.
 */
#ifndef WAL_SPARES_H
#define WAL_SPARES_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "wal/datadir.h"

#define EG_SPARES 2u                   /* kept ready */

struct spares {
	const struct datadir *dir;
	uint64_t bytes;                /* of a segment */
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t changed;        /* a spare was taken, or made, or stop */
	char ready[EG_SPARES][32];
	unsigned n;
	uint64_t next_name;
	int error;                     /* errno of the last attempt, 0 = fine */
	bool running, stop;
};

/* Adopt spares of the right size that lie there, remove others, start the thread. */
enum err spares_open(struct spares *s, const struct datadir *dir, uint64_t bytes, struct fault *f) EG_MUST_USE;
void spares_close(struct spares *s);

/* Wait until one is there. EG_E_NO_STORAGE when none could be made. */
enum err spares_wait(struct spares *s, struct fault *f) EG_MUST_USE;
/* Take one: its name in spare/. Waits while the thread is making one; EG_E_NO_STORAGE
 * when it could not. */
enum err spares_take(struct spares *s, char name[32], struct fault *f) EG_MUST_USE;

/* Only one is left (or none), and no other can be made at present. */
bool spares_short(struct spares *s);

#endif
