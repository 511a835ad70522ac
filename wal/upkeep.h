/* Upkeep: what the wal process does between rounds, at most once a second or when
 * it is idle: heartbeat, reclaiming, access events, dead desks, configuration.
 */
#ifndef WAL_UPKEEP_H
#define WAL_UPKEEP_H

#include "shm/heritage.h"
#include "wal/admit.h"
#include "wal/append.h"
#include "wal/backup.h"
#include "wal/cohort.h"
#include "wal/install.h"
#include "wal/lanes.h"
#include "wal/linker.h"

struct writer {                        /* the whole wal process */
	const struct heritage *heritage;
	const struct config *config;   /* reload-safe keys are read from here */
	struct config *reloaded;       /* what config points to after a reload, owned */
	struct desks *desks;
	struct datadir dir;
	struct store_writer store;
	struct append append;
	struct appliers appliers;
	struct linkers linkers;
	struct admit admit;
	struct lanes lanes;
	struct cohort cohort;
	struct install install;
	struct backup backup;
	enum config_sync sync_mode;    /* fixed at start */
	uint32_t generation;           /* of the configuration in force */
	bool read_only;
	int64_t unsynced_since_ns;     /* 0 = nothing unsynced */
	int64_t next_upkeep_ns;
	int64_t logged_ns;             /* when something was logged last */
	uint64_t cpu_ns, read_bytes;   /* counted so far */
	uint64_t work_ns;              /* processor time of the log thread when its round began */
};

/* hnsw_index.exact_below as the configuration in force has it. */
void writer_graph_min(struct writer *w);
/* busy: a round was just run, so only what is due now is done. */
void upkeep(struct writer *w, bool busy);

#endif
