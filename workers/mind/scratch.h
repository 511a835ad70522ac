/* Arrays of a scan, kept by a thread from request to request, so that a recall
 * allocates nothing per memory. They grow to the largest space met. */
#ifndef MIND_SCRATCH_H
#define MIND_SCRATCH_H

#include <stddef.h>
#include <stdint.h>

#include "common/err.h"
#include "shm/graph.h"
#include "shm/slot.h"

/* One memory met by a scan. */
struct candidate {
	struct engram engram;          /* valid within the epoch section */
	float base;                    /* weighted sum over the cues, see rank.h */
	float match;                   /* the best over the cues */
	float cosine;                  /* with the nearest of the cues; NAN = none */
	float lexical, vector;         /* their terms of base */
};

struct scratch {
	struct candidate *found;       /* n of them */
	float *lexical;                /* BM25 of one cue, by candidate */
	float *cosine;                 /* of one cue, by row */
	const float **rows;            /* vectors of those candidates that have one */
	uint32_t *row_of;              /* the candidate that a row belongs to */
	size_t n, cap;

	/* For searches of a graph, made by scratch_near. */
	struct graph_scratch graph;
	bool has_graph;
	float *query, *sum;            /* EG_CODE_DIMS_MAX each, 64-byte aligned */
	struct graph_hit *hits;
	size_t hits_cap;
};

struct scratch *scratch_new(void);     /* NULL: no memory */
void scratch_free(struct scratch *s);
/* Make room for n candidates. */
enum err scratch_reserve(struct scratch *s, size_t n, struct fault *f) EG_MUST_USE;
/* What a search of a graph for so many hits needs. */
enum err scratch_near(struct scratch *s, size_t hits, struct fault *f) EG_MUST_USE;

#endif
