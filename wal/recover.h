/* Recovery: from whatever the last writer left to a store that is ready and a log
 * that can be appended to. One way for all cases:
 *
 *   the wal process died, or the whole family, and the memory is there: adopt it,
 *   repair it (verify every object when the writer did not die of a kill), apply
 *   the log's records above what each shard has applied
 *
 *   there is none, or it does not belong to this log: new shared memory, apply the
 *   whole log
 *
 * Either way the groups that may not be durable are then written again, into a
 * new segment, and synced: the dead process may have swallowed a write error.
 */
#ifndef WAL_RECOVER_H
#define WAL_RECOVER_H

#include "common/config.h"
#include "shm/heritage.h"
#include "shm/store_write.h"
#include "wal/append.h"
#include "wal/logged.h"

struct recovered { bool adopted; uint64_t records, ns; };

/* Open data_dir, the store and the log. EG_E_VALIDATION: the log is damaged,
 * EG_E_LATER: a newer build wrote a checkpoint that is needed (both exit 65); anything else: not now (exit 75). */
enum err recover(struct datadir *d, struct store_writer *w, struct append *a, struct logged *logged,
                 const struct heritage *h, struct recovered *r, struct fault *f) EG_MUST_USE;

/* The store's newest records go to this segment from now on (before they are
 * applied): what a later adoption checks the log against. */
void recover_note_segment(struct store_writer *w, const struct append *a);

#endif
