/* The id table: from an id to its slot (or from a space's name to its number).
 *
 * One open-addressed table of 8-byte words per shard, in the heap:
 *
 *   word   tag << 32 | (number + 2)     tag = high 32 bits of the key
 *          0 = empty, 1 = removed
 *
 * The place of a key is tag modulo the size, so a table can be doubled from its
 * words alone. The root word (offset << 8 | log2 size) switches to the new one.
 * A word only says where to look: the caller compares the id itself.
 *
 * Writer: wal process. Readers: everybody. Reclaimed by: the writer, by epoch.
 */
#ifndef SHM_IDS_H
#define SHM_IDS_H

#include "shm/store.h"

struct ids_probe { const _Atomic uint64_t *words; uint64_t mask, at, left; uint32_t tag; };

/* All numbers whose word bears the key's tag, one by one; EG_NONE at the end. */
void ids_probe(const struct store *s, unsigned shard, uint64_t key, struct ids_probe *p);
uint32_t ids_next(struct ids_probe *p);
/* It will be looked for soon. */
void ids_prefetch(const struct store *s, unsigned shard, uint64_t key);

/* Key of a space's name in table EG_SHARDS. */
uint64_t ids_space_key(const char *id, size_t n);
/* record_key: 64-bit hash of space id and memory id; stable for ever (it is in the log). */
uint64_t record_key(const char *space_id, size_t space_bytes, const char *id, size_t id_bytes);

#endif
