/* Which memories a recall may return: tags, types, session, event time,
 * confidence, metadata.
 *
 * The quick half looks at the fixed header and hashes only and runs inside the
 * scan; the sure half unpacks a memory and compares text, and is asked only for
 * those that would be returned. A memory passes when both say so.
 */
#ifndef MIND_FILTER_H
#define MIND_FILTER_H

#include "workers/mind/mind.h"

struct body;
struct packed;

struct filter {
	struct str *tags_all, *tags_any, *tags_none;
	unsigned n_all, n_any, n_none;
	unsigned types;                /* bits 1 << enum memory_type; 0 = any */
	struct str session;            /* at NULL = any */
	int64_t from_us, to_us;        /* event time, both ends included */
	double min_confidence;         /* 0 = any */
	struct meta *metadata;         /* all of them must be equal */
	unsigned n_metadata;

	/* filled by filter_prepare */
	uint64_t *hash_all, *hash_any;
	uint64_t session_hash;
	bool deep;                     /* the sure half has something to look at */
};

/* A filter that lets everything pass. */
void filter_init(struct filter *fl);
/* Call once, when the fields are set. */
enum err filter_prepare(struct filter *fl, struct arena *a, struct fault *f) EG_MUST_USE;

/* Is there anything that it does not let pass? */
bool filter_any(const struct filter *fl);
/* Quick half: false = it does not pass. Equal hashes prove nothing, so tags_none
 * is left to the sure half. */
bool filter_quick(const struct filter *fl, const struct body *b);
/* Sure half, on the unpacked memory. */
bool filter_sure(const struct filter *fl, const struct packed *p);

#endif
