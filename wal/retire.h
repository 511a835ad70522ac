/* Retiring: what the two checkpoints in force do not need leaves the log.
 *
 * A segment that ends at or below the start LSN of both is never replayed again. If it
 * holds the record of a row of either, it goes to warm/ (a rename; its bytes are the
 * memories' text and vectors); if not, it is dead and removed, unless the segment before it stays and
 * ends with what this one supersedes. Checkpoint files that neither manifest names are removed too.
 *
 * Called by the wal process's second hand (install.c) and by the unit test; never by the log
 * thread. Every row of both checkpoints is read and verified before anything goes.
 */
#ifndef WAL_RETIRE_H
#define WAL_RETIRE_H

#include "wal/checkpoint.h"
#include "wal/datadir.h"

struct retired_files {
	unsigned moved, removed;       /* segments: to warm/, for good */
	unsigned left_wal;             /* of these, how many lay in wal/ */
	uint64_t removed_bytes;
	unsigned checkpoints;          /* files removed from checkpoints/ */
	unsigned warm;                 /* segments in warm/ now */
	uint64_t checkpoint_bytes;     /* of the files in checkpoints/ now */
};

/* newest and previous are open; previous may be NULL: then segments stay, as only a second
 * checkpoint makes the first one needless. EG_E_VALIDATION: one is damaged, and nothing went. */
enum err retire_files(const struct datadir *d, const struct checkpoint *newest, const struct checkpoint *previous,
                      struct retired_files *r, struct fault *f) EG_MUST_USE;
/* Does a segment lie in wal/ that ends at or below `limit` (a retiring that was cut short)? */
bool retire_due(const struct datadir *d, uint64_t limit);
/* Only count what lies there. */
void retire_count(const struct datadir *d, struct retired_files *r);

#endif
