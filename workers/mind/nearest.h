/* Candidates of a recall from the space's vector graph (shm/graph.h), instead of all its memories.
 *
 * For cues of vectors alone: words ask for every memory as long as there is no word index.
 */
#ifndef MIND_NEAREST_H
#define MIND_NEAREST_H

#include "shm/graph.h"
#include "workers/mind/recall.h"

struct nearest {
	const struct graph *graph;     /* NULL: all memories are to be looked at */
	float low[EG_CUES_MAX];        /* about the least cosine that each cue has in the space; INFINITY: not known */
};

/* Where a recall begins, whose cues are prepared. */
enum err nearest_begin(struct mind *m, const struct recall *r, struct nearest *to, struct fault *f) EG_MUST_USE;

/* The scratch's candidates become those that are nearest to each cue, and with several to all of them
 * together, at most `most` each time, each memory once, from searches that weigh `ef` (1 .. EG_EF_MAX). No
 * expired ones. */
enum err nearest_gather(struct mind *m, const struct recall *r, const struct nearest *from, unsigned ef, unsigned most,
                        struct fault *f) EG_MUST_USE;

#endif
