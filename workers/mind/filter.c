/* Filters, see filter.h. */
#include "workers/mind/filter.h"

#include <string.h>

#include "shm/body.h"
#include "workers/mind/packed.h"

void filter_init(struct filter *fl)
{
	memset(fl, 0, sizeof *fl);
	fl->from_us = INT64_MIN;
	fl->to_us = INT64_MAX;
}

static uint64_t *hashes(struct arena *a, const struct str *tags, unsigned n)
{
	uint64_t *h = arena_array(a, n, sizeof *h);

	for (unsigned i = 0; h && i < n; i++)
		h[i] = packed_tag_hash(tags[i]);
	return h;
}

enum err filter_prepare(struct filter *fl, struct arena *a, struct fault *f)
{
	fl->hash_all = hashes(a, fl->tags_all, fl->n_all);
	fl->hash_any = hashes(a, fl->tags_any, fl->n_any);
	if (!fl->hash_all || !fl->hash_any)
		return err_set(f, EG_E_OVERLOADED, "filter", NULL, "the request needs more memory than one may have");
	fl->session_hash = fl->session.at ? packed_session_hash(fl->session) : 0;
	fl->deep = fl->n_all || fl->n_any || fl->n_none || fl->n_metadata || fl->session.at;
	return EG_E_OK;
}

static bool has_hash(const struct body *b, uint64_t hash)
{
	const uint64_t *tags = body_tags(b);

	for (unsigned i = 0; i < b->record.n_tags; i++)
		if (tags[i] == hash)
			return true;
	return false;
}

bool filter_any(const struct filter *fl)
{
	return fl->n_all || fl->n_any || fl->n_none || fl->types || fl->session.at || fl->n_metadata
	       || fl->min_confidence > 0 || fl->from_us != INT64_MIN || fl->to_us != INT64_MAX;
}

bool filter_quick(const struct filter *fl, const struct body *b)
{
	const struct record *r = &b->record;
	bool any = fl->n_any == 0;

	if (fl->types && !(fl->types >> r->memory_type & 1))
		return false;
	if (r->observed_us < fl->from_us || r->observed_us > fl->to_us)
		return false;
	if ((double)r->confidence < fl->min_confidence - 1e-6)
		return false;
	if (fl->session_hash && r->session != fl->session_hash)
		return false;
	for (unsigned i = 0; i < fl->n_all; i++)
		if (!has_hash(b, fl->hash_all[i]))
			return false;
	for (unsigned i = 0; i < fl->n_any && !any; i++)
		any = has_hash(b, fl->hash_any[i]);
	return any;
}

static bool same(struct str a, struct str b)
{
	return a.len == b.len && (a.len == 0 || memcmp(a.at, b.at, a.len) == 0);
}

static bool has_tag(const struct packed *p, struct str tag)
{
	for (unsigned i = 0; i < p->n_tags; i++)
		if (same(p->tags[i], tag))
			return true;
	return false;
}

/* Integers and numbers compare by value: 1 equals 1.0. */
static bool same_value(const struct meta *a, const struct meta *b)
{
	if (a->kind == EG_META_TEXT || b->kind == EG_META_TEXT)
		return a->kind == b->kind && same(a->text, b->text);
	if (a->kind == EG_META_FLAG || b->kind == EG_META_FLAG)
		return a->kind == b->kind && a->flag == b->flag;
	if (a->kind == EG_META_INT && b->kind == EG_META_INT)
		return a->integer == b->integer;
	return (a->kind == EG_META_INT ? (double)a->integer : a->number) ==
	       (b->kind == EG_META_INT ? (double)b->integer : b->number);
}

static bool has_meta(const struct packed *p, const struct meta *m)
{
	for (unsigned i = 0; i < p->n_metadata; i++)
		if (same(p->metadata[i].key, m->key))
			return same_value(&p->metadata[i], m);
	return false;
}

bool filter_sure(const struct filter *fl, const struct packed *p)
{
	bool any = fl->n_any == 0;

	if (fl->session.at && !same(fl->session, p->session))
		return false;
	for (unsigned i = 0; i < fl->n_all; i++)
		if (!has_tag(p, fl->tags_all[i]))
			return false;
	for (unsigned i = 0; i < fl->n_none; i++)
		if (has_tag(p, fl->tags_none[i]))
			return false;
	for (unsigned i = 0; i < fl->n_any && !any; i++)
		any = has_tag(p, fl->tags_any[i]);
	for (unsigned i = 0; i < fl->n_metadata; i++)
		if (!has_meta(p, &fl->metadata[i]))
			return false;
	return any;
}
