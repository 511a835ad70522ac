/* Retrievability, see decay.h. */
#include "workers/mind/decay.h"

#include <math.h>
#include <string.h>

#include "shm/slot.h"

#define W 0.1542
#define DAY_US 86400e6

double decay_retrievability(double days, double stability_days)
{
	double f = pow(0.9, -1 / W) - 1;

	return pow(1 + f * fmax(days, 0) / stability_days, -W);
}

float decay_access(const struct engram *e, bool forgetting, int64_t now_us)
{
	uint64_t word = atomic_load_explicit(&e->slot->memory, memory_order_relaxed);
	uint64_t last_ms = atomic_load_explicit(&e->slot->last_access_ms, memory_order_relaxed);
	int64_t since_us = e->body->record.stored_us;
	float set[2];

	if (!forgetting || (e->body->record.flags & EG_RECORD_PINNED))
		return 1;
	memcpy(set, &word, sizeof set);
	if ((int64_t)last_ms * 1000 > since_us)
		since_us = (int64_t)last_ms * 1000;
	return (float)decay_retrievability((double)(now_us - since_us) / DAY_US,
	                                   set[0] > 0 ? (double)set[0] : EG_DECAY_STABILITY_DAYS);
}
