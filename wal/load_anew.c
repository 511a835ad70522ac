/* Loading a checkpoint that a build with another layout of shared memory wrote: the numbers
 * of slots and nodes in its rows mean nothing here, so each memory gets new ones as its
 * record is met, as a store of the running server would. One thread does that, in the
 * order of LSNs: free lists belong to spaces, and a space that once changed its
 * dimension did it once, not with every second row. See load.h. */
#include "common/fault.h"
#include "shm/node_write.h"
#include "shm/slot_write.h"
#include "wal/load_parts.h"

enum err load_place(struct load *l, struct checkpoint_row *row, const struct record *r, struct fault *f)
{
	enum err e = slot_reserve(l->w, r->space, &row->slot, &row->generation, f);

	row->class_ = row->node = EG_NONE;
	if (e != EG_E_OK || r->dim == 0)
		return e;
	e = node_reserve(l->w, r->space, r->dim, &row->node, f);
	row->class_ = node_class(r->dim);
	FAULT(LOAD_PLACED);
	return e;
}

void load_unplace(struct load *l, const struct body *b, uint32_t slot)
{
	if (b->class_ != EG_NONE)
		node_free(l->w, b->class_, b->node, b->record.space);
	slot_free(l->w, slot, b->record.space);
}
