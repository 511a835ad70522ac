/* A recall: from cues to the memories that answer them, with three numbers each.
 *
 * Steps: gather the space's live memories, count the query's words, score words
 * and vectors, scale and add them (rank.h), keep the best that pass filter and
 * threshold. It reads the store only and never leaves its process. The caller
 * is in an epoch section from before recall_run until the hits have been used.
 */
#ifndef MIND_RECALL_H
#define MIND_RECALL_H

#include "workers/mind/cue.h"
#include "workers/mind/filter.h"
#include "workers/mind/truth.h"

enum recall_mode { EG_MODE_HYBRID, EG_MODE_SIMILARITY, EG_MODES };

struct recall {
	const struct space *space;
	struct cue *cues;
	unsigned n_cues;               /* 1 .. EG_CUES_MAX */
	enum recall_mode mode;         /* the same while there are no associations */
	struct filter filter;          /* prepared by recall_run */
	unsigned max_results;          /* 1 .. EG_RESULTS_MAX */
	float threshold;               /* on match; 0 = none */
	uint64_t visits;               /* memories to look at; 0 = all */
	int64_t deadline_ms;           /* clock_mono_ms(); 0 = none */
	bool lexical_only;             /* words alone (GET /memories/search) */
};

struct recall_hit {
	struct engram engram;          /* valid within the epoch section */
	float score, match, access;
	struct truth truth;
	float cosine;                  /* NAN = no vector on one of the sides */
	float lexical, vector;         /* terms of score */
};

struct recall_found {
	struct recall_hit *hits;       /* best first, from the arena */
	unsigned n;
	uint64_t searched;             /* live memories of the space */
	uint64_t visited;              /* of these, looked at */
	float confidence;              /* match of the best candidate, 0 = none */
	bool truncated;                /* the budget cut it short */
	const char *reason;            /* why there is nothing; NULL when there is */
};

/* EG_E_TIMEOUT when the time was over before anything was found. Faults of the
 * cues name `embedding`, or `cues.N.embedding` when there are several. */
enum err recall_run(struct mind *m, struct arena *a, struct recall *r, struct recall_found *out,
                    struct fault *f) EG_MUST_USE;

/* Tell the writer (lossily) that these were returned. */
void recall_note(const struct mind *m, const struct recall_found *found);

/* Pack the best hits within max_tokens (counted as 4 bytes of text each,
 * rounded up) as "[id] content" lines; a memory that does not fit is passed
 * over for the next. */
struct buf;
enum err recall_text(struct arena *a, const struct recall_found *found, unsigned max_tokens,
                     struct buf *out, struct fault *f) EG_MUST_USE;

#endif
