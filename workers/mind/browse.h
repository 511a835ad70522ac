/* Looking without a cue: one memory by id, a page of a space, a space's numbers,
 * and the settings of a space.
 *
 * Expired memories are not seen. Everything is called and used within an epoch
 * section. A page is cut from the order in which the store walks its slots: it
 * stays the same while nothing is stored or deleted.
 */
#ifndef MIND_BROWSE_H
#define MIND_BROWSE_H

#include "wal/submit.h"
#include "workers/mind/mind.h"

/* The space of that id, for reading: EG_E_NO_SPACE when there is none. */
enum err browse_space(const struct mind *m, struct str id, const struct space **sp, struct fault *f) EG_MUST_USE;
/* EG_E_NOT_FOUND when there is none. */
enum err browse_memory(const struct mind *m, const struct space *sp, struct str id, struct engram *e,
                       struct fault *f) EG_MUST_USE;

struct browse_counts { uint64_t tiers[EG_TIERS], total; };
struct browse_page {
	struct engram *rows;           /* from the arena */
	unsigned n;
	struct browse_counts counts;   /* of the whole space */
};
/* tier: enum tier, or EG_TIERS for all. */
enum err browse_list(const struct mind *m, struct arena *a, const struct space *sp, unsigned tier,
                     uint64_t offset, unsigned limit, struct browse_page *out, struct fault *f) EG_MUST_USE;
void browse_count(const struct mind *m, const struct space *sp, struct browse_counts *out);
enum tier browse_tier(const struct engram *e);
const char *browse_tier_name(enum tier t);

/* A space as POST /spaces gives it. */
struct browse_settings {
	struct str id;
	unsigned dimension;            /* 0 = by the first vector */
	struct space_settings set;
	uint64_t quota_memories, quota_bytes;
};
enum err browse_make_space(struct arena *a, const struct browse_settings *in, struct draft *d,
                           struct fault *f) EG_MUST_USE;

#endif
