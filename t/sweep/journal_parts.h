/* What journal.c (a client's acts and judgement) and load.c (its thread, the whole
 * load, the listing) share; for nobody else. */
#ifndef T_SWEEP_JOURNAL_PARTS_H
#define T_SWEEP_JOURNAL_PARTS_H

#include "t/sweep/journal.h"

enum {
	KEYS = 900, OPEN = 6, BATCHES = 4, BATCH = 6,
	SHORT = 24, PAGE = 4096, LARGE = 66000,       /* bytes of content */
	METADATA = 62000, MEMORY_MAX = 2 * LARGE + METADATA + 1024,
	DIM = 32, PATIENCE_S = 30, PATH_MAX_ = 128, SPACE = 24,
};

struct op { uint32_t seq; bool gone; };        /* of one id: stored, or deleted */

struct key {
	struct op base;                        /* what was told last; gone: nothing is there */
	int64_t version;                       /* of base, 0: not known */
	struct op open[OPEN];                  /* invoked after base, outcome unknown */
	unsigned n_open;
	bool dirty, frozen;
};

struct batch { unsigned n, age; uint32_t keys[BATCH], seqs[BATCH]; };

struct journal {
	struct load *load;
	unsigned number;
	pthread_t thread;
	struct client http;
	uint64_t random;
	uint32_t seq, spaces, in_space;        /* in_space: memories acknowledged in the newest one */
	bool space_sure;                       /* it exists */
	struct key keys[KEYS];
	unsigned n_keys, n_batches;
	struct batch batches[BATCHES];
	char *body, *want;
	_Atomic uint32_t done;                 /* round that is over */
};

/* One act of the load; a look at what was touched, or at all. */
void journal_act(struct journal *j);
void journal_check(struct journal *j, bool all);
/* Count and say what is wrong with an id. */
void journal_wrong(struct journal *j, _Atomic uint64_t *what, const char *text, unsigned key, const char *more);

#endif
