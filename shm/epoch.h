/* Epochs: how the writer knows that nobody looks at an old object any more.
 *
 * A reading thread owns one epoch slot on its process's desk. While it reads it
 * shows the global epoch there; the writer frees what was retired in epoch E
 * once every slot of every living desk is 0 or above E. A dead process's slots
 * do not count once the master has reaped it (its seat is not BUSY).
 * A section must be short: a reader that stays in one for 30 s is ended.
 */
#ifndef SHM_EPOCH_H
#define SHM_EPOCH_H

#include "shm/desk.h"

struct epoch {                     /* one a reading thread, process-private */
	_Atomic uint64_t *slot;
	_Atomic uint64_t *global;
	unsigned depth;            /* sections nest */
};

/* number: the thread's own index within its process, below EG_EPOCHS_MAX. */
void epoch_init(struct epoch *e, const struct desks *d, unsigned number);
void epoch_enter(struct epoch *e);
void epoch_leave(struct epoch *e);

/* Writer: the oldest epoch that some reader may still be in (UINT64_MAX = none). */
uint64_t epoch_oldest(const struct desks *d);

#endif
