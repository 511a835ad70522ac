/* See the header. */
#include "t/unit/shm_bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "shm/ids_write.h"
#include "shm/node_write.h"
#include "shm/reclaim_write.h"
#include "shm/slot_write.h"
#include "shm/space_write.h"

#define SEED UINT64_C(0x5eed5eed12345)
#define BOOT 77u

uint64_t bench_random(struct shm_bench *b)
{
	b->random ^= b->random << 13;
	b->random ^= b->random >> 7;
	b->random ^= b->random << 17;
	return b->random;
}

/* One process sits at all desks: every map writable, at its old address. */
static void write_all(struct desks *d)
{
	for (unsigned k = 0; k < d->n; k++) {
		size_t bytes = k == EG_DESK_WAL ? d->wal_bytes : d->bytes;

		EG_ASSERT(mmap(d->base[k], bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, d->fd[k], 0)
		          == d->base[k]);
		atomic_store(&desk_master(d)->seats[k].state, EG_DESK_BUSY);
		atomic_store(&desk_header(d, k)->incarnation, 1);
	}
	atomic_store(&desk_wal(d)->epoch, 1);
}

int bench_open(void **state)
{
	struct shm_bench *b = calloc(1, sizeof *b);
	struct fault f;

	EG_ASSERT(b != NULL);
	b->random = SEED;
	printf("# seed %#llx\n", (unsigned long long)SEED);
	EG_ASSERT(desks_new(&b->desks, 4, 2, 2, (size_t)1 << 20, &f) == EG_E_OK);
	write_all(&b->desks);
	b->desks.self = EG_DESK_WAL;
	b->worker = b->desks;
	b->worker.self = EG_DESK_FIRST;
	epoch_init(&b->reader, &b->worker, 0);
	snprintf(b->prefix, sizeof b->prefix, "/engram-test-%d-", (int)getpid());
	(void)region_unlink_all(b->prefix);
	EG_ASSERT(store_create(&b->w, &b->desks, b->prefix, b->uuid, BOOT, false, &f) == EG_E_OK);
	store_publish(&b->w, BOOT);
	for (unsigned i = 0; i < EG_BENCH_DIM; i++)
		b->vector[i] = i == 3;
	bench_space(b, 0, "first");
	*state = b;
	return 0;
}

int bench_close(void **state)
{
	struct shm_bench *b = *state;

	store_close(&b->w);
	(void)region_unlink_all(b->prefix);
	desks_free(&b->desks);
	free(b);
	return 0;
}

void bench_new_writer(struct shm_bench *b)
{
	struct fault f;

	store_close(&b->w);
	EG_ASSERT(store_adopt(&b->w, &b->desks, b->prefix, b->uuid, false, &f) == EG_E_OK);
}

void bench_space(struct shm_bench *b, uint32_t number, const char *id)
{
	const struct space_terms t = { .id = id, .id_bytes = strlen(id) };
	struct fault f;

	EG_ASSERT(space_reserve(&b->w, number, &f) == EG_E_OK);
	space_publish(&b->w, number, &t, 0, number + 1);
}

static const char *space_name(struct shm_bench *b, uint32_t space) { return space_get(&b->w.store, space)->id; }

struct bench_memory bench_reserve_version(struct shm_bench *b, uint32_t space, const char *id, uint64_t lsn,
                                          const struct bench_memory *old)
{
	const char *name = space_name(b, space);
	struct bench_memory m = { .key = record_key(name, strlen(name), id, strlen(id)) };
	struct fault f;

	(void)lsn;
	m.body_bytes = (uint32_t)(offsetof(struct body, record) + record_size(0, 0, 0, (unsigned)strlen(id), 0));
	m.class_ = node_class(EG_BENCH_DIM);
	if (old != NULL) {
		m.slot = old->slot;
		m.generation = old->generation;
	} else {
		if (!ids_has_room(&b->w, (unsigned)(m.key % EG_SHARDS)))
			EG_ASSERT(ids_grow(&b->w, (unsigned)(m.key % EG_SHARDS), &f) == EG_E_OK);
		EG_ASSERT(slot_reserve(&b->w, space, &m.slot, &m.generation, &f) == EG_E_OK);
	}
	EG_ASSERT(heap_alloc(&b->w.heap, m.body_bytes, &m.body, &f) == EG_E_OK);
	EG_ASSERT(node_reserve(&b->w, space, EG_BENCH_DIM, &m.node, &f) == EG_E_OK);
	return m;
}

struct bench_memory bench_reserve(struct shm_bench *b, uint32_t space, const char *id, uint64_t lsn)
{
	return bench_reserve_version(b, space, id, lsn, NULL);
}

void bench_write_body(struct shm_bench *b, const struct bench_memory *m, uint32_t space, const char *id, uint64_t lsn)
{
	struct body *to = region_for_write(&b->w.store.heap, m->body, m->body_bytes);

	memset(to, 0, m->body_bytes);
	to->magic = EG_BODY_MAGIC;
	to->bytes = m->body_bytes;
	to->slot = m->slot;
	to->generation = m->generation;
	to->class_ = m->class_;
	to->node = m->node;
	to->record.lsn = lsn;
	to->record.version = lsn;
	to->record.dim = EG_BENCH_DIM;
	to->record.space = space;
	to->record.key = m->key;
	to->record.shard = (uint8_t)(m->key % EG_SHARDS);
	to->record.id_bytes = (uint16_t)strlen(id);
	memcpy((uint8_t *)to + sizeof *to, id, strlen(id));
}

struct bench_memory bench_store(struct shm_bench *b, uint32_t space, const char *id, uint64_t lsn)
{
	struct bench_memory m = bench_reserve(b, space, id, lsn);

	node_publish(&b->w, m.class_, m.node, b->vector, EG_BENCH_DIM, m.slot, m.generation);
	bench_write_body(b, &m, space, id, lsn);
	slot_publish(&b->w, m.slot, m.body, &(struct record){ .confidence = 0.5f });
	ids_insert(&b->w, (unsigned)(m.key % EG_SHARDS), m.key, m.slot);
	return m;
}

void bench_delete(struct shm_bench *b, const struct bench_memory *m)
{
	const struct body *body = region_at(&b->w.store.heap, m->body, sizeof *body);
	uint32_t space = body->record.space;

	slot_unpublish(&b->w, m->slot);
	(void)ids_remove(&b->w, (unsigned)(m->key % EG_SHARDS), m->key, m->slot);
	(void)node_unpublish(&b->w, m->class_, m->node);
	retire_node(&b->w, m->class_, m->node, space);
	retire_block(&b->w, m->body, m->body_bytes);
	retire_slot(&b->w, m->slot, space);
}

bool bench_finds(struct shm_bench *b, uint32_t space, const char *id, uint64_t body)
{
	const struct space *sp = space_get(&b->w.store, space);
	struct engram e;

	return slot_find(&b->w.store, sp, id, strlen(id), &e)
	       && (const uint8_t *)e.body == b->w.store.heap.base + body;
}
