/* Overlay: what admission has promised but apply has not shown yet.
 *
 * The log thread admits a round while the one before is still being applied.
 * For the ids in flight, this says what they will be; everything else is looked
 * up in the store. Entries leave in the order they came, once their shard's
 * applied LSN has reached them; undo takes back the newest ones.
 */
#ifndef WAL_OVERLAY_H
#define WAL_OVERLAY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "shm/layout.h"

struct promise {                       /* what a memory will be */
	uint64_t key, lsn, version, digest;
	uint64_t prev;                 /* older position of the same bucket, + 1 */
	uint32_t space, slot, generation;
	uint32_t raw_bytes;
	uint16_t id_bytes;
	uint8_t shard;
	bool live;
	char id[EG_ID_MAX];
};

#define EG_OVERLAY_BUCKETS 16384u

struct overlay {
	struct promise *ring;
	uint64_t first, next;          /* positions, modulo cap (a power of two) */
	size_t cap;
	uint64_t buckets[EG_OVERLAY_BUCKETS]; /* newest position + 1, 0 = none */
};

void overlay_init(struct overlay *o);
void overlay_fini(struct overlay *o);

/* The newest promise for this id, or NULL. Valid until the next overlay_add. */
const struct promise *overlay_find(const struct overlay *o, uint64_t key, uint32_t space,
                                   const char *id, size_t n);
/* Remember one; lsn is set by overlay_number once it is known. Returns its position. */
uint64_t overlay_add(struct overlay *o, const struct promise *p);
void overlay_number(struct overlay *o, uint64_t position, uint64_t lsn);
/* Forget the newest (undo), or all whose effect is visible. */
void overlay_undo(struct overlay *o);
void overlay_prune(struct overlay *o, const _Atomic uint64_t *applied_lsn);

#endif
