/* The product's kinds of processes. Tests link the master without this file and
 * bring their own. */
#include "master/kinds.h"

#include "wal/writer.h"
#include "workers/consolidator.h"
#include "workers/worker.h"

static const struct kind rows[] = {
#define X(name, title, comm, main, desk, serves, rank, does) \
	{ EG_PROCESS_##name, title, comm, main, desk, serves, rank },
#include "master/kinds.def"
#undef X
};

const struct kinds kinds_all = { rows, sizeof rows / sizeof *rows };
