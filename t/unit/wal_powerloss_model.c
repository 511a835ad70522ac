/* What was sent and acknowledged, and what a store holds: see wal_powerloss.h. */
#include "t/unit/wal_powerloss.h"

#ifdef EG_FAULTS

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/hash.h"
#include "common/tape.h"
#include "shm/node.h"
#include "shm/slot.h"
#include "wal/spacemsg.h"
#include "wal/submit.h"

#define LARGE_TEXT (40u << 10)
#define DIM_MAX 100u
#define UNDER_WAY 6u

static const unsigned dims[] = { 24, 40, 56, 100 };

uint64_t pl_random(uint64_t *state)
{
	*state += UINT64_C(0x9e3779b97f4a7c15);
	return hash64(state, sizeof *state, 5);
}

static uint64_t digest_of(unsigned space, unsigned key, struct pl_memory m)
{
	return hash64(&(uint64_t[4]){ space, key, m.value, m.version }, 32, 1);
}

static uint64_t digest_of_space(unsigned space, uint64_t quota)
{
	return hash64(&(uint64_t[2]){ space, quota }, 16, 2);
}

/* ---- the world --------------------------------------------------------------------- */

static void set_memory(struct pl_world *w, unsigned space, unsigned key, struct pl_memory m)
{
	struct pl_memory *old = &w->spaces[space].at[key];

	if (old->value != 0)
		w->digest -= digest_of(space, key, *old);
	if (m.value != 0)
		w->digest += digest_of(space, key, m);
	*old = m;
}

static void set_space(struct pl_world *w, unsigned space, bool live, uint64_t quota)
{
	struct pl_space *s = &w->spaces[space];

	if (s->live)
		w->digest -= digest_of_space(space, s->quota);
	if (live)
		w->digest += digest_of_space(space, quota);
	for (unsigned key = 0; key < PL_KEYS && !live; key++)
		set_memory(w, space, key, (struct pl_memory){ 0, 0 });
	s->live = live;
	s->made = 1;
	s->quota = quota;
}

static void add_state(struct pl_model *m)
{
	EG_ASSERT(m->n_states < PL_STATES);
	m->states[m->n_states++] = m->world.digest;
}

void model_begin(struct pl_model *m, uint64_t seed)
{
	memset(m, 0, sizeof *m);
	m->seed = seed;
	m->value = 1;
	for (unsigned s = 0; s < PL_SPACES; s++)
		m->world.spaces[s].dim = dims[s];
	add_state(m);
	m->branches[m->n_branches++] = (struct pl_branch){ .from = 0, .state = 0, .first = 1, .first_entry = 0 };
}

bool model_branch(struct pl_model *m, const struct pl_found *found, uint64_t time)
{
	struct pl_allowed a = model_allowed(m, time);

	if (model_judge(m, a, found) != PL_GOOD || m->n_branches == PL_BRANCHES)
		return false;
	for (unsigned s = 0; s < PL_SPACES; s++) {
		uint32_t made = m->world.spaces[s].made, dim = m->world.spaces[s].dim;

		/* A deleted space's name cannot be told from one that never was. */
		m->world.spaces[s] = found->world.spaces[s];
		m->world.spaces[s].made |= made;
		m->world.spaces[s].dim = found->world.spaces[s].dim ? found->world.spaces[s].dim : dim;
	}
	m->world.digest = found->world.digest;
	m->branches[m->n_branches++] = (struct pl_branch){ .from = time, .state = m->n_states,
		.first = m->n_states + 1, .first_entry = m->n_entries };
	add_state(m);
	return true;
}

struct pl_allowed model_allowed(const struct pl_model *m, uint64_t time)
{
	const struct pl_branch *b = &m->branches[0];
	struct pl_allowed a;
	uint64_t durable = 0;
	uint32_t last = m->n_entries;

	for (uint32_t i = 1; i < m->n_branches && m->branches[i].from <= time; i++)
		b = &m->branches[i];
	if (b + 1 < m->branches + m->n_branches)
		last = b[1].first_entry;
	a.from = a.to = a.also = b->state;
	for (uint32_t i = b->first_entry; i < last; i++)
		if (m->entries[i].acked != 0 && m->entries[i].acked <= time && m->entries[i].durable_lsn > durable)
			durable = m->entries[i].durable_lsn;
	for (uint32_t i = b->first_entry; i < last; i++) {
		const struct pl_entry *e = &m->entries[i];

		if (e->sent != 0 && e->sent <= time)
			a.to = e->last;
		if (e->acked != 0 && ((e->acked <= time && e->durable) || e->lsn <= durable))
			a.from = e->last;
	}
	return a;
}

enum pl_verdict model_judge(const struct pl_model *m, struct pl_allowed a, const struct pl_found *found)
{
	if (found->wrong[0] != '\0')
		return PL_WRONG;
	for (uint32_t i = a.from; i <= a.to; i++)
		if (m->states[i] == found->world.digest)
			return PL_GOOD;
	for (uint32_t i = 0; i < m->n_states; i++)
		if (m->states[i] == found->world.digest)
			return i < a.from ? PL_LOST : PL_TOO_NEW;
	return PL_TORN;
}

/* ---- sending --------------------------------------------------------------------------- */

struct item { char space[8], id[16], text[64]; float vector[DIM_MAX]; uint64_t terms[2]; uint8_t packed[256]; };

struct sender {
	struct wal_family *f;
	struct pl_model *m;
	struct submit lane;
	uint64_t random;
	struct draft drafts[PL_BATCH];
	struct item items[PL_BATCH];
	char *large;
	unsigned n;
	uint64_t versions[UNDER_WAY][PL_BATCH];    /* expected, of those under way */
	struct ticket tickets[UNDER_WAY];
	uint32_t entries[UNDER_WAY];
	unsigned first, under_way;
};

static size_t text_of(char out[64], unsigned space, unsigned key, uint64_t value)
{
	return (size_t)snprintf(out, 64, "space %u key %u value %llu;", space, key, (unsigned long long)value);
}

static unsigned axis(uint64_t value, unsigned dim) { return (unsigned)(value * 7 % dim); }

static struct draft *name_draft(struct sender *s, unsigned space)
{
	struct draft *d = &s->drafts[s->n];
	struct item *p = &s->items[s->n];

	memset(d, 0, sizeof *d);
	d->space_id_bytes = (size_t)snprintf(p->space, sizeof p->space, "s%u", space);
	d->space_id = p->space;
	d->head.confidence = 0.5f;
	return d;
}

static void fill_memory(struct sender *s, struct draft *d, struct item *p, unsigned space, unsigned key, bool large)
{
	unsigned dim = s->m->world.spaces[space].dim;
	size_t bytes = text_of(p->text, space, key, s->m->value);

	d->packed = (const uint8_t *)p->text;
	d->head.digest = hash64(p->text, bytes, 1);
	if (large) {
		memcpy(s->large, p->text, bytes);
		d->packed = (const uint8_t *)s->large;
		bytes = LARGE_TEXT;
	}
	memset(p->vector, 0, sizeof p->vector);
	p->vector[axis(s->m->value, dim)] = 1.0f;
	p->terms[0] = ((uint64_t)key + 1) << 16 | 1;
	p->terms[1] = UINT64_C(0xfffffff) << 16 | 1;
	d->vector = p->vector;
	d->terms = p->terms;
	d->head.dim = (uint16_t)dim;
	d->head.n_terms = d->head.length = 2;
	d->head.fingerprint = key % 10 + 1;
	d->head.packed_bytes = d->head.raw_bytes = (uint32_t)bytes;
}

static void compose_memory(struct sender *s, unsigned space, unsigned key, bool gone, bool large)
{
	struct pl_memory *now = &s->m->world.spaces[space].at[key];
	struct draft *d = name_draft(s, space);
	struct item *p = &s->items[s->n];

	d->head.id_bytes = (uint16_t)snprintf(p->id, sizeof p->id, "m%u", key);
	d->id = p->id;
	d->head.type = gone ? EG_RECORD_DELETE : EG_RECORD_PUT;
	if (!gone)
		fill_memory(s, d, p, space, key, large);
	draft_seal(d);
	s->versions[(s->first + s->under_way) % UNDER_WAY][s->n++] = gone ? now->version : now->version + 1;
	set_memory(&s->m->world, space, key,
	           gone ? (struct pl_memory){ 0, 0 } : (struct pl_memory){ s->m->value, now->version + 1 });
	s->m->value++;
}

static void compose_settings(struct sender *s, unsigned space)
{
	struct space_settings settings = { .profile = EG_PROFILE_DEFAULT, .forgetting = true,
		.lexical_weight = -1, .vector_weight = -1 };
	struct space_message m = { .quota_memories = 100000 + pl_random(&s->random) % 9 };
	struct draft *d = name_draft(s, space);
	struct item *p = &s->items[s->n];

	memcpy(m.id, d->space_id, d->space_id_bytes);
	m.id_bytes = d->space_id_bytes;
	m.settings = space_pack_settings(&settings);
	d->head.type = EG_RECORD_SPACE_PUT;
	d->head.packed_bytes = (uint32_t)space_message_pack(&m, p->packed);
	d->packed = p->packed;
	draft_seal(d);
	s->versions[(s->first + s->under_way) % UNDER_WAY][s->n++] = 0;
	set_space(&s->m->world, space, true, m.quota_memories);
}

static void compose_end(struct sender *s, unsigned space)
{
	struct draft *d = name_draft(s, space);

	d->head.type = EG_RECORD_SPACE_DELETE;
	draft_seal(d);
	s->versions[(s->first + s->under_way) % UNDER_WAY][s->n++] = 0;
	set_space(&s->m->world, space, false, 0);
	s->m->world.spaces[space].dim = dims[pl_random(&s->random) % 4];
}

static void compose_batch(struct sender *s, unsigned space, unsigned key, bool whole)
{
	unsigned n = 2 + (unsigned)(pl_random(&s->random) % (PL_BATCH - 1));

	for (unsigned i = 0; i < n; i++) {
		compose_memory(s, space, (key + i) % PL_KEYS, false, false);
		if (!whole)
			add_state(s->m);
	}
	if (whole)
		add_state(s->m);
}

/* One entry of some kind, and the states that it leads to; returns its flags. */
static unsigned compose(struct sender *s)
{
	uint64_t random = pl_random(&s->random);
	unsigned space = random % PL_SPACES, key = random / 7 % PL_KEYS, kind = random / 1024 % 100;
	struct pl_space *sp = &s->m->world.spaces[space];
	unsigned flags = random / 131072 % 16 == 0 ? EG_SUBMIT_DURABLE : 0;

	s->n = 0;
	if (!sp->live && sp->made) {               /* deleted: made again by hand */
		compose_settings(s, space);
	} else if (sp->live && kind < 2) {
		compose_end(s, space);
	} else if (sp->live && kind < 5) {
		compose_settings(s, space);
	} else {
		if (!sp->live) {                   /* made by the first write into it */
			set_space(&s->m->world, space, true, 0);
			add_state(s->m);
		}
		if (kind < 20 && sp->at[key].value != 0)
			compose_memory(s, space, key, true, false);
		else if (kind < 50) {
			compose_batch(s, space, key, kind < 40);
			return flags | (kind < 40 ? EG_SUBMIT_ATOMIC : 0);
		} else
			compose_memory(s, space, key, false, kind < 55);
	}
	add_state(s->m);
	return flags | EG_SUBMIT_ATOMIC;
}

#define BROKEN(m) atomic_store(&(m)->broken, __LINE__)

/* The oldest under way is answered: note what was said. False when it is not yet. */
static bool take_answer(struct sender *s)
{
	struct pl_entry *e = &s->m->entries[s->entries[s->first]];
	struct ticket *t = &s->tickets[s->first];
	enum err err;
	uint64_t lsn, durable_lsn;
	bool durable;

	if (!submit_poll(t, &err, &lsn, &durable))
		return false;
	for (unsigned i = 0; i < t->n_ops && err == EG_E_OK; i++) {
		struct outcome o = submit_outcome(t, i);

		err = o.err;
		if (err == EG_E_OK && s->versions[s->first][i] != 0 && o.version != s->versions[s->first][i])
			BROKEN(s->m);
	}
	submit_forget(t);
	if (err != EG_E_OK && err != EG_E_READ_ONLY && err != EG_E_NO_STORAGE && err != EG_E_WRITER)
		BROKEN(s->m);
	if (err == EG_E_OK && lsn == 0)
		BROKEN(s->m);
	if (err == EG_E_NO_STORAGE)
		atomic_store(&s->m->no_room, 1);
	if (err != EG_E_OK) {
		atomic_store(&s->m->refused, err);
		return true;
	}
	durable_lsn = atomic_load(&desk_wal(&s->f->desks)->durable_lsn);
	e->lsn = lsn;
	e->durable = durable;
	e->durable_lsn = durable_lsn;
	e->acked = tape_mark("answered", 8);
	atomic_fetch_add(&s->m->answered, 1);
	return true;
}

static void take_answers(struct sender *s, unsigned leave)
{
	struct pollfd p = { .fd = s->f->desks.bell[s->f->desks.self], .events = POLLIN };

	while (s->under_way > leave) {
		if (take_answer(s)) {
			s->first = (s->first + 1) % UNDER_WAY;
			s->under_way--;
			continue;
		}
		(void)poll(&p, 1, 1000);
		(void)desk_hush(&s->f->desks);
	}
}

static bool send_one(struct sender *s)
{
	unsigned at = (s->first + s->under_way) % UNDER_WAY, flags = compose(s);
	struct pl_entry *e = &s->m->entries[s->m->n_entries];
	struct fault fault;

	s->entries[at] = s->m->n_entries++;
	e->last = s->m->n_states - 1;
	e->sent = tape_mark("sent", 4);
	if (submit_push(&s->lane, s->drafts, s->n, flags, 60000, &s->tickets[at], &fault) != EG_E_OK) {
		BROKEN(s->m);
		return false;
	}
	s->under_way++;
	return true;
}

int model_send(struct wal_family *f, void *model)
{
	struct sender *s = calloc(1, sizeof *s);

	EG_ASSERT(s != NULL);
	s->f = f;
	s->m = model;
	s->random = s->m->seed ^ s->m->value * 31;
	s->large = malloc(LARGE_TEXT);
	EG_ASSERT(s->large != NULL);
	memset(s->large, 'x', LARGE_TEXT);
	submit_init(&s->lane, &f->desks, 0);
	while (!atomic_load(&s->m->stop) && !atomic_load(&s->m->refused) && s->m->n_entries < PL_ENTRIES
	       && s->m->n_states + 2 * PL_BATCH < PL_STATES) {
		if (!send_one(s))
			return 1;
		take_answers(s, (unsigned)(pl_random(&s->random) % UNDER_WAY));
	}
	take_answers(s, 0);
	return 0;
}

/* ---- looking ------------------------------------------------------------------------------- */

#define WRONG(found, ...) snprintf((found)->wrong, sizeof (found)->wrong, __VA_ARGS__)

static void look_memory(const struct store *s, struct pl_found *found, unsigned space, const struct engram *e)
{
	const struct record *r = &e->body->record;
	const char *id = body_id(e->body), *text = (const char *)body_packed(e->body);
	char head[64] = "", want[64], name[16] = "";
	unsigned key = PL_KEYS;
	unsigned long long value = 0;
	const float *vector = node_vector(s, e->body);
	size_t n;

	memcpy(name, id, r->id_bytes < sizeof name - 1 ? r->id_bytes : sizeof name - 1);
	if (strcmp(name, "extra") == 0) {
		found->extra++;
		return;
	}
	memcpy(head, text, r->packed_bytes < 63 ? r->packed_bytes : 63);
	if (sscanf(name, "m%u", &key) != 1 || key >= PL_KEYS || sscanf(head, "space %*u key %*u value %llu", &value) != 1) {
		WRONG(found, "space %u holds %s, which was never sent", space, name);
		return;
	}
	n = text_of(want, space, key, value);
	if (r->packed_bytes < n || (r->packed_bytes != n && r->packed_bytes != LARGE_TEXT) || memcmp(text, want, n) != 0
	    || (r->packed_bytes == LARGE_TEXT && text[LARGE_TEXT - 1] != 'x'))
		WRONG(found, "space %u key %u value %llu: another text", space, key, value);
	else if (r->dim == 0 || vector == NULL || vector[axis(value, r->dim)] != 1.0f)
		WRONG(found, "space %u key %u value %llu: another vector", space, key, value);
	else if (found->world.spaces[space].at[key].value != 0)
		WRONG(found, "space %u key %u is there twice", space, key);
	found->world.spaces[space].dim = r->dim;
	set_memory(&found->world, space, key, (struct pl_memory){ value, r->version });
}

static void look_space(const struct store *s, struct pl_found *found, unsigned space, const struct space *sp)
{
	struct node_walk nodes;
	struct node_span span;
	struct slot_walk walk;
	struct engram e, again;
	uint64_t memories = 0, vectors = 0;

	set_space(&found->world, space, true, atomic_load(&sp->quota_memories));
	slot_walk(s, sp, &walk);
	while (slot_next(&walk, &e)) {
		const struct record *r = &e.body->record;

		memories++;
		look_memory(s, found, space, &e);
		if (!slot_find(s, sp, body_id(e.body), r->id_bytes, &again) || again.number != e.number)
			WRONG(found, "space %u: a memory is not found by its id", space);
	}
	node_walk(s, sp, &nodes);
	while (node_next(&nodes, &span))
		for (unsigned i = 0; i < EG_CHUNK; i++)
			vectors += atomic_load(&span.owners[i]) != EG_NODE_FREE;
	if (memories != atomic_load(&sp->memories) || vectors != atomic_load(&sp->with_vector))
		WRONG(found, "space %u: %llu memories, %llu counted, %llu vectors, %llu counted", space,
		      (unsigned long long)memories, (unsigned long long)atomic_load(&sp->memories),
		      (unsigned long long)vectors, (unsigned long long)atomic_load(&sp->with_vector));
}

void model_look(const struct store *s, struct pl_found *found)
{
	memset(found, 0, sizeof *found);
	found->space = EG_NONE;
	for (uint32_t i = 0; i < space_count(s); i++) {
		const struct space *sp = space_get(s, i);
		unsigned space = PL_SPACES;

		if (sp == NULL || atomic_load(&sp->state) != EG_SPACE_LIVE || strcmp(sp->id, "default") == 0)
			continue;
		if (sscanf(sp->id, "s%u", &space) != 1 || space >= PL_SPACES || found->world.spaces[space].live) {
			WRONG(found, "the space %s was never made, or is there twice", sp->id);
			continue;
		}
		if (space_find(s, sp->id, strlen(sp->id)) != sp)
			WRONG(found, "the space %s is not found by its name", sp->id);
		found->space = i;
		look_space(s, found, space, sp);
	}
}

#endif
