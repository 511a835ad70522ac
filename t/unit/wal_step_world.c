/* See the header. */
#include "t/unit/wal_step.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/crc32c.h"
#include "common/hash.h"
#include "shm/ids.h"
#include "shm/node.h"
#include "shm/repair_write.h"
#include "shm/slot.h"
#include "wal/spacemsg.h"
#include "wal/submit.h"

/* One process sits at all desks. */
void world_desks(struct step_world *x)
{
	struct fault f;

	EG_ASSERT(desks_new(&x->desks, 4, 1, 1, (size_t)1 << 18, &f) == EG_E_OK);
	for (unsigned k = 0; k < x->desks.n; k++) {
		size_t bytes = k == EG_DESK_WAL ? x->desks.wal_bytes : x->desks.bytes;

		EG_ASSERT(mmap(x->desks.base[k], bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED,
		               x->desks.fd[k], 0) == x->desks.base[k]);
		atomic_store(&desk_master(&x->desks)->seats[k].state, EG_DESK_BUSY);
		atomic_store(&desk_header(&x->desks, k)->incarnation, 1);
	}
	atomic_store(&desk_wal(&x->desks)->epoch, 1);
	x->desks.self = EG_DESK_WAL;
	x->worker = x->desks;
	x->worker.self = EG_DESK_FIRST;
	epoch_init(&x->reader, &x->worker, 0);
}

void world_create(struct step_world *x)
{
	struct fault f;

	EG_ASSERT(store_create(&x->w, &x->desks, x->prefix, x->uuid, STEP_BOOT, false, &f) == EG_E_OK);
	store_publish(&x->w, STEP_BOOT);
	x->replay = (struct replay){ .w = &x->w };
}

void world_adopt(struct step_world *x, bool verify)
{
	struct repair_report r;
	struct fault f;

	EG_ASSERT(store_adopt(&x->w, &x->desks, x->prefix, x->uuid, false, &f) == EG_E_OK);
	EG_ASSERT(store_repair(&x->w, verify, &r, &f) == EG_E_OK);
	x->replay = (struct replay){ .w = &x->w };
}

void world_id(char out[24], uint32_t id) { snprintf(out, 24, "memory-%u", id); }

/* ---- records ---- */

static struct record *begin(struct step_world *x, size_t bytes)
{
	struct record *r = (struct record *)(void *)(x->s->log + x->s->log_bytes);

	EG_ASSERT(x->s->log_bytes + bytes <= STEP_LOG);
	memset(r, 0, bytes);
	r->bytes = (uint32_t)bytes;
	r->lsn = x->s->last_lsn + 1;
	r->stored_us = 1000 + (int64_t)r->lsn;
	return r;
}

/* Logged from here on. */
static const struct record *end(struct step_world *x, struct record *r)
{
	r->crc = crc32c(0, (const uint8_t *)r + 8, r->bytes - 8);
	x->s->log_bytes += r->bytes;
	x->s->last_lsn = r->lsn;
	atomic_signal_fence(memory_order_seq_cst);
	x->s->n_logged++;
	return r;
}

static void name_it(struct step_world *x, struct record *r, uint32_t space, uint32_t id)
{
	const struct space *sp = space_get(&x->w.store, space);
	char name[24];

	world_id(name, id);
	r->space = space;
	r->id_bytes = (uint16_t)strlen(name);
	r->key = record_key(sp->id, strlen(sp->id), name, strlen(name));
	r->shard = (uint8_t)(r->key % EG_SHARDS);
	memcpy((char *)(uintptr_t)record_id(r), name, strlen(name));
	if (x->s->ids_tried <= id)
		x->s->ids_tried = id + 1;
}

const struct record *world_log_put(struct step_world *x, struct step_put p)
{
	struct record *r = begin(x, record_size(p.dim, 2, 1, 23, p.packed));
	uint64_t *words;

	r->type = EG_RECORD_PUT;
	r->dim = (uint16_t)p.dim;
	r->n_terms = 2;
	r->n_tags = 1;
	r->flags = (uint8_t)p.flags;
	r->packed_bytes = p.packed;
	r->raw_bytes = p.packed;
	r->length = 2 + (uint32_t)(r->lsn % 5);
	r->confidence = 0.5f;
	r->version = r->lsn;
	r->entry = p.entry;
	for (unsigned i = 0; i < p.dim; i++)
		((float *)(uintptr_t)record_vector(r))[i] = (float)hash_mix(r->lsn * 4096 + i) / 1e19f;
	words = (uint64_t *)(uintptr_t)record_terms(r);
	for (unsigned i = 0; i < 3; i++)
		words[i] = hash_mix(r->lsn + i);
	name_it(x, r, p.space, p.id);
	for (unsigned i = 0; i < p.packed; i++)
		((uint8_t *)(uintptr_t)record_packed(r))[i] = (uint8_t)(r->lsn * 31 + i);
	return end(x, r);
}

const struct record *world_log_delete(struct step_world *x, uint32_t space, uint32_t id)
{
	struct record *r = begin(x, record_size(0, 0, 0, 24, 0));

	r->type = EG_RECORD_DELETE;
	name_it(x, r, space, id);
	return end(x, r);
}

const struct record *world_log_space(struct step_world *x, uint32_t number, const char *name, uint32_t quota)
{
	struct space_message m = { .id_bytes = strlen(name), .settings = 5, .quota_memories = quota };
	struct record *r;
	uint8_t packed[256];
	size_t n;

	memcpy(m.id, name, m.id_bytes);
	n = space_message_pack(&m, packed);
	r = begin(x, record_size(0, 0, 0, 0, n));
	r->type = EG_RECORD_SPACE_PUT;
	r->space = number;
	r->packed_bytes = (uint32_t)n;
	memcpy((uint8_t *)(uintptr_t)record_packed(r), packed, n);
	if (x->s->n_spaces <= number)
		x->s->n_spaces = number + 1;
	return end(x, r);
}

const struct record *world_log_space_delete(struct step_world *x, uint32_t number)
{
	struct record *r = begin(x, record_size(0, 0, 0, 0, 0));

	r->type = EG_RECORD_SPACE_DELETE;
	r->space = number;
	return end(x, r);
}

const struct record *world_log_commit(struct step_world *x, unsigned entry, unsigned parts)
{
	struct record *r = begin(x, record_size(0, 0, 0, 0, 0));

	r->type = EG_RECORD_COMMIT;
	r->version = parts;
	r->entry = entry;
	return end(x, r);
}

const struct record *world_record(const struct step_shared *s, size_t *at)
{
	const struct record *r = (const struct record *)(const void *)(s->log + *at);

	if (*at >= s->log_bytes)
		return NULL;
	*at += r->bytes;
	return r;
}

/* ---- applying ---- */

void world_apply(struct step_world *x)
{
	static const struct segment_header header;
	size_t at = 0;
	struct fault f;

	for (uint64_t i = 0; i < x->s->n_logged; i++) {
		const struct record *r = world_record(x->s, &at);

		if (i < x->n_seen)
			continue;
		x->n_seen = i + 1;
		EG_ASSERT(replay_record(&x->replay, r, &header, &f) == EG_E_OK);
		/* Parts take effect, and count, with the record that closes them. */
		if (x->replay.run_parts == 0 && x->s->n_applied <= i)
			x->s->n_applied = i + 1;
	}
}

void world_put(struct step_world *x, struct step_put p)
{
	(void)world_log_put(x, p);
	world_apply(x);
}

void world_space(struct step_world *x, uint32_t number, const char *name, uint32_t quota)
{
	(void)world_log_space(x, number, name, quota);
	world_apply(x);
}

/* ---- a reader ---- */

void world_hold(struct step_world *x, uint32_t space, uint32_t id)
{
	struct step_held *h = &x->s->held[x->s->n_held];
	struct engram e;
	char name[24];

	if (x->reader.depth == 0)
		epoch_enter(&x->reader);
	world_id(name, id);
	EG_ASSERT(x->s->n_held < STEP_HELD);
	EG_ASSERT(slot_find(&x->w.store, space_get(&x->w.store, space), name, strlen(name), &e));
	h->body = (uint64_t)((const uint8_t *)e.body - x->w.store.heap.base);
	h->slot = e.number;
	h->generation = e.generation;
	h->bytes = e.body->bytes;
	h->class_ = e.body->class_;
	h->node = e.body->node;
	EG_ASSERT(h->bytes <= sizeof h->copy);
	memcpy(h->copy, e.body, h->bytes);
	h->vector_bytes = h->class_ == EG_NONE ? 0 : node_stride(h->class_) * (uint32_t)sizeof(float);
	if (h->vector_bytes > 0)
		memcpy(h->vector, node_vector(&x->w.store, e.body), h->vector_bytes);
	x->s->n_held++;
}

void world_let_go(struct step_world *x)
{
	x->s->n_held = 0;
	epoch_leave(&x->reader);
}
