/* Putting checkpoints in force: the second hand of the wal process.
 *
 * A thread of its own, so that the log thread never waits for it:
 *
 *   read     tmp/<name>: manifest, and every extent that is new, verified
 *   wait     until all that its rows speak of is on stable storage
 *   rename   into checkpoints/, sync the folder
 *   name it  write the older block of the SUPERBLOCK, sync: from here on it is in force
 *   retire   segments and files that neither it nor the one before needs (retire.h)
 *
 * A kill at any step leaves the old one in force, or the new one. A failure is told to who
 * asked, and leaves the old one.
 */
#ifndef WAL_INSTALL_H
#define WAL_INSTALL_H

#include <pthread.h>

#include "shm/store_write.h"
#include "wal/control.h"
#include "wal/datadir.h"

struct install {
	struct datadir *dir;           /* its superblock is this thread's, once it runs */
	struct desks *desks;
	struct store_writer *store;
	pthread_t thread;
	pthread_mutex_t lock;          /* the fields below */
	pthread_cond_t changed;
	struct control job;
	bool has_job, stop, log_failed, running;
	bool retiring, retire_later;   /* files are going; are to go when nobody pins them */
	unsigned pins;
	_Atomic uint32_t waiting;      /* for durable_lsn */
	/* For the log thread to read. */
	_Atomic uint64_t redo_lsn;     /* start LSN of the checkpoint in force */
	_Atomic uint32_t gone_segments;/* that have left wal/ */
	_Atomic uint64_t gone_bytes;   /* of the log, removed */
};

/* What is in force is shown in the page; the thread begins. */
enum err install_open(struct install *i, struct datadir *dir, struct desks *d, struct store_writer *w,
                      struct fault *f) EG_MUST_USE;
void install_close(struct install *i);     /* finishes what it is at */

/* While pinned no file that a checkpoint in force needs, and no segment, is moved or removed;
 * what was to go goes after the last unpin. Any other thread; waits for one that is going. */
void install_pin(struct install *i);
void install_unpin(struct install *i);
/* Wait until all that has an LSN now is on stable storage: *lsn. EG_E_READ_ONLY when that
 * cannot be any more. Any thread but the log thread. */
enum err install_await_durable(struct install *i, uint64_t *lsn, struct fault *f) EG_MUST_USE;

/* Log thread: a control entry. PLACE is EG_E_CONFLICT while one is being put in force. */
enum err install_take(struct install *i, const struct control *c, uint64_t *demand);
/* Log thread: durable_lsn has risen; or the log has failed for good. */
void install_wake(struct install *i, bool log_failed);

#endif
