/* Slots: the stable header of a memory, for the life of its id.
 *
 * 128 bytes; 16 of them, one chunk, belong to one space. A reference to a slot
 * anywhere else is (slot, generation) and is re-checked before it is served.
 * What belongs to one version of the memory (text, vector, times) is in the
 * immutable body that one word names, so a reader never mixes two versions.
 *
 *   state   FREE -> FILLING -> LIVE -> RETIRED -> FREE (generation + 1)
 *   word    generation << 8 | state, stored last
 *
 * Writer: wal process. Readers: everybody, in an epoch section.
 * Reclaimed by: the writer, a grace period after RETIRED.
 */
#ifndef SHM_SLOT_H
#define SHM_SLOT_H

#include "shm/body.h"
#include "shm/space.h"

enum slot_state { EG_SLOT_FREE, EG_SLOT_FILLING, EG_SLOT_LIVE, EG_SLOT_RETIRED };
enum tier { EG_TIER_HOT, EG_TIER_WARM, EG_TIER_COLD, EG_TIERS };

struct slot {
	_Atomic uint64_t word;            /* generation << 8 | state */
	_Atomic uint64_t body;            /* heap offset of struct body, 0 = none */
	_Atomic uint64_t truth;           /* Beta(a, b) as two f32 */
	_Atomic uint64_t memory;          /* stability in days, difficulty, as two f32 */
	_Atomic uint64_t last_access_ms;  /* real time of the last access, 0 = never */
	_Atomic uint64_t accesses;        /* returned by a recall 32 | read by id 32 */
	_Atomic uint64_t tier;            /* enum tier */
	_Atomic uint64_t associations;    /* heap offset of the association list, 0 = none */
	uint64_t pad[8];
};
_Static_assert(sizeof(struct slot) == 128, "one header slab entry");

struct slot_chunk {                       /* chunk c holds slots c * 16 .. c * 16 + 15 */
	struct slot slots[EG_CHUNK];
	_Atomic uint32_t space;           /* EG_NONE = free */
	_Atomic uint32_t next;            /* of the same space, EG_NONE = last */
	_Atomic uint64_t changed_lsn;     /* highest LSN that changed a memory of it, 0 = none since it was loaded */
	uint8_t pad[112];
};
_Static_assert(sizeof(struct slot_chunk) == EG_CHUNK * 128 + 128, "the picture above");

/* A memory found: valid within the epoch section. */
struct engram {
	const struct slot *slot;
	const struct body *body;
	uint32_t number;                  /* of the slot */
	uint32_t generation;
};

/* The memory with this id in a space; false when there is none. */
bool slot_find(const struct store *s, const struct space *sp, const char *id, size_t n,
               struct engram *e) EG_MUST_USE;
/* The memory behind a reference; false when the slot has been given away. */
bool slot_get(const struct store *s, uint32_t number, uint32_t generation, struct engram *e) EG_MUST_USE;
/* The live memory in that slot, whosever it is; false when there is none (e->generation
 * is set even then). The number is below 16 x slot_chunks(). */
bool slot_at(const struct store *s, uint32_t number, struct engram *e) EG_MUST_USE;
uint32_t slot_chunks(const struct store *s);
/* LSN of the last change to a chunk's memories: who has read an LSN as applied sees
 * at least that one here. Changes of access counts do not count. */
uint64_t slot_chunk_changed(const struct store *s, uint32_t chunk);

/* Walk all live memories of a space: slot_walk once, then slot_next until
 * false. Order is by chunk, newest chunk first; a memory stored meanwhile may
 * or may not be met, one that lives throughout is met exactly once. */
struct slot_walk { const struct store *store; uint32_t chunk, at; uint32_t space; };
void slot_walk(const struct store *s, const struct space *sp, struct slot_walk *w);
bool slot_next(struct slot_walk *w, struct engram *e);

#endif
