/* The packed part of a memory: what searching does not look at.
 *
 * remember packs it, replies and verified filters unpack it. The form is a
 * protobuf message of wal/record.proto, so that it can grow fields.
 */
#ifndef MIND_PACKED_H
#define MIND_PACKED_H

#include "workers/mind/mind.h"

struct body;

struct packed {
	struct str content;
	struct str *tags;
	unsigned n_tags;
	struct str session;
	struct meta *metadata;
	unsigned n_metadata;
	struct str reasoning;
};

/* Bytes taken from the arena; NULL: over its limit. */
uint8_t *packed_write(struct arena *a, const struct packed *p, size_t *bytes);
/* Unpack a body's part into the arena. EG_E_INTERNAL: it is damaged. */
enum err packed_read(struct arena *a, const struct body *b, struct packed *p, struct fault *f) EG_MUST_USE;
/* Hash by which a tag is found; stable for ever. */
uint64_t packed_tag_hash(struct str tag);
/* Hash by which a session is found; never 0. */
uint64_t packed_session_hash(struct str session);

#endif
