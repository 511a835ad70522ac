/* Twins: which memory of a space has the same text fingerprint.
 *
 * A private table of the log thread, rebuilt from the store at start. It only
 * hints: who uses an answer checks the slot. Near-duplicates are reported to the
 * sender, never dropped.
 */
#ifndef WAL_TWINS_H
#define WAL_TWINS_H

#include "shm/slot.h"

struct twins {
	uint64_t *keys;                /* 0 = empty */
	uint32_t *slots;
	uint64_t cap, used;            /* a power of two */
};

void twins_init(struct twins *t);
void twins_fini(struct twins *t);
void twins_rebuild(struct twins *t, const struct store *s);

/* The slot last stored with this fingerprint, EG_NONE = none; then remembers slot. */
uint32_t twins_swap(struct twins *t, uint32_t space, uint64_t fingerprint, uint32_t slot);

#endif
