/* Memories whose expires_at has passed: found by a walk, deleted through a lane.
 *
 * A delete names the version that was seen, so a memory that got a new version
 * meanwhile stays. Epoch sections are short: the walk pauses every EXPIRE_VISITS
 * memories. What it misses by that is met by the next run.
 */
#ifndef WORKERS_EXPIRE_H
#define WORKERS_EXPIRE_H

#include "shm/epoch.h"
#include "shm/slot.h"
#include "wal/submit.h"

enum { EXPIRE_BATCH = 256, EXPIRE_VISITS = 4096 };

struct expired {
	char space[EG_SPACE_ID_MAX + 1], id[EG_ID_MAX];
	size_t id_bytes;
	uint64_t version;
};

struct expire_walk {
	const struct store *store;
	struct epoch *epoch;
	int64_t now_us;
	uint32_t space;                /* number of the space that is walked */
	bool inside;                   /* walk is begun */
	struct slot_walk walk;
};

void expire_begin(struct expire_walk *w, const struct store *s, struct epoch *e, int64_t now_us);
/* Up to EXPIRE_BATCH more into out; false: the walk is over (and *n may still be > 0). */
bool expire_find(struct expire_walk *w, struct expired out[EXPIRE_BATCH], unsigned *n);
/* The delete of one of them; points into x. */
void expire_draft(const struct expired *x, struct draft *d);

#endif
