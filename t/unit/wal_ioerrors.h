/* The n-th call of the I/O layer fails: the parts of t/unit/wal_ioerrors.c.
 *
 *   disk    the I/O layer's calls, counted, and one of them failing
 *   scene   what a family does meanwhile, and what must be true afterwards
 *
 * Calls are counted over all processes and threads of a family, so the n-th of one run
 * may be a neighbour of the n-th of another: what is judged holds for any.
 */
#ifndef T_WAL_IOERRORS_H
#define T_WAL_IOERRORS_H

#include <stdbool.h>
#include <stdint.h>

#include "t/unit/wal_history.h"

/* ---- the disk: in memory that all processes share ---------------------------------- */

enum disk_call { DISK_READ, DISK_WRITE, DISK_SYNC, DISK_SYNC_DIR, DISK_ALLOCATE, DISK_TRUNCATE, DISK_RENAME, DISK_LINK,
	DISK_UNLINK, DISK_MAKE_DIR, DISK_REMOVE_DIR, DISK_OPEN, DISK_CREATE, DISK_CALLS };

/* What happens to the n-th call, or to the first one after it to which it can happen. _KIND: to all
 * calls of that kind in that copy from then on. _ALL: to all calls in that copy. DROP: a sync fails, and what was
 * written since the last good one is gone from the pages as well; later syncs succeed, if it is not _KIND. */
enum disk_mode { MODE_EIO, MODE_EIO_KIND, MODE_EIO_ALL, MODE_ENOSPC, MODE_ENOSPC_KIND, MODE_ENOSPC_ALL, MODE_SHORT,
	MODE_SHORT_KIND, MODE_DROP, MODE_DROP_KIND, DISK_MODES };

#define DISK_CENSUS 4096u

extern const char *const disk_mode_names[DISK_MODES], *const disk_call_names[DISK_CALLS];

/* mirror: the second copy's folder, "" = there is none. direct: O_DIRECT, so writes are cut at blocks only. */
void disk_begin(const char *mirror, bool direct);
/* From now on calls are counted from 1 (or on), and the nth meets the mode; 0: none does. */
void disk_arm(uint64_t nth, enum disk_mode mode);
void disk_go_on(void);                 /* counting, where disk_heal ended it */
void disk_heal(void);                  /* nothing fails, nothing is counted */
uint64_t disk_calls(void);             /* counted since disk_arm */
uint32_t disk_fired(void);             /* calls that failed */
const char *disk_met(void);            /* the first of them, in words */
bool disk_met_mirror(void);
enum disk_call disk_met_call(void);
/* Which call the nth was, when it was counted last. */
enum disk_call disk_census(uint64_t nth);
bool disk_applies(enum disk_mode mode, enum disk_call call);
/* No process lives: what was written below these folders and not synced is gone. Returns how many pieces. */
unsigned disk_power_off(const char *dir, const char *mirror);

/* ---- the scenes ------------------------------------------------------------------------ */

enum scene { SCENE_LIFE, SCENE_RECOVER, SCENE_RESTART, SCENE_MIRROR, SCENE_DIRECT, SCENES };
extern const char *const scene_names[SCENES];

struct scene_counts {
	uint64_t runs, met, refused, unknown, read_only, no_room, ended, not_started, restarts, pieces, entries, checkpoints,
		backups;
	int64_t longest_heal_ns;       /* from the fault's end to the first store acknowledged */
};

struct rig;
/* seed: what the history sends, and how a run ends. NULL: the scene cannot be run here, *why says it. */
struct rig *scene_open(enum scene scene, uint64_t seed, const char **why);
void scene_close(struct rig *r);
enum scene_run { RUN_UNMET, RUN_GOOD, RUN_BAD };
/* One run. RUN_UNMET: the scene ended without meeting its fault. RUN_BAD: *why. */
enum scene_run scene_run(struct rig *r, uint64_t nth, enum disk_mode mode, struct scene_counts *c, const char **why);

#endif
