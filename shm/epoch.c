/* Epochs, see the header. The pair of fences (reader: show, fence, look; writer:
 * unpublish, fence, look at the slots) is Dekker's: one of the two sees the other. */
#include "shm/epoch.h"

void epoch_init(struct epoch *e, const struct desks *d, unsigned number)
{
	EG_ASSERT(number < EG_EPOCHS_MAX);
	e->slot = &desk_epochs(d, (unsigned)d->self)[number].epoch;
	e->global = &desk_wal(d)->epoch;
	e->depth = 0;
}

void epoch_enter(struct epoch *e)
{
	uint64_t now;

	if (e->depth++ > 0)
		return;
	now = atomic_load_explicit(e->global, memory_order_acquire);
	/* Before the first writer runs the epoch is 0, which would mean "idle". */
	atomic_store_explicit(e->slot, now ? now : 1, memory_order_relaxed);
	atomic_thread_fence(memory_order_seq_cst);
}

void epoch_leave(struct epoch *e)
{
	EG_ASSERT(e->depth > 0);
	if (--e->depth == 0)
		atomic_store_explicit(e->slot, 0, memory_order_release);
}

uint64_t epoch_oldest(const struct desks *d)
{
	const struct master_page *m = desk_master(d);
	uint64_t oldest = UINT64_MAX;

	atomic_thread_fence(memory_order_seq_cst);
	/* The wal process's own: its linking thread. */
	for (unsigned k = EG_DESK_WAL; k < d->n; k++) {
		struct epoch_slot *slots = desk_epochs(d, k);

		if (k != EG_DESK_WAL && atomic_load_explicit(&m->seats[k].state, memory_order_acquire) != EG_DESK_BUSY)
			continue;
		for (unsigned i = 0; i < EG_EPOCHS_MAX; i++) {
			uint64_t e = atomic_load_explicit(&slots[i].epoch, memory_order_acquire);

			if (e != 0 && e < oldest)
				oldest = e;
		}
	}
	return oldest;
}
