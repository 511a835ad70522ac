/* Memory spaces: the directory in shared memory.
 *
 * A space is a number, given once and never reused; its id (name) is found by
 * an id table of its own. An entry is 256 bytes:
 *
 *     0  state 4, number 4, created_us 8, lsn 8, deleted flag in state
 *    24  id[64]
 *    88  settings (struct space_settings, replaced as a whole: see below)
 *   128  mutable words: chunk lists, counts
 *
 * Writer: wal process. Readers: everybody. Reclaimed by: never (numbers are not reused).
 */
#ifndef SHM_SPACE_H
#define SHM_SPACE_H

#include "shm/store.h"

enum space_state { EG_SPACE_NONE, EG_SPACE_LIVE, EG_SPACE_DELETED };
enum vector_source { EG_SOURCE_UNSET, EG_SOURCE_CLIENT, EG_SOURCE_BUILTIN };
enum recall_profile { EG_PROFILE_DEFAULT, EG_PROFILE_FACTS, EG_PROFILE_DIALOGUE };

/* Independently valid 8-byte words, so a reader never sees half a change. */
struct space {
	_Atomic uint32_t state;           /* enum space_state, stored last */
	uint32_t number;
	int64_t created_us;
	_Atomic uint64_t lsn;             /* of the record that made or changed it */
	char id[EG_SPACE_ID_MAX + 1];
	_Atomic uint64_t vectors;         /* enum vector_source << 32 | dimension (0 = not fixed yet) */
	_Atomic uint64_t settings;        /* profile 8 | forgetting 8 | lexical weight 24 | vector weight 24 (x 10^6; all ones = default) */
	_Atomic uint64_t quota_memories, quota_bytes; /* 0 = none */
	_Atomic uint32_t slot_head;       /* first chunk of slots, EG_NONE = none */
	_Atomic uint32_t node_head;       /* link to the first chunk of nodes, see node.h */
	_Alignas(64) _Atomic uint64_t memories; /* live memories */
	_Atomic uint64_t terms;           /* sum of document lengths, for BM25's average */
	_Atomic uint64_t raw_bytes;
	_Atomic uint64_t with_vector;     /* live memories that have a vector */
	_Atomic uint64_t changed_lsn;     /* highest LSN that changed a word of a checkpoint's entry, 0 = none since loaded */
	_Atomic uint32_t graph;           /* 1 + number of its graph (graph.h), 0 = none */
	uint32_t pad32;
	uint64_t pad[10];
};
_Static_assert(sizeof(struct space) == 256, "the picture above");

/* The space of that id, live ones only, or NULL. id is n bytes. */
const struct space *space_find(const struct store *s, const char *id, size_t n);
/* By number (live or deleted), or NULL. */
const struct space *space_get(const struct store *s, uint32_t number);
/* Numbers in use are 0 .. space_count() - 1. */
uint32_t space_count(const struct store *s);

static inline uint32_t space_dimension(const struct space *sp)
{
	return (uint32_t)atomic_load_explicit(&sp->vectors, memory_order_acquire);
}
static inline enum vector_source space_source(const struct space *sp)
{
	return (enum vector_source)(atomic_load_explicit(&sp->vectors, memory_order_acquire) >> 32);
}

/* Unpack the settings word; a weight of -1 means the server's default. */
struct space_settings { enum recall_profile profile; bool forgetting; float lexical_weight, vector_weight; };
struct space_settings space_settings(const struct space *sp);
uint64_t space_pack_settings(const struct space_settings *s);

/* Whether n bytes at id follow [a-z0-9][a-z0-9_-]{0,62}. */
bool space_valid_id(const char *id, size_t n);

#endif
