/* A record: one change, in the one form that it has in a lane, in the log and
 * (without its vector) as a body in shared memory.
 *
 * It stands in shm/ because lanes carry it and bodies are made of it; what its
 * types mean is decided in wal/ (record.def). Little-endian, 64-byte aligned:
 *
 *      0  struct record, 128 bytes
 *    128  vector: dim x f32, padded to 64
 *         terms: n_terms x u64    48-bit hash << 16 | occurrences, sorted
 *         tags:  n_tags x u64     hash of each tag
 *         id:    id_bytes
 *         packed: packed_bytes    protobuf-c (wal/record.proto)
 *         zeros up to a multiple of 64
 *
 * The sender fills everything but lsn, version, stored_us, crc, space (when it
 * does not know its number yet: EG_NONE) and the producer fields.
 */
#ifndef SHM_RECORD_H
#define SHM_RECORD_H

#include <stddef.h>
#include <stdint.h>

enum record_flags {
	EG_RECORD_PART = 1,        /* of an atomic batch: applied when its COMMIT is met */
	EG_RECORD_PINNED = 2,      /* the memory does not fade */
	EG_RECORD_DERIVED = 4,     /* the vector was made by the built-in embedder */
	EG_RECORD_AUTO_LINK = 8,   /* associations to near neighbours are wanted */
};

enum memory_type { EG_TYPE_SEMANTIC, EG_TYPE_EPISODIC, EG_TYPE_PROCEDURAL, EG_TYPES };

struct record {
	uint32_t bytes;            /* all of it, a multiple of 64 */
	uint32_t crc;              /* CRC-32C of bytes 8 .. bytes - 1 */
	uint64_t lsn;
	uint64_t version;          /* of the memory, from 1; COMMIT: number of parts */
	int64_t stored_us;         /* when the writer admitted it */
	uint32_t producer;         /* desk << 26 | its incarnation (wal/logged.h), 0 = the writer itself */
	uint16_t op;               /* its number within the lane entry */
	uint16_t dim;              /* floats of the vector, 0 = none */
	uint64_t entry;            /* lane << 56 | sequence of the lane entry */
	uint32_t space;            /* number of the memory space */
	uint8_t type;              /* enum record_type, wal/record.def */
	uint8_t flags;             /* enum record_flags */
	uint8_t shard;             /* key % EG_SHARDS */
	uint8_t memory_type;       /* enum memory_type */
	uint64_t key;              /* record_key(space id, id) */
	uint16_t id_bytes;
	uint16_t n_tags;
	uint32_t n_terms;          /* distinct */
	uint32_t packed_bytes;
	uint32_t length;           /* words with repetitions: BM25's document length */
	float confidence;
	uint32_t raw_bytes;        /* content and metadata, as taken in */
	int64_t observed_us;       /* event time */
	int64_t expires_us;        /* 0 = never */
	uint64_t fingerprint;      /* of the text: near-duplicates share it */
	uint64_t session;          /* hash of the session's name, 0 = none */
	uint64_t digest;           /* of all that the sender gave: the same body again is no new version */
};
_Static_assert(sizeof(struct record) == 128, "the picture above");

static inline size_t record_vector_bytes(unsigned dim)
{
	return ((size_t)dim * sizeof(float) + 63) & ~(size_t)63;
}
static inline const float *record_vector(const struct record *r)
{
	return (const float *)(const void *)((const uint8_t *)r + sizeof *r);
}
static inline const uint64_t *record_terms(const struct record *r)
{
	return (const uint64_t *)(const void *)((const uint8_t *)r + sizeof *r + record_vector_bytes(r->dim));
}
static inline const uint64_t *record_tags(const struct record *r) { return record_terms(r) + r->n_terms; }
static inline const char *record_id(const struct record *r) { return (const char *)(record_tags(r) + r->n_tags); }
static inline const uint8_t *record_packed(const struct record *r)
{
	return (const uint8_t *)record_id(r) + r->id_bytes;
}
/* Bytes of a record with these parts, padded. */
size_t record_size(unsigned dim, unsigned n_terms, unsigned n_tags, unsigned id_bytes, size_t packed_bytes);

#endif
