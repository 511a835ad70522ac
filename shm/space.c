/* Looking at memory spaces, see the header. */
#include "shm/space.h"

#include <math.h>
#include <string.h>

#include "shm/ids.h"

uint32_t space_count(const struct store *s)
{
	return atomic_load_explicit(&s->root->n_spaces, memory_order_acquire);
}

const struct space *space_get(const struct store *s, uint32_t number)
{
	const struct space *sp;

	if (number >= space_count(s))
		return NULL;
	sp = region_at(&s->space, (uint64_t)number * sizeof *sp, sizeof *sp);
	return atomic_load_explicit(&sp->state, memory_order_acquire) == EG_SPACE_NONE ? NULL : sp;
}

const struct space *space_find(const struct store *s, const char *id, size_t n)
{
	struct ids_probe p;
	uint32_t number;

	if (n == 0 || n > EG_SPACE_ID_MAX)
		return NULL;
	ids_probe(s, EG_SHARDS, ids_space_key(id, n), &p);
	while ((number = ids_next(&p)) != EG_NONE) {
		const struct space *sp = space_get(s, number);

		if (sp != NULL && atomic_load_explicit(&sp->state, memory_order_acquire) == EG_SPACE_LIVE
		    && strncmp(sp->id, id, n) == 0 && sp->id[n] == '\0')
			return sp;
	}
	return NULL;
}

/* Weights are kept in 24 bits as millionths; all ones say "the server's default". */
#define EG_WEIGHT_DEFAULT 0xffffffu

static float weight_out(uint64_t word, unsigned shift)
{
	uint32_t w = (uint32_t)(word >> shift) & EG_WEIGHT_DEFAULT;

	return w == EG_WEIGHT_DEFAULT ? -1.0f : (float)w / 1e6f;
}

static uint64_t weight_in(float w)
{
	return w < 0 || w > 1 ? EG_WEIGHT_DEFAULT : (uint64_t)lrintf(w * 1e6f);
}

struct space_settings space_settings(const struct space *sp)
{
	uint64_t w = atomic_load_explicit(&sp->settings, memory_order_acquire);

	return (struct space_settings){
		.profile = (enum recall_profile)(w >> 56),
		.forgetting = (w >> 48 & 0xff) != 0,
		.lexical_weight = weight_out(w, 24),
		.vector_weight = weight_out(w, 0),
	};
}

uint64_t space_pack_settings(const struct space_settings *s)
{
	return (uint64_t)s->profile << 56 | (uint64_t)s->forgetting << 48
	       | weight_in(s->lexical_weight) << 24 | weight_in(s->vector_weight);
}

bool space_valid_id(const char *id, size_t n)
{
	if (n == 0 || n > EG_SPACE_ID_MAX)
		return false;
	for (size_t i = 0; i < n; i++) {
		char c = id[i];
		bool word = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');

		if (!word && (i == 0 || (c != '_' && c != '-')))
			return false;
	}
	return true;
}
