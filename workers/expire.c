/* See expire.h. */
#include "workers/expire.h"

#include <string.h>

void expire_begin(struct expire_walk *w, const struct store *s, struct epoch *e, int64_t now_us)
{
	*w = (struct expire_walk){ .store = s, .epoch = e, .now_us = now_us };
}

static void keep(struct expired *x, const struct space *sp, const struct body *b)
{
	memcpy(x->space, sp->id, sizeof x->space);
	x->id_bytes = b->record.id_bytes;
	EG_ASSERT(x->id_bytes <= sizeof x->id);
	memcpy(x->id, body_id(b), x->id_bytes);
	x->version = b->record.version;
}

/* Within an epoch section: false when this space has been walked to its end. */
static bool walk_space(struct expire_walk *w, const struct space *sp, struct expired *out, unsigned *n, unsigned *visits)
{
	struct engram e;

	if (!w->inside)
		slot_walk(w->store, sp, &w->walk);
	w->inside = true;
	while (*n < EXPIRE_BATCH && *visits < EXPIRE_VISITS) {
		if (!slot_next(&w->walk, &e)) {
			w->inside = false;
			return false;
		}
		++*visits;
		if (body_expired(e.body, w->now_us))
			keep(&out[(*n)++], sp, e.body);
	}
	return true;
}

bool expire_find(struct expire_walk *w, struct expired out[EXPIRE_BATCH], unsigned *n)
{
	uint32_t spaces = space_count(w->store);
	unsigned visits = 0;
	bool more = false;

	*n = 0;
	epoch_enter(w->epoch);
	for (; w->space < spaces && !more; w->space += !more) {
		const struct space *sp = space_get(w->store, w->space);
		visits++;
		if (sp && atomic_load(&sp->state) == EG_SPACE_LIVE)
			more = walk_space(w, sp, out, n, &visits);
		else
			w->inside = false;
		if (!more && visits >= EXPIRE_VISITS) {
			w->space++;
			more = w->space < spaces;
			break;
		}
	}
	epoch_leave(w->epoch);
	return more;
}

void expire_draft(const struct expired *x, struct draft *d)
{
	memset(d, 0, sizeof *d);
	d->head.type = EG_RECORD_DELETE;
	d->head.space = EG_NONE;
	d->head.id_bytes = (uint16_t)x->id_bytes;
	d->space_id = x->space;
	d->space_id_bytes = strlen(x->space);
	d->id = x->id;
	d->expect_version = x->version;
	draft_seal(d);
}
