/* Admission: memory spaces. A space made by a first write becomes visible when
 * its round is in the log, before the round's memories are applied; changes and
 * deletions of spaces are alone in their round (lanes.c). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/fault.h"
#include "shm/space_write.h"
#include "wal/admit_parts.h"
#include "wal/spacemsg.h"

void admit_know_space(struct admit *a, uint32_t number)
{
	if (number >= a->cap_spaces) {
		uint32_t cap = number + number / 2 + 16;

		a->spaces = realloc(a->spaces, cap * sizeof *a->spaces);
		EG_ASSERT(a->spaces != NULL);
		memset(a->spaces + a->cap_spaces, 0, (cap - a->cap_spaces) * sizeof *a->spaces);
		a->cap_spaces = cap;
	}
	if (number >= a->n_spaces)
		a->n_spaces = number + 1;
}

static void remember_deleted(struct admit *a, uint32_t number)
{
	if (a->n_deleted == a->cap_deleted) {
		a->cap_deleted = a->cap_deleted ? a->cap_deleted * 2 : 16;
		a->deleted = realloc(a->deleted, a->cap_deleted * sizeof *a->deleted);
		EG_ASSERT(a->deleted != NULL);
	}
	a->deleted[a->n_deleted++] = number;
}

void admit_space_changed(struct admit *a, uint32_t number)
{
	const struct space *sp = space_get(&a->w->store, number);
	struct admit_space *k = &a->spaces[number];
	bool live = sp != NULL && atomic_load(&sp->state) == EG_SPACE_LIVE;

	a->live_spaces += live - k->live;
	if (sp != NULL && !live)
		remember_deleted(a, number);
	k->live = live;
	if (!live)
		return;
	k->memories = atomic_load(&sp->memories);
	k->raw_bytes = atomic_load(&sp->raw_bytes);
	k->dimension = space_dimension(sp);
	k->source = (uint8_t)space_source(sp);
}

static uint32_t find(const struct admit *a, const char *id, size_t n)
{
	const struct space *sp;

	for (uint32_t i = 0; i < a->n_pending; i++)
		if (strncmp(a->pending[i].id, id, n) == 0 && a->pending[i].id[n] == '\0')
			return a->pending[i].number;
	sp = space_find(&a->w->store, id, n);
	return sp != NULL && a->spaces[sp->number].live ? sp->number : EG_NONE;
}

static bool was_deleted(const struct admit *a, const char *id, size_t n)
{
	for (uint32_t i = 0; i < a->n_deleted; i++) {
		const struct space *sp = space_get(&a->w->store, a->deleted[i]);

		if (sp != NULL && strncmp(sp->id, id, n) == 0 && sp->id[n] == '\0')
			return true;
	}
	return false;
}

static void add_pending(struct admit *a, const char *id, size_t n, uint32_t number)
{
	if (a->n_pending == a->cap_pending) {
		a->cap_pending = a->cap_pending ? a->cap_pending * 2 : 16;
		a->pending = realloc(a->pending, a->cap_pending * sizeof *a->pending);
		EG_ASSERT(a->pending != NULL);
	}
	snprintf(a->pending[a->n_pending].id, sizeof a->pending[0].id, "%.*s", (int)n, id);
	a->pending[a->n_pending++].number = number;
}

/* A SPACE_PUT of the writer's own or of an operation; the message is in c->own. */
static void space_record(struct change *c, const struct space_message *m, uint32_t number)
{
	c->head.packed_bytes = (uint32_t)space_message_pack(m, c->own);
	c->head.bytes = (uint32_t)record_size(0, 0, 0, 0, c->head.packed_bytes);
	memset(c->own + c->head.packed_bytes, 0, sizeof c->own - c->head.packed_bytes);
	c->head.type = EG_RECORD_SPACE_PUT;
	c->head.space = number;
	c->head.version = 1;
	c->head.stored_us = clock_real_us();
	c->head.dim = c->head.id_bytes = c->head.n_tags = 0;
	c->head.n_terms = 0;
	c->payload = NULL;
}

static enum err make_space(struct admit *a, struct round *r, const struct space_message *m,
                           struct change **out, struct fault *f)
{
	uint32_t number = a->n_spaces;
	enum err e;

	if ((int64_t)a->live_spaces + 1 > a->config->limits_spaces)
		return err_set(f, EG_E_QUOTA, "space", NULL, "no more than %lld spaces (limits.spaces)",
		               (long long)a->config->limits_spaces);
	e = space_reserve(a->w, number, f);
	if (e != EG_E_OK)
		return e;
	admit_know_space(a, number);
	a->spaces[number] = (struct admit_space){ .live = true, .dimension = m->dimension,
		.source = (uint8_t)m->source };
	a->live_spaces++;
	add_pending(a, m->id, m->id_bytes, number);
	*out = round_add_change(r);
	space_record(*out, m, number);
	return EG_E_OK;
}

static void default_message(struct space_message *m, const char *id, size_t n)
{
	const struct space_settings s = { .profile = EG_PROFILE_DEFAULT, .forgetting = true,
		.lexical_weight = -1, .vector_weight = -1 };

	memset(m, 0, sizeof *m);
	memcpy(m->id, id, n);
	m->id_bytes = n;
	m->settings = space_pack_settings(&s);
	m->create_only = true;
}

enum err admit_resolve_space(struct admit *a, struct round *r, struct op *op, bool create)
{
	struct space_message m;
	struct change *c;
	struct fault f;

	op->head.space = find(a, op->space_id, op->space_bytes);
	if (op->head.space != EG_NONE)
		return EG_E_OK;
	if (!create || !a->config->memory_spaces_auto_create || was_deleted(a, op->space_id, op->space_bytes))
		return EG_E_NO_SPACE;
	default_message(&m, op->space_id, op->space_bytes);
	op->head.space = a->n_spaces;
	return make_space(a, r, &m, &c, &f);
}

enum err admit_space_put(struct admit *a, struct round *r, struct op *op, struct outcome *o)
{
	struct space_message m;
	struct change *c;
	struct fault f;
	uint8_t packed[512];
	struct record *view = (struct record *)(void *)packed;
	uint32_t number;
	enum err e;

	/* The message, behind a head of its own, so that it is read as in a record. */
	if (op->head.dim != 0 || op->head.n_terms != 0 || op->head.n_tags != 0 || op->head.id_bytes != 0
	    || op->head.packed_bytes > sizeof packed - sizeof *view)
		return EG_E_REQUEST;
	*view = op->head;
	memcpy(packed + sizeof *view, op->payload, op->head.packed_bytes);
	if (!space_message_read(view, &m) || m.id_bytes != op->space_bytes
	    || memcmp(m.id, op->space_id, m.id_bytes) != 0)
		return EG_E_REQUEST;
	number = find(a, m.id, m.id_bytes);
	o->version = 1;
	if (number == EG_NONE) {
		o->created = true;
		e = make_space(a, r, &m, &c, &f);
		if (e != EG_E_OK)
			return e;
	} else {
		const struct admit_space *k = &a->spaces[number];

		o->detail = k->dimension;
		if (m.dimension != 0 && k->dimension != 0 && k->source == EG_SOURCE_CLIENT
		    && m.dimension != k->dimension)
			return EG_E_CONFLICT;
		if (m.create_only)
			return EG_E_OK;
		c = round_add_change(r);
		space_record(c, &m, number);
	}
	c->head.producer = op->head.producer;
	c->head.entry = op->head.entry;
	c->head.op = op->head.op;
	return EG_E_OK;
}

enum err admit_space_delete(struct admit *a, struct round *r, struct op *op, struct outcome *o)
{
	uint32_t number = find(a, op->space_id, op->space_bytes);
	struct change *c;

	if (number == EG_NONE)
		return EG_E_NO_SPACE;
	op->head.space = number;
	c = round_add_change(r);
	c->head = op->head;
	c->payload = op->payload;
	a->spaces[number].live = false;
	a->live_spaces--;
	o->version = 1;
	return EG_E_OK;
}

/* The newest change is taken back first, so a new number is the last one given. */
void admit_undo_space(struct admit *a, const struct change *c)
{
	if (c->head.type == EG_RECORD_SPACE_DELETE) {
		a->spaces[c->head.space].live = true;
		a->live_spaces++;
	} else if (c->head.type == EG_RECORD_SPACE_PUT && a->n_pending > 0
	           && a->pending[a->n_pending - 1].number == c->head.space) {
		space_unreserve(a->w, c->head.space);
		a->n_pending--;
		a->n_spaces--;
		a->spaces[c->head.space].live = false;
		a->live_spaces--;
	}
}

void admit_apply_space(struct admit *a, const struct record *r)
{
	bool was_new = space_get(&a->w->store, r->space) == NULL;

	if (!was_new)
		appliers_wait(a->appliers);
	if (r->type == EG_RECORD_SPACE_PUT)
		apply_space_put(a->w, r);
	else
		apply_space_delete(a->w, r);
	atomic_store_explicit(&store_root(a->w)->applied_lsn[EG_SHARDS], r->lsn, memory_order_release);
	FAULT(SPACE_APPLIED_LSN);
	/* A new one's admission state may be ahead already: its first memories are in
	 * this round. */
	if (!was_new)
		admit_space_changed(a, r->space);
}

enum err admit_bootstrap(struct admit *a, struct round *r, const char *id, struct fault *f)
{
	struct space_message m;
	struct change *c;
	size_t n = strlen(id);

	if (find(a, id, n) != EG_NONE || was_deleted(a, id, n))
		return EG_E_OK;
	default_message(&m, id, n);
	return make_space(a, r, &m, &c, f);
}
