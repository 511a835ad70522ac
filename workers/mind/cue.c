/* Cues, see cue.h. */
#include "workers/mind/cue.h"

#include <string.h>

#include "common/config.h"
#include "common/utf8.h"
#include "common/vec.h"
#include "common/words.h"
#include "workers/mind/embed.h"

static enum err no_memory(struct fault *f)
{
	return err_set(f, EG_E_OVERLOADED, NULL, NULL, "the request needs more memory than one may have");
}

static enum err cue_words(struct cue *c, struct mind *m, struct arena *a, struct fault *f)
{
	struct terms t;

	words_terms(m->words, c->query.at, c->query.len, &t);
	c->terms = arena_array(a, t.n, sizeof *c->terms);
	if (!c->terms)
		return no_memory(f);
	for (size_t i = 0; i < t.n; i++)
		c->terms[i].term = WORDS_TERM(t.packed[i]);
	c->n_terms = (unsigned)t.n;
	return EG_E_OK;
}

/* What the embedder asks about a word of the query. */
struct seen { const struct cue *cue; uint64_t memories; };

static double seen_idf(void *arg, uint64_t term)
{
	const struct seen *s = arg;
	unsigned low = 0, high = s->cue->n_terms;

	while (low < high) {
		unsigned mid = (low + high) / 2;

		if (s->cue->terms[mid].term == term)
			return rank_idf(s->memories, s->cue->terms[mid].df);
		if (s->cue->terms[mid].term < term)
			low = mid + 1;
		else
			high = mid;
	}
	return rank_idf(s->memories, 0);
}

enum err cue_embed(struct cue *c, struct mind *m, struct arena *a, const struct space *sp,
                   uint64_t memories, struct fault *f)
{
	unsigned dim = space_dimension(sp);
	struct seen seen = { c, memories };

	if (c->vector || !c->query.at || space_source(sp) != EG_SOURCE_BUILTIN || !m->embed || dim != embed_dim(m->embed))
		return EG_E_OK;
	c->vector = arena_alloc(a, dim * sizeof *c->vector);
	if (!c->vector)
		return no_memory(f);
	c->dim = dim;
	if (!embed_text(m->embed, m->words, c->query.at, c->query.len, seen_idf, &seen, c->vector))
		c->vector = NULL;      /* function words alone have no direction */
	return EG_E_OK;
}

enum err cue_prepare(struct cue *c, struct mind *m, struct arena *a, const struct space *sp,
                     struct fault *f)
{
	unsigned dim = space_dimension(sp);
	enum err e;

	if (c->query.at && (e = cue_words(c, m, a, f)))
		return e;
	if (!c->vector)
		return EG_E_OK;
	if (dim && c->dim != dim)
		return err_set(f, EG_E_DIMENSION, "embedding", NULL,
		               "embedding has %u numbers, this space's vectors have %u", c->dim, dim);
	if (dim && space_source(sp) == EG_SOURCE_BUILTIN)
		return err_set(f, EG_E_EMBEDDER, "embedding", NULL, "this space's vectors are made by the server: no other "
		               "vector can be compared with them; give the text as query");
	if (!vec_normalise(c->vector, c->dim))
		return err_set(f, EG_E_INPUT, "embedding", NULL, "embedding is zero: it has no direction");
	return EG_E_OK;
}
