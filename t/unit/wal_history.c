/* The history, see the header. */
#include "t/unit/wal_history.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/hash.h"
#include "shm/epoch.h"
#include "shm/node.h"
#include "shm/slot.h"
#include "wal/spacemsg.h"
#include "wal/submit.h"

#define LARGE_TEXT (160u << 10)        /* larger than a chunk of the heap serves */
#define DIM_MAX 300u

struct history *history_new(uint64_t seed)
{
	struct history *h = mmap(NULL, sizeof *h, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	EG_ASSERT(h != MAP_FAILED);
	h->seed = seed;
	history_reset(h);
	return h;
}

void history_free(struct history *h) { munmap(h, sizeof *h); }

void history_reset(struct history *h)
{
	memset(&h->acked, 0, sizeof h->acked);
	memset(&h->flight, 0, sizeof h->flight);
	atomic_store(&h->flying, 0);
	if (atomic_load(&h->next) == 0)
		atomic_store(&h->next, 2);
	memset(&h->next_dim, 0, sizeof h->next_dim);
	memset(&h->state, 0, sizeof h->state);
	memset(&h->next_state, 0, sizeof h->next_state);
	for (unsigned s = 0; s < HISTORY_SPACES; s++)
		atomic_store(&h->dim[s], 24 + 16 * s);
}

uint64_t history_wrong(const struct history *h)
{
	return atomic_load(&h->lost) + atomic_load(&h->phantom) + atomic_load(&h->torn) + atomic_load(&h->corrupt)
	       + (atomic_load(&h->broken) != 0);
}

uint64_t history_random(uint64_t *state)
{
	*state += UINT64_C(0x9e3779b97f4a7c15);
	return hash64(state, sizeof *state, 7);
}

/* ---- sending ---------------------------------------------------------------------- */

struct item { char space[8], id[16], *text; float vector[DIM_MAX]; uint64_t terms[2]; uint8_t packed[256]; };

struct history_sender {
	struct wal_family *f;
	struct history *h;
	struct submit lane;
	uint64_t random;
	struct draft drafts[HISTORY_BATCH];
	struct item items[HISTORY_BATCH];
	char text[HISTORY_BATCH][64];
	char *large;
	unsigned n;
};

static size_t text_of(char *out, size_t size, unsigned space, unsigned key, uint64_t value)
{
	return (size_t)snprintf(out, size, "space %u key %u value %llu;", space, key, (unsigned long long)value);
}

static void name_draft(struct draft *d, struct item *p, unsigned space)
{
	memset(d, 0, sizeof *d);
	d->space_id_bytes = (size_t)snprintf(p->space, sizeof p->space, "s%u", space);
	d->space_id = p->space;
	d->head.confidence = 0.5f;
}

static void draft_memory(struct history_sender *s, unsigned space, unsigned key, uint64_t value, bool large)
{
	struct draft *d = &s->drafts[s->n];
	struct item *p = &s->items[s->n];
	unsigned dim = atomic_load(&s->h->dim[space]);
	size_t bytes = text_of(s->text[s->n], sizeof s->text[s->n], space, key, value);

	name_draft(d, p, space);
	d->head.id_bytes = (uint16_t)snprintf(p->id, sizeof p->id, "m%u", key);
	d->id = p->id;
	d->head.type = value & HISTORY_DELETED ? EG_RECORD_DELETE : EG_RECORD_PUT;
	if (d->head.type == EG_RECORD_PUT) {
		d->packed = (const uint8_t *)s->text[s->n];
		if (large) {
			memcpy(s->large, s->text[s->n], bytes);
			d->packed = (const uint8_t *)s->large;
			bytes = LARGE_TEXT;
		}
		memset(p->vector, 0, sizeof p->vector);
		p->vector[key % dim] = 1.0f;
		p->terms[0] = ((uint64_t)key + 1) << 16 | 1;
		p->terms[1] = UINT64_C(0xfffffff) << 16 | 1;
		d->vector = p->vector;
		d->terms = p->terms;
		d->head.dim = (uint16_t)dim;
		d->head.n_terms = d->head.length = 2;
		d->head.digest = hash64(s->text[s->n], strlen(s->text[s->n]), 1);
		d->head.fingerprint = key % 10 + 1;
		d->head.packed_bytes = d->head.raw_bytes = (uint32_t)bytes;
	}
	draft_seal(d);
	atomic_store(&s->h->flight[space][key], value);
	atomic_store(&s->h->next_state[space], EG_SPACE_LIVE);
	s->n++;
}

static void draft_settings(struct history_sender *s, unsigned space)
{
	struct space_settings settings = { .profile = EG_PROFILE_DEFAULT, .forgetting = true,
		.lexical_weight = -1, .vector_weight = -1 };
	struct space_message m = { .quota_memories = 100000 + history_random(&s->random) % 9 };
	struct draft *d = &s->drafts[s->n];
	struct item *p = &s->items[s->n++];

	name_draft(d, p, space);
	memcpy(m.id, d->space_id, d->space_id_bytes);
	m.id_bytes = d->space_id_bytes;
	m.settings = space_pack_settings(&settings);
	atomic_store(&s->h->next_state[space], EG_SPACE_LIVE);
	d->head.type = EG_RECORD_SPACE_PUT;
	d->head.packed_bytes = (uint32_t)space_message_pack(&m, p->packed);
	d->packed = p->packed;
	draft_seal(d);
}

static void draft_space_end(struct history_sender *s, unsigned space, uint64_t value)
{
	struct draft *d = &s->drafts[s->n];
	struct item *p = &s->items[s->n++];
	static const unsigned dims[] = { 24, 40, 56, 72, 100, 130, 200, 300 };

	name_draft(d, p, space);
	atomic_store(&s->h->next_state[space], EG_SPACE_DELETED);
	d->head.type = EG_RECORD_SPACE_DELETE;
	draft_seal(d);
	atomic_store(&s->h->next_dim[space], dims[history_random(&s->random) % 8]);
	for (unsigned key = 0; key < HISTORY_KEYS; key++)
		if (atomic_load(&s->h->acked[space][key]) & ~HISTORY_DELETED)
			atomic_store(&s->h->flight[space][key], value | HISTORY_DELETED);
}

/* The entry in flight was acknowledged: it is the state now. */
static void land(struct history *h)
{
	for (unsigned s = 0; s < HISTORY_SPACES; s++) {
		for (unsigned key = 0; key < HISTORY_KEYS; key++) {
			uint64_t value = atomic_load(&h->flight[s][key]);

			if (value == 0)
				continue;
			atomic_store(&h->acked[s][key], value);
			atomic_store(&h->flight[s][key], 0);
		}
		if (atomic_load(&h->next_dim[s]) != 0)
			atomic_store(&h->dim[s], atomic_load(&h->next_dim[s]));
		atomic_store(&h->next_dim[s], 0);
		if (atomic_load(&h->next_state[s]) != EG_SPACE_NONE)
			atomic_store(&h->state[s], atomic_load(&h->next_state[s]));
		atomic_store(&h->next_state[s], EG_SPACE_NONE);
	}
	atomic_store(&h->flying, 0);
}

static bool live(const struct history *h, unsigned space, unsigned key)
{
	uint64_t value = atomic_load(&h->acked[space][key]);

	return value != 0 && (value & HISTORY_DELETED) == 0;
}

/* One entry of some kind; returns its flags. */
static unsigned compose(struct history_sender *s)
{
	uint64_t dice = history_random(&s->random), value = atomic_fetch_add(&s->h->next, 2);
	unsigned space = dice % HISTORY_SPACES, key = dice / 7 % HISTORY_KEYS, kind = dice / 1024 % 100;
	unsigned n = 2 + dice / 65536 % (HISTORY_BATCH - 1);
	bool there = atomic_load(&s->h->state[space]) == EG_SPACE_LIVE;

	s->n = 0;
	if (atomic_load(&s->h->state[space]) == EG_SPACE_DELETED) {
		draft_settings(s, space);
	} else if (kind < 3 && there) {
		draft_space_end(s, space, value);
	} else if (kind < 6 && there) {
		draft_settings(s, space);
	} else if (kind < 25 && live(s->h, space, key)) {
		draft_memory(s, space, key, value | HISTORY_DELETED, false);
	} else if (kind < 60) {
		for (unsigned i = 0; i < n; i++)
			draft_memory(s, space, (key + i) % HISTORY_KEYS, value, false);
		return kind < 45 ? EG_SUBMIT_ATOMIC : 0;
	} else {
		draft_memory(s, space, key, value, kind < 61);
	}
	return EG_SUBMIT_ATOMIC;               /* of one: all or none as well */
}

static void rest(struct history *h)
{
	atomic_store(&h->resting, 1);
	while (atomic_load(&h->pause))
		usleep(100);
	atomic_store(&h->resting, 0);
}

#define BROKEN(h) atomic_store(&(h)->broken, __LINE__)

static enum err answer_to(struct history_sender *s, struct ticket *t)
{
	struct pollfd p = { .fd = s->f->desks.bell[s->f->desks.self], .events = POLLIN };
	enum err err;
	uint64_t lsn;
	bool durable;

	while (!submit_poll(t, &err, &lsn, &durable)) {
		(void)poll(&p, 1, 1000);
		(void)desk_hush(&s->f->desks);
	}
	for (unsigned i = 0; i < t->n_ops && err == EG_E_OK; i++)
		err = submit_outcome(t, i).err;
	submit_forget(t);
	if (err == EG_E_OK && lsn == 0)
		BROKEN(s->h);
	if (err != EG_E_OK && err != EG_E_READ_ONLY && err != EG_E_NO_STORAGE && err != EG_E_WRITER)
		atomic_store(&s->h->broken, 10000 + err);
	return err;
}

static void await_answer(struct history_sender *s, struct ticket *t)
{
	enum err err = answer_to(s, t);

	if (err == EG_E_OK) {
		land(s->h);
		return;
	}
	if (atomic_load(&s->h->broken) == 0)
		atomic_store(&s->h->refusal, err);
	atomic_store(&s->h->pause, 1);
}

struct history_sender *history_sender_new(struct wal_family *f, struct history *h)
{
	struct history_sender *s = calloc(1, sizeof *s);

	EG_ASSERT(s != NULL);
	s->f = f;
	s->h = h;
	s->random = h->seed ^ atomic_load(&h->next);
	s->large = malloc(LARGE_TEXT);
	EG_ASSERT(s->large != NULL);
	memset(s->large, 'x', LARGE_TEXT);
	submit_init(&s->lane, &f->desks, 0);
	return s;
}

void history_sender_free(struct history_sender *s)
{
	free(s->large);
	free(s);
}

int history_send(struct wal_family *f, void *history)
{
	struct history *h = history;
	struct history_sender *s = history_sender_new(f, h);

	for (;;) {
		struct ticket t;
		struct fault fault;
		unsigned flags;

		if (atomic_load(&h->pause))
			rest(h);
		flags = compose(s);
		atomic_store(&h->atomic_entry, flags & EG_SUBMIT_ATOMIC);
		atomic_store(&h->flying, s->n);
		if (submit_push(&s->lane, s->drafts, s->n, flags, 60000, &t, &fault) != EG_E_OK) {
			BROKEN(h);
			return 1;
		}
		await_answer(s, &t);
		atomic_fetch_add(&h->entries, 1);
	}
}

/* ---- one by one --------------------------------------------------------------------- */

static bool draft_entry(struct history_sender *s, const struct history_entry *e)
{
	uint64_t value = atomic_fetch_add(&s->h->next, 2);
	uint32_t state = atomic_load(&s->h->state[e->space]);

	s->n = 0;
	if (e->what == HISTORY_SETTINGS) {
		draft_settings(s, e->space);
	} else if (e->what == HISTORY_SPACE_END) {
		if (state == EG_SPACE_LIVE)
			draft_space_end(s, e->space, value);
	} else if (e->what == HISTORY_DELETE) {
		if (live(s->h, e->space, e->key))
			draft_memory(s, e->space, e->key, value | HISTORY_DELETED, false);
	} else if (state != EG_SPACE_DELETED) {
		for (unsigned i = 0; i < e->n || i == 0; i++)
			draft_memory(s, e->space, (e->key + i) % HISTORY_KEYS, value, e->what == HISTORY_LARGE);
	}
	return s->n > 0;
}

/* What is still in flight from entries before; this one's is put over it, or forgotten. */
struct in_flight { uint64_t flight[HISTORY_SPACES][HISTORY_KEYS]; uint32_t dim[HISTORY_SPACES], state[HISTORY_SPACES]; };

static void lift_flight(struct history *h, struct in_flight *old)
{
	for (unsigned s = 0; s < HISTORY_SPACES; s++) {
		for (unsigned key = 0; key < HISTORY_KEYS; key++)
			old->flight[s][key] = atomic_exchange(&h->flight[s][key], 0);
		old->dim[s] = atomic_exchange(&h->next_dim[s], 0);
		old->state[s] = atomic_exchange(&h->next_state[s], EG_SPACE_NONE);
	}
}

static void put_back(struct history *h, const struct in_flight *old, bool forget_this)
{
	for (unsigned s = 0; s < HISTORY_SPACES; s++) {
		for (unsigned key = 0; key < HISTORY_KEYS; key++)
			if (forget_this || atomic_load(&h->flight[s][key]) == 0)
				atomic_store(&h->flight[s][key], old->flight[s][key]);
		if (forget_this || atomic_load(&h->next_dim[s]) == 0)
			atomic_store(&h->next_dim[s], old->dim[s]);
		if (forget_this || atomic_load(&h->next_state[s]) == EG_SPACE_NONE)
			atomic_store(&h->next_state[s], old->state[s]);
	}
}

enum err history_entry(struct history_sender *s, const struct history_entry *e, bool *sent)
{
	bool whole = e->what != HISTORY_MANY, batch = whole && e->what <= HISTORY_DELETE;
	struct in_flight old;
	struct ticket t;
	struct fault fault;
	enum err err;

	lift_flight(s->h, &old);
	*sent = draft_entry(s, e);
	if (!*sent) {
		put_back(s->h, &old, true);
		return EG_E_OK;
	}
	err = submit_push(&s->lane, s->drafts, s->n, batch ? EG_SUBMIT_ATOMIC : 0, 60000, &t, &fault);
	if (err != EG_E_OK)
		BROKEN(s->h);
	else
		err = answer_to(s, &t);
	if (err == EG_E_OK)
		land(s->h);
	else if (err == EG_E_WRITER)
		atomic_store(&s->h->atomic_entry, whole);
	put_back(s->h, &old, err != EG_E_OK && err != EG_E_WRITER);
	atomic_fetch_add(&s->h->entries, 1);
	return err;
}

/* ---- checking --------------------------------------------------------------------- */

struct check {
	struct history *h;
	struct store store;
	const struct space *space[HISTORY_SPACES];
	unsigned landed, grounded;     /* operations in flight that were found, or not */
	uint64_t digest;
};

/* The value found of a memory; 0 when it is not there. Counts damage. */
static uint64_t look(struct check *c, unsigned space, unsigned key)
{
	char id[16], want[64];
	const char *text;
	unsigned long long value;
	const float *vector;
	struct engram e;
	size_t n, bytes;

	snprintf(id, sizeof id, "m%u", key);
	if (c->space[space] == NULL || !slot_find(&c->store, c->space[space], id, strlen(id), &e))
		return 0;
	text = (const char *)body_packed(e.body);
	bytes = e.body->record.packed_bytes;
	n = bytes < sizeof want - 1 ? bytes : sizeof want - 1;
	memcpy(want, text, n);
	want[n] = '\0';
	if (sscanf(want, "space %*u key %*u value %llu", &value) != 1) {
		atomic_fetch_add(&c->h->corrupt, 1);
		return 0;
	}
	n = text_of(want, sizeof want, space, key, value);
	vector = node_vector(&c->store, e.body);
	if (bytes < n || (bytes != n && bytes != LARGE_TEXT) || memcmp(text, want, n) != 0
	    || (bytes == LARGE_TEXT && text[LARGE_TEXT - 1] != 'x') || vector == NULL
	    || vector[key % e.body->record.dim] != 1.0f)
		atomic_fetch_add(&c->h->corrupt, 1);
	c->digest = hash64(&(uint64_t[3]){ c->digest, value, e.body->record.version }, 24, 3);
	return value;
}

static bool same(uint64_t found, uint64_t value) { return found == (value & HISTORY_DELETED ? 0 : value); }

static void judge(struct check *c, unsigned space, unsigned key, uint64_t *live_memories)
{
	struct history *h = c->h;
	uint64_t found = look(c, space, key), acked = atomic_load(&h->acked[space][key]);
	uint64_t flight = atomic_load(&h->flight[space][key]);
	bool was_live = acked != 0 && (acked & HISTORY_DELETED) == 0;

	*live_memories += found != 0;
	if (flight != 0 && same(found, flight) && !same(found, acked)) {
		c->landed++;
		atomic_store(&h->acked[space][key], flight);
	} else if (same(found, acked)) {
		c->grounded += flight != 0 && !same(found, flight);
	} else {
		if (getenv("ENGRAM_TEST_LOG") != NULL)
			fprintf(stderr, "space %u key %u: %llu found, %llu acknowledged, %llu in flight\n", space, key,
			        (unsigned long long)found, (unsigned long long)acked, (unsigned long long)flight);
		atomic_fetch_add(found == 0 || (was_live && found < acked) ? &h->lost : &h->phantom, 1);
		atomic_store(&h->acked[space][key], found);
	}
	atomic_store(&h->flight[space][key], 0);
}

/* What is there: each memory once, each with one vector, the counts right. */
static void weigh(struct check *c, unsigned space, uint64_t want)
{
	struct slot_walk walk;
	struct node_walk nodes;
	struct node_span span;
	struct engram e;
	uint64_t found = 0, owners = 0;

	if (c->space[space] == NULL)
		return;
	slot_walk(&c->store, c->space[space], &walk);
	while (slot_next(&walk, &e))
		found++;
	node_walk(&c->store, c->space[space], &nodes);
	while (node_next(&nodes, &span))
		for (unsigned i = 0; i < EG_CHUNK; i++)
			owners += atomic_load(&span.owners[i]) != EG_NODE_FREE;
	if (found != want || owners != want || atomic_load(&c->space[space]->memories) != want) {
		if (getenv("ENGRAM_TEST_LOG") != NULL)
			fprintf(stderr, "space %u: %llu by id, %llu by walking, %llu vectors, %llu counted\n", space,
			        (unsigned long long)want, (unsigned long long)found, (unsigned long long)owners,
			        (unsigned long long)atomic_load(&c->space[space]->memories));
		atomic_fetch_add(&c->h->corrupt, 1);
	}
}

/* What became of the spaces that the entry in flight was about. */
static void settle_spaces(struct check *c)
{
	struct history *h = c->h;

	for (unsigned s = 0; s < HISTORY_SPACES; s++) {
		uint32_t dim = atomic_load(&h->next_dim[s]), state = atomic_load(&h->state[s]);

		if (dim != 0 && c->space[s] == NULL)
			atomic_store(&h->dim[s], dim);
		atomic_store(&h->next_dim[s], 0);
		if (atomic_load(&h->next_state[s]) == EG_SPACE_NONE && (c->space[s] != NULL) != (state == EG_SPACE_LIVE))
			atomic_fetch_add(c->space[s] != NULL ? &h->phantom : &h->lost, 1);
		if (c->space[s] != NULL)
			atomic_store(&h->state[s], EG_SPACE_LIVE);
		else if (state != EG_SPACE_NONE)
			atomic_store(&h->state[s], EG_SPACE_DELETED);
		atomic_store(&h->next_state[s], EG_SPACE_NONE);
	}
}

int history_check(struct wal_family *f, void *history)
{
	struct check *c = calloc(1, sizeof *c);
	struct history *h = history;
	struct fault fault;
	struct epoch e;
	uint64_t all = 0;

	EG_ASSERT(c != NULL);
	c->h = h;
	epoch_init(&e, &f->desks, 0);
	if (store_attach(&c->store, f->heritage.shm_prefix, f->heritage.boot_id, &fault) != EG_E_OK)
		return 1;
	epoch_enter(&e);
	for (unsigned s = 0; s < HISTORY_SPACES; s++) {
		char name[8];
		uint64_t memories = 0;

		c->space[s] = space_find(&c->store, name, (size_t)snprintf(name, sizeof name, "s%u", s));
		for (unsigned key = 0; key < HISTORY_KEYS; key++)
			judge(c, s, key, &memories);
		weigh(c, s, memories);
		all += memories;
	}
	epoch_leave(&e);
	if (all != atomic_load(&c->store.root->counts.memories))
		atomic_fetch_add(&h->corrupt, 1);
	if (c->landed > 0 && c->grounded > 0 && atomic_load(&h->atomic_entry))
		atomic_fetch_add(&h->torn, 1);
	settle_spaces(c);
	atomic_store(&h->flying, 0);
	atomic_store(&h->digest, c->digest);
	atomic_fetch_add(&h->checks, 1);
	return 0;
}
