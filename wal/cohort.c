/* The cohort, see the header. */
#include "wal/cohort.h"

void cohort_begin(struct cohort *c)
{
	c->seen = c->early = 0;
	c->arrival_ns = 0;
}

void cohort_add(struct cohort *c, int64_t stamp_ns)
{
	c->seen++;
	c->early += stamp_ns <= c->answered_ns;
	if (stamp_ns > c->arrival_ns)
		c->arrival_ns = stamp_ns;
}

bool cohort_wait(const struct cohort *c, int64_t now_ns)
{
	unsigned population = c->last + c->early;
	int64_t quiet_since = c->arrival_ns > c->answered_ns ? c->arrival_ns : c->answered_ns;

	return c->last > 0 && c->seen * 8 < population * 7
	       && now_ns - c->answered_ns < EG_COHORT_MAX_NS
	       && now_ns - quiet_since < EG_COHORT_GAP_NS;
}

void cohort_answered(struct cohort *c, int64_t now_ns)
{
	c->last = c->seen;
	c->answered_ns = now_ns;
}
