/* How reachable a memory is now: retrievability by the FSRS-6 power law.
 *
 *   R(t, S) = (1 + F t / S)^-w,  F = 0.9^(-1/w) - 1,  w = 0.1542, so R(S, S) = 0.9
 *
 * t in days since the last access (or since it was stored), S the stability in
 * days. A memory that was never used again has FSRS-6's first stability for
 * the grade "good", 2.3065 days. Computed when read; nothing is ever rewritten
 * to age it. Pinned memories and spaces without forgetting stay at 1.
 */
#ifndef MIND_DECAY_H
#define MIND_DECAY_H

#include <stdbool.h>
#include <stdint.h>

#define EG_DECAY_STABILITY_DAYS 2.3065

double decay_retrievability(double days, double stability_days);

struct engram;
/* The same of a memory at now_us. */
float decay_access(const struct engram *e, bool forgetting, int64_t now_us);

#endif
