/* What admit.c and admit_space.c share; nobody else's business. */
#ifndef WAL_ADMIT_PARTS_H
#define WAL_ADMIT_PARTS_H

#include "wal/admit.h"

struct op {                            /* an operation, copied out of its lane */
	struct record head;
	uint32_t bytes, space_bytes;
	uint64_t expect_version;
	const uint8_t *payload;        /* still in the lane: vector, terms, tags, id, packed */
	char space_id[EG_SPACE_ID_MAX + 1];
	char id[EG_ID_MAX];
};

void admit_result(struct admit *a, const struct entry *e, unsigned i, const struct outcome *o);

/* Put the number of op's space into op->head.space; make it when `create` and the
 * configuration lets a first write do so. */
enum err admit_resolve_space(struct admit *a, struct round *r, struct op *op, bool create) EG_MUST_USE;
enum err admit_space_put(struct admit *a, struct round *r, struct op *op, struct outcome *o) EG_MUST_USE;
enum err admit_space_delete(struct admit *a, struct round *r, struct op *op, struct outcome *o) EG_MUST_USE;
void admit_undo_space(struct admit *a, const struct change *c);
void admit_apply_space(struct admit *a, const struct record *r);
void admit_know_space(struct admit *a, uint32_t number);

#endif
