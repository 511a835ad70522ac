/* Looking without a cue, see browse.h. */
#include "workers/mind/browse.h"

#include <string.h>

#include "shm/body.h"
#include "wal/record.pb-c.h"

enum err browse_space(const struct mind *m, struct str id, const struct space **sp, struct fault *f)
{
	*sp = space_find(m->store, id.at, id.len);
	if (*sp)
		return EG_E_OK;
	return err_set(f, EG_E_NO_SPACE, "space", NULL, "there is no memory space %.*s", (int)id.len, id.at);
}

static bool seen(const struct mind *m, const struct engram *e)
{
	int64_t expires = e->body->record.expires_us;

	return !expires || expires > m->now_us;
}

enum err browse_memory(const struct mind *m, const struct space *sp, struct str id, struct engram *e,
                       struct fault *f)
{
	if (id.len <= EG_ID_MAX && slot_find(m->store, sp, id.at, id.len, e) && seen(m, e))
		return EG_E_OK;
	return err_set(f, EG_E_NOT_FOUND, "id", NULL, "there is no memory %.*s in space %s",
	               id.len > 100 ? 100 : (int)id.len, id.at, sp->id);
}

enum tier browse_tier(const struct engram *e)
{
	uint64_t t = atomic_load_explicit(&e->slot->tier, memory_order_relaxed);

	EG_ASSERT(t < EG_TIERS);
	return (enum tier)t;
}

const char *browse_tier_name(enum tier t)
{
	static const char *const names[EG_TIERS] = { "hot", "warm", "cold" };

	return names[t];
}

enum err browse_list(const struct mind *m, struct arena *a, const struct space *sp, unsigned tier,
                     uint64_t offset, unsigned limit, struct browse_page *out, struct fault *f)
{
	struct slot_walk w;
	struct engram e;
	uint64_t at = 0;

	memset(out, 0, sizeof *out);
	out->rows = arena_array(a, limit, sizeof *out->rows);
	if (!out->rows)
		return err_set(f, EG_E_OVERLOADED, NULL, NULL, "the request needs more memory than one may have");
	slot_walk(m->store, sp, &w);
	while (slot_next(&w, &e)) {
		if (!seen(m, &e))
			continue;
		out->counts.tiers[browse_tier(&e)]++;
		out->counts.total++;
		if (tier != EG_TIERS && browse_tier(&e) != tier)
			continue;
		if (at++ >= offset && out->n < limit)
			out->rows[out->n++] = e;
	}
	return EG_E_OK;
}

void browse_count(const struct mind *m, const struct space *sp, struct browse_counts *out)
{
	struct slot_walk w;
	struct engram e;

	memset(out, 0, sizeof *out);
	slot_walk(m->store, sp, &w);
	while (slot_next(&w, &e)) {
		if (!seen(m, &e))
			continue;
		out->tiers[browse_tier(&e)]++;
		out->total++;
	}
}

enum err browse_make_space(struct arena *a, const struct browse_settings *in, struct draft *d, struct fault *f)
{
	Engram__Log__Space msg;
	size_t bytes;
	uint8_t *out = NULL;

	engram__log__space__init(&msg);
	msg.id = arena_strndup(a, in->id.at, in->id.len);
	msg.dimension = in->dimension;
	msg.source = in->dimension ? EG_SOURCE_CLIENT : EG_SOURCE_UNSET;
	msg.settings = space_pack_settings(&in->set);
	msg.quota_memories = in->quota_memories;
	msg.quota_bytes = in->quota_bytes;
	if (msg.id) {
		bytes = engram__log__space__get_packed_size(&msg);
		out = arena_alloc(a, bytes);
	}
	if (!out)
		return err_set(f, EG_E_OVERLOADED, NULL, NULL, "the request needs more memory than one may have");
	engram__log__space__pack(&msg, out);
	memset(d, 0, sizeof *d);
	d->head.type = EG_RECORD_SPACE_PUT;
	d->head.space = EG_NONE;
	d->space_id = in->id.at;
	d->space_id_bytes = in->id.len;
	d->packed = out;
	d->head.packed_bytes = (uint32_t)bytes;
	draft_seal(d);
	return EG_E_OK;
}
