/* Bodies: one version of a memory, immutable, in the heap.
 *
 * A body is the log record of that version (wal/record.h explains the fields)
 * without its vector, behind 32 bytes of its own:
 *
 *     0  magic, bytes of the block, slot, generation, node class, node number
 *    32  struct record (128 bytes)
 *   160  terms: n_terms x 8, sorted, 48-bit hash << 16 | occurrences
 *        tags: n_tags x 8, 64-bit hashes in the order given
 *        id: id_bytes
 *        packed: a protobuf-c message Memory (wal/record.proto): content, tags, ...
 *
 * Writer: wal process. Readers: everybody. Reclaimed by: the writer, by epoch.
 */
#ifndef SHM_BODY_H
#define SHM_BODY_H

#include "shm/record.h"
#include "shm/store.h"

#define EG_BODY_MAGIC 0x59444245u      /* "EBDY" */

struct body {
	uint32_t magic;
	uint32_t bytes;
	uint32_t slot, generation;
	uint32_t class_;                  /* dimension class of its node, EG_NONE = no vector */
	uint32_t node;
	uint64_t pad;
	struct record record;
};

/* Are the record and its vector still what was logged (their CRC-32C)? */
bool body_valid(const struct store *s, const struct body *b);

/* Is its time over? now_us: of the calendar. */
static inline bool body_expired(const struct body *b, int64_t now_us)
{
	return b->record.expires_us != 0 && b->record.expires_us <= now_us;
}

const uint64_t *body_terms(const struct body *b);
const uint64_t *body_tags(const struct body *b);
const char *body_id(const struct body *b);        /* record.id_bytes bytes, no NUL */
const uint8_t *body_packed(const struct body *b); /* record.packed_bytes bytes */

#endif
