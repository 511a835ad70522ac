/* Recovery: from whatever the last writer left to a store that is ready and a log
 * that can be appended to. One way for both cases:
 *
 *   the wal process died    adopt the shared memory, repair it, apply the log's
 *                           records above what each shard has applied
 *   the family died         new shared memory, apply the whole log
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

/* Open data_dir, the store and the log. EG_E_VALIDATION: the log is damaged (exit
 * 65); anything else: not now (exit 75). */
enum err recover(struct datadir *d, struct store_writer *w, struct append *a, struct logged *logged,
                 const struct heritage *h, struct recovered *r, struct fault *f) EG_MUST_USE;

#endif
