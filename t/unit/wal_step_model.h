/* The store that a log describes, computed the plain way: the last record wins. */
#ifndef T_WAL_STEP_MODEL_H
#define T_WAL_STEP_MODEL_H

#include "t/unit/wal_step.h"

#define MODEL_SPACES 4u
#define MODEL_IDS 8192u

struct model {
	struct { char name[24]; bool live; uint64_t quota; } space[MODEL_SPACES];
	const struct record *memory[MODEL_SPACES][MODEL_IDS];
};

struct model_sums { uint64_t memories, terms, vectors, raw_bytes; };

/* After the first n records of the log; parts of a batch count with its COMMIT. */
void model_at(struct model *m, const struct step_shared *s, uint64_t n);

static inline const struct record *model_get(const struct model *m, uint32_t space, uint32_t id)
{
	return m->space[space].live ? m->memory[space][id] : NULL;
}

static inline void model_sums_add(struct model_sums *to, const struct model_sums *t)
{
	to->memories += t->memories;
	to->terms += t->terms;
	to->vectors += t->vectors;
	to->raw_bytes += t->raw_bytes;
}

#endif
