/* The cohort: how long a commit should wait for those who will be back at once.
 *
 * Natural batching alone splits N clients that each wait for their answer into
 * two or three groups that chase each other: while one is synced the other
 * arrives, and each pays a sync. The log thread knows who will be back: the
 * senders it has just answered. So a round that met others waiting already (they
 * cannot be those answered last) gives the answered ones a moment to join.
 *
 *   population = entries of the last round + entries published before it was answered
 *   wait while fewer than 7/8 of the population are here, at most EG_COHORT_MAX_NS
 *   after that answer, and only while arrivals go on (EG_COHORT_GAP_NS)
 *
 * One client alone is its own population and never waits; a population that
 * shrinks costs one gap. Used only when a sync follows. Measured with 32 clients
 * (contrib/bench/http): 12 acknowledgements a sync without it, 27 with it, at
 * half as many stores a second again.
 */
#ifndef WAL_COHORT_H
#define WAL_COHORT_H

#include <stdbool.h>
#include <stdint.h>

#define EG_COHORT_MAX_NS INT64_C(5000000)
#define EG_COHORT_GAP_NS INT64_C(1000000)

struct cohort {
	unsigned last;                 /* entries of the round answered last */
	int64_t answered_ns;           /* when */
	int64_t arrival_ns;            /* of the newest entry of this round */
	unsigned seen, early;          /* entries of this round; published before answered_ns */
};

void cohort_begin(struct cohort *c);
/* One more entry has been taken, published at stamp_ns. */
void cohort_add(struct cohort *c, int64_t stamp_ns);
/* Should the round wait for more? */
bool cohort_wait(const struct cohort *c, int64_t now_ns);
/* The round of this many entries is answered now. */
void cohort_answered(struct cohort *c, int64_t now_ns);

#endif
