/* Process kinds: the master's cycle knows them by this table only, so that a test
 * can run the cycle over kinds of its own. */
#ifndef MASTER_KINDS_H
#define MASTER_KINDS_H

#include <stdbool.h>

#include "shm/heritage.h"

#define EG_ANY_DESK 0u              /* the master's own number: free to mean this */
#define EG_KINDS_MAX 8u

typedef int kind_main_fn(const struct heritage *);

struct kind {                       /* columns: kinds.def */
	enum process_kind number;
	const char *title, *comm;
	kind_main_fn *main;
	unsigned desk;
	bool serves;
	unsigned rank;
};

struct kinds {
	const struct kind *v;       /* in the order of starting */
	unsigned n;
};

/* The product's table. */
extern const struct kinds kinds_all;

#endif
