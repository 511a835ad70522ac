/* A cue: what a recall is asked with, ready to be compared with memories.
 *
 * Words become BM25's terms; the vector is the client's, or in a space of
 * built-in vectors that of the words. A cue may have one arm only: without
 * words (or with stop words alone) the vector decides, without a vector the
 * words do.
 */
#ifndef MIND_CUE_H
#define MIND_CUE_H

#include "workers/mind/mind.h"
#include "workers/mind/rank.h"

struct cue {
	/* given */
	struct str query;              /* at NULL = none */
	float *vector;                 /* NULL = none; cue_prepare scales it to unit length */
	unsigned dim;
	float weight;                  /* > 0 */

	/* by cue_prepare */
	struct rank_term *terms;       /* ascending by term, each once */
	unsigned n_terms;
};

/* Check against the space and make the terms. EG_E_DIMENSION naming
 * `embedding` when the vector has another length than the space's; EG_E_INPUT
 * when it is zero; EG_E_EMBEDDER when the space's vectors are built-in ones. A
 * vector for a space that has none stays unused. */
enum err cue_prepare(struct cue *c, struct mind *m, struct arena *a, const struct space *sp,
                     struct fault *f) EG_MUST_USE;

/* In a space of built-in vectors, make the vector of the words; the terms' df
 * must be known, counted over so many memories, because it weighs them. */
enum err cue_embed(struct cue *c, struct mind *m, struct arena *a, const struct space *sp,
                   uint64_t memories, struct fault *f) EG_MUST_USE;

#endif
