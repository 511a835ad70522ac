/* Sizes of records and bodies' parts, see the headers. */
#include "shm/record.h"

#include "shm/body.h"

size_t record_size(unsigned dim, unsigned n_terms, unsigned n_tags, unsigned id_bytes, size_t packed_bytes)
{
	size_t n = sizeof(struct record) + record_vector_bytes(dim) + 8 * ((size_t)n_terms + n_tags)
	           + id_bytes + packed_bytes;

	return (n + 63) & ~(size_t)63;
}

/* A body lacks the vector: its terms follow the header at once. */
const uint64_t *body_terms(const struct body *b)
{
	return (const uint64_t *)(const void *)((const uint8_t *)b + sizeof *b);
}

const uint64_t *body_tags(const struct body *b) { return body_terms(b) + b->record.n_terms; }
const char *body_id(const struct body *b) { return (const char *)(body_tags(b) + b->record.n_tags); }

const uint8_t *body_packed(const struct body *b)
{
	return (const uint8_t *)body_id(b) + b->record.id_bytes;
}
