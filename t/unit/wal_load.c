/* What the children of a test family send and expect, see the header. */
#include "t/unit/wal_load.h"

#include <stdio.h>
#include <string.h>

#include "common/hash.h"
#include "shm/node.h"
#include "shm/slot.h"

void load_draft(struct draft *d, struct load_parts *p, unsigned key, unsigned version)
{
	memset(d, 0, sizeof *d);
	snprintf(p->id, sizeof p->id, "m%u", key);
	snprintf(p->text, sizeof p->text, "text %u version %u", key, version);
	for (unsigned i = 0; i < LOAD_DIM; i++)
		p->vector[i] = i == key % LOAD_DIM ? 1.0f : 0.0f;
	p->terms[0] = ((uint64_t)key + 1) << 16 | 1;
	p->terms[1] = UINT64_C(0xfffffff) << 16 | version;
	d->head.type = EG_RECORD_PUT;
	d->head.dim = LOAD_DIM;
	d->head.n_terms = 2;
	d->head.length = 2;
	d->head.confidence = 0.5f;
	d->head.digest = hash64(p->text, strlen(p->text), 1);
	d->head.fingerprint = key % 10 + 1;
	d->head.id_bytes = (uint16_t)strlen(p->id);
	d->head.packed_bytes = (uint32_t)strlen(p->text);
	d->head.raw_bytes = (uint32_t)strlen(p->text);
	d->space_id = "work";
	d->space_id_bytes = 4;
	d->id = p->id;
	d->vector = p->vector;
	d->terms = p->terms;
	d->packed = (const uint8_t *)p->text;
	draft_seal(d);
}

/* Sends; every operation must be acknowledged with the version of the spec. */
int load_send(struct wal_family *f, void *arg)
{
	const struct load *s = arg;
	struct draft drafts[64];
	struct load_parts parts[64];
	struct submit lane;

	submit_init(&lane, &f->desks, 0);
	for (unsigned i = 0; i < s->n;) {
		unsigned n = s->n - i < 64 ? s->n - i : 64;
		struct ticket t;
		struct fault fault;
		enum err err;
		uint64_t lsn;

		for (unsigned k = 0; k < n; k++)
			load_draft(&drafts[k], &parts[k], s->first + i + k, s->version);
		if (submit_push(&lane, drafts, n, s->atomic ? EG_SUBMIT_ATOMIC : 0, 5000, &t, &fault) != EG_E_OK)
			return 10;
		family_await(&f->desks, &t, &err, &lsn);
		if (err != EG_E_OK || lsn == 0)
			return 11;
		for (unsigned k = 0; k < n; k++)
			if (submit_outcome(&t, k).err != EG_E_OK || submit_outcome(&t, k).version != s->version)
				return 12;
		submit_forget(&t);
		i += n;
	}
	return 0;
}

bool load_attach(struct wal_family *f, struct store *s, struct epoch *e)
{
	struct fault fault;

	epoch_init(e, &f->desks, 0);
	return store_attach(s, f->heritage.shm_prefix, f->heritage.boot_id, &fault) == EG_E_OK;
}

/* The store holds exactly memories first .. first + n - 1 in that version. */
int load_check(struct wal_family *f, void *arg)
{
	const struct load *s = arg;
	const struct space *sp;
	struct store store;
	struct epoch e;
	struct slot_walk walk;
	struct node_walk nodes;
	struct node_span span;
	struct engram g;
	unsigned live = 0, owners = 0;

	if (!load_attach(f, &store, &e))
		return 30;
	epoch_enter(&e);
	sp = space_find(&store, "work", 4);
	if (sp == NULL)
		return s->n == 0 ? 0 : 31;
	for (unsigned i = 0; i < s->n; i++) {
		char id[32], text[64];

		snprintf(id, sizeof id, "m%u", s->first + i);
		snprintf(text, sizeof text, "text %u version %u", s->first + i, s->version);
		if (!slot_find(&store, sp, id, strlen(id), &g))
			return 32;
		if (g.body->record.version != s->version || g.body->record.packed_bytes != strlen(text)
		    || memcmp(body_packed(g.body), text, strlen(text)) != 0)
			return 33;
		if (node_vector(&store, g.body) == NULL || node_vector(&store, g.body)[(s->first + i) % LOAD_DIM] != 1.0f)
			return 34;
	}
	slot_walk(&store, sp, &walk);
	while (slot_next(&walk, &g))
		live++;
	node_walk(&store, sp, &nodes);
	while (node_next(&nodes, &span))
		for (unsigned i = 0; i < EG_CHUNK; i++)
			owners += atomic_load(&span.owners[i]) != EG_NODE_FREE;
	epoch_leave(&e);
	if (live != s->n || owners != s->n || atomic_load(&sp->memories) != s->n)
		return 35;
	return atomic_load(&store.root->counts.memories) == s->n ? 0 : 36;
}

