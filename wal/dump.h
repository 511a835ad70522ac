/* The dump: a store, as others see it, into the file of a checkpoint, while stores go on.
 *
 * The consolidation process runs it in a thread of its own. It holds an epoch for one
 * extent at a time (2048 slots, well below a millisecond) and writes only extents in which
 * something changed since the checkpoint before began, if that one describes this very
 * memory; the others stay in the files in which they are. Every few MiB it syncs,
 * so that the log's own syncs never wait for a mountain.
 *
 * It puts nothing in force: that is the wal process's (install.h).
 */
#ifndef WAL_DUMP_H
#define WAL_DUMP_H

#include "shm/epoch.h"
#include "shm/store.h"
#include "wal/checkpoint.h"

struct dump_task {                     /* in */
	const char *data_dir;
	const struct desks *desks;
	const struct store *store;
	struct epoch *epoch;
	bool (*stop)(void *arg);       /* looked at between extents; true: give up (EG_E_OVERLOADED) */
	void *arg;
};

struct dump_result {
	char name[64];                 /* of the file in tmp/ */
	struct checkpoint_place place;
	uint64_t base_id;              /* 0: every extent was written */
	uint64_t rows, spaces, written;/* in all; bytes of this file */
	uint32_t extents, kept;        /* in all; of these not written */
	uint32_t generation;           /* root's: of which memory it tells */
	uint64_t work_ns;              /* root's, before start_lsn was read */
	int64_t longest_ns;            /* epoch section */
};

/* Write a whole checkpoint into tmp/, synced. On an error nothing of use is left there. */
enum err dump_run(const struct dump_task *t, struct dump_result *r, struct fault *f) EG_MUST_USE;

/* Names of its files in tmp/: <id, 16 hex>-<nonce, 8 hex>.ckpt. False: it is none. */
bool dump_name_parse(const char *name, uint64_t *id);

#endif
