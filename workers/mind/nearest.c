/* Candidates from the vector graph, see nearest.h. */
#include "workers/mind/nearest.h"

#include <math.h>
#include <string.h>

#include "common/vec.h"
#include "shm/body.h"
#include "workers/mind/scratch.h"

enum { FAR_EF = 24 };                  /* weighed for what is farthest from a cue */

/* Cues of vectors alone, of the space's length, and no budget of memories to look at. */
static bool fits(const struct recall *r)
{
	if (r->lexical_only || r->visits > 0)
		return false;
	for (unsigned i = 0; i < r->n_cues; i++)
		if (r->cues[i].vector == NULL || r->cues[i].n_terms > 0 || r->cues[i].dim != space_dimension(r->space))
			return false;
	return true;
}

/* Another cue may have found it already. Candidates are few, those of one cue differ. */
static bool known(const struct scratch *s, size_t before, uint32_t slot)
{
	for (size_t i = 0; i < before; i++)
		if (s->found[i].engram.number == slot)
			return true;
	return false;
}

static enum err add(struct mind *m, struct scratch *s, const struct graph *g, size_t before,
                    const struct graph_hit *h, struct fault *f)
{
	struct engram e;
	enum err err;

	/* The node may have got another owner since the walk. */
	if (!slot_get(m->store, (uint32_t)(h->owner >> 32), (uint32_t)h->owner, &e) || e.body->node != h->node
	    || e.body->class_ != atomic_load_explicit(&g->class_, memory_order_relaxed)
	    || e.body->record.space != atomic_load_explicit(&g->space, memory_order_relaxed)
	    || body_expired(e.body, m->now_us) || known(s, before, e.number))
		return EG_E_OK;
	if (s->n == s->cap && (err = scratch_reserve(s, s->n + 1, f)))
		return err;
	s->found[s->n++] = (struct candidate){ .engram = e, .cosine = NAN };
	return EG_E_OK;
}

/* Search with what is in s->query; s->n rises. */
static enum err search(struct mind *m, const struct nearest *from, unsigned ef, unsigned most, struct fault *f)
{
	struct scratch *s = m->scratch;
	size_t before = s->n, n = graph_search(m->store, from->graph, &s->graph, s->query, ef, most, s->hits);
	enum err e = EG_E_OK;

	for (size_t k = 0; k < n && e == EG_E_OK; k++)
		e = add(m, s, from->graph, before, &s->hits[k], f);
	return e;
}

/* A memory's score is the sum over the cues of weight x (cosine - low) / (high - low), see rank.h: but for a
 * constant its product with one vector, the sum of the cues by weight / (high - low). */
static void add_cue(float *sum, const struct cue *c, float low, float high)
{
	float factor = high > low ? c->weight / (high - low) : 0;

	for (unsigned i = 0; i < c->dim; i++)
		sum[i] += factor * c->vector[i];
}

enum err nearest_gather(struct mind *m, const struct recall *r, const struct nearest *from, unsigned ef, unsigned most,
                        struct fault *f)
{
	struct scratch *s = m->scratch;
	enum err e = scratch_near(s, most, f);

	if (e != EG_E_OK)
		return e;
	s->n = 0;
	memset(s->sum, 0, EG_CODE_DIMS_MAX * sizeof *s->sum);
	for (unsigned i = 0; i < r->n_cues && e == EG_E_OK; i++) {
		const struct cue *c = &r->cues[i];

		memset(s->query, 0, EG_CODE_DIMS_MAX * sizeof *s->query);
		memcpy(s->query, c->vector, c->dim * sizeof *s->query);
		s->hits[0].cosine = 0;
		e = search(m, from, ef, most, f);
		if (r->n_cues > 1)
			add_cue(s->sum, c, from->low[i], s->hits[0].cosine);
	}
	if (r->n_cues == 1 || e != EG_E_OK || !vec_normalise(s->sum, r->cues[0].dim))
		return e;
	memcpy(s->query, s->sum, EG_CODE_DIMS_MAX * sizeof *s->query);
	return search(m, from, ef, most, f);
}

/* The least cosine that a cue has in the space: of what is nearest to its opposite. */
static float least(struct mind *m, const struct nearest *from, const struct cue *c)
{
	struct scratch *s = m->scratch;

	memset(s->query, 0, EG_CODE_DIMS_MAX * sizeof *s->query);
	for (unsigned i = 0; i < c->dim; i++)
		s->query[i] = -c->vector[i];
	return graph_search(m->store, from->graph, &s->graph, s->query, FAR_EF, 1, s->hits) > 0 ? -s->hits[0].cosine : INFINITY;
}

enum err nearest_begin(struct mind *m, const struct recall *r, struct nearest *to, struct fault *f)
{
	enum err e;

	to->graph = fits(r) ? graph_ready(m->store, r->space) : NULL;
	if (to->graph == NULL)
		return EG_E_OK;
	e = scratch_near(m->scratch, 1, f);
	for (unsigned i = 0; i < r->n_cues && e == EG_E_OK; i++)
		to->low[i] = least(m, to, &r->cues[i]);
	return e;
}
