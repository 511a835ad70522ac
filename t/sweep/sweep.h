/* One run of the kill sweep (killsweep.c), for the room that makes processes pass a
 * point (stimuli.c). */
#ifndef T_SWEEP_SWEEP_H
#define T_SWEEP_SWEEP_H

#include "common/fault.h"
#include "t/sweep/journal.h"
#include "t/sweep/served.h"
#include "t/sweep/targets.h"

#ifdef EG_FAULTS

enum { MEMBERS = 32, STRUCK = 8, WORKERS = 2 };

struct sweep {
	struct served s;
	struct load load;
	struct client hand;            /* for what an operator asks */
	struct targets targets;
	uint64_t seed, random, kills, pairs, others, complaints, ages, twice, not_ready;
	const char *only;              /* points whose names begin so */
	unsigned age, segment_mb, backups;
	struct member before[MEMBERS];
	unsigned n_before;
	pid_t struck[STRUCK];          /* killed by this program itself, to make somebody pass a point */
	unsigned n_struck;
	bool brief;                    /* the short form: where the first try fails it goes on elsewhere */
	bool mirrored;                 /* this age's log has a second copy */
	bool graphs;                   /* this age's spaces have graphs */
	bool workers_change, all_change;       /* a reload, or a death of the master */
	char settings[2048];
	int64_t spent_ns[4], began;
};

static inline uint64_t sweep_pick(struct sweep *w, uint64_t n) { return journal_random(&w->random) % n; }

/* Slot 0 and 1 of the fault page are those whose kills are counted; 2 is a stimulus's own. */
static inline bool sweep_fired(unsigned i) { return atomic_load(&fault_page->slots[i].fired) > 0; }

/* What the next start will read; segment_mb and mirrored are in it. */
void sweep_settings(struct sweep *w);
/* Fresh data directory, copies, backups and journals; the server must not run. */
void sweep_forget(struct sweep *w);

/* The test's own kill: that this one dies is no fault. */
void sweep_strike(struct sweep *w, enum served_kind kind, int number);

/* Does it; returns once a counted kill has struck, or when it waited for long enough. */
void stimulus_run(struct sweep *w, enum stimulus what);
const char *stimulus_name(enum stimulus what);

#endif

#endif
