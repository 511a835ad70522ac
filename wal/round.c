/* Rounds, see the header. */
#include "wal/round.h"

#include <stdlib.h>
#include <string.h>

#include "wal/append.h"

void round_init(struct round *r)
{
	memset(r, 0, sizeof *r);
	r->entries = calloc(EG_ROUND_ENTRIES, sizeof *r->entries);
	EG_ASSERT(r->entries != NULL);
}

void round_fini(struct round *r)
{
	free(r->buf);
	free(r->entries);
	free(r->changes);
	memset(r, 0, sizeof *r);
}

void round_begin(struct round *r)
{
	r->n_entries = 0;
	r->n_changes = 0;
	r->last_lsn = 0;
	r->durable = false;
	r->applied = false;
	r->busy = true;
}

struct entry *round_add_entry(struct round *r)
{
	struct entry *e;

	if (r->n_entries == EG_ROUND_ENTRIES)
		return NULL;
	e = &r->entries[r->n_entries++];
	memset(e, 0, sizeof *e);
	e->first_bad = EG_NONE;
	return e;
}

struct change *round_add_change(struct round *r)
{
	struct change *c;

	if (r->n_changes == r->cap_changes) {
		r->cap_changes = r->cap_changes ? r->cap_changes * 2 : 256;
		r->changes = realloc(r->changes, r->cap_changes * sizeof *r->changes);
		EG_ASSERT(r->changes != NULL);
	}
	c = &r->changes[r->n_changes++];
	memset(c, 0, offsetof(struct change, own));
	c->promise = UINT64_MAX;
	c->entry = EG_NONE;
	return c;
}

size_t round_reserve_buffer(struct round *r, uint64_t segment_bytes)
{
	size_t bytes = 0, want;

	for (size_t i = 0; i < r->n_changes; i++)
		bytes += r->changes[i].head.bytes;
	want = append_buffer_bytes(bytes, segment_bytes);
	if (want <= r->cap)
		return bytes;
	free(r->buf);
	r->cap = (want + want / 4 + 4095) / 4096 * 4096;
	r->buf = aligned_alloc(4096, r->cap);
	EG_ASSERT(r->buf != NULL);
	return bytes;
}
