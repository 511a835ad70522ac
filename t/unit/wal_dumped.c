/* Dumps made by tests, see the header. */
#include "t/unit/wal_dumped.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/hash.h"
#include "common/log.h"
#include "shm/metrics.h"
#include "shm/node.h"
#include "wal/datadir.h"
#include "wal/writer.h"

static char mode[] = "wal.sync_mode=batch", size[] = "wal.segment_size_mb=1";
char *const dumped_overrides[2] = { mode, size };

struct dump dump;

/* ---- what a store holds ----------------------------------------------------------- */

static uint64_t memory_digest(const struct store *s, const struct engram *g)
{
	const struct body *b = g->body;
	const float *vector = node_vector(s, b);
	uint64_t words[] = { b->record.lsn, atomic_load(&g->slot->truth), atomic_load(&g->slot->memory),
		atomic_load(&g->slot->accesses), atomic_load(&g->slot->last_access_ms), atomic_load(&g->slot->tier) };
	uint64_t h = hash64(words, sizeof words, 7);

	h = hash64(&b->record, b->bytes - offsetof(struct body, record), h);
	return vector == NULL ? h : hash64(vector, node_stride(b->class_) * sizeof *vector, h);
}

uint64_t store_digest(struct wal_family *f)
{
	struct fault fault;
	struct store s;
	uint64_t sum = 0, live = 0;

	assert_int_equal(store_attach(&s, f->heritage.shm_prefix, f->heritage.boot_id, &fault), EG_E_OK);
	for (uint32_t n = 0; n < atomic_load(&s.root->n_spaces); n++) {
		const struct space *sp = space_get(&s, n);
		uint64_t words[] = { n, atomic_load(&sp->state), atomic_load(&sp->vectors), atomic_load(&sp->memories),
			atomic_load(&sp->terms), atomic_load(&sp->raw_bytes), atomic_load(&sp->with_vector) };
		struct slot_walk walk;
		struct engram g, found;

		sum += hash64(words, sizeof words, hash64(sp->id, sizeof sp->id, 3));
		if (atomic_load(&sp->state) != EG_SPACE_LIVE)
			continue;
		slot_walk(&s, sp, &walk);
		while (slot_next(&walk, &g)) {
			assert_true(slot_find(&s, sp, body_id(g.body), g.body->record.id_bytes, &found));
			assert_int_equal(found.number, g.number);
			assert_true(body_valid(&s, g.body));
			sum += memory_digest(&s, &g);
			live++;
		}
	}
	assert_int_equal(atomic_load(&s.root->counts.memories), live);
	store_detach(&s);
	return sum;
}

void dump_store(struct wal_family *f)
{
	struct fault fault;
	struct store s;

	assert_int_equal(store_attach(&s, f->heritage.shm_prefix, f->heritage.boot_id, &fault), EG_E_OK);
	dump.n = 0;
	for (uint32_t n = 0; n < atomic_load(&s.root->n_slot_chunks) * EG_CHUNK; n++) {
		const struct slot_chunk *c = region_at(&s.slot, (uint64_t)n / EG_CHUNK * sizeof *c, sizeof *c);
		const struct slot *slot = &c->slots[n % EG_CHUNK];
		struct engram g;

		if (!slot_get(&s, n, (uint32_t)(atomic_load(&slot->word) >> 8), &g))
			continue;
		assert_true(dump.n < 4096);
		dump.rows[dump.n++] = (struct checkpoint_row){ n, g.generation, g.body->class_, g.body->node, g.body->record.lsn,
			atomic_load(&slot->truth), atomic_load(&slot->memory), atomic_load(&slot->last_access_ms),
			atomic_load(&slot->accesses), (uint32_t)atomic_load(&slot->tier), 0 };
	}
	dump.n_spaces = atomic_load(&s.root->n_spaces);
	for (uint32_t n = 0; n < dump.n_spaces; n++) {
		const struct space *sp = space_get(&s, n);
		struct checkpoint_space *to = &dump.spaces[n];

		*to = (struct checkpoint_space){ .number = n, .state = atomic_load(&sp->state), .created_us = sp->created_us,
			.lsn = atomic_load(&sp->lsn), .vectors = atomic_load(&sp->vectors), .settings = atomic_load(&sp->settings),
			.quota_memories = atomic_load(&sp->quota_memories), .quota_bytes = atomic_load(&sp->quota_bytes) };
		memcpy(to->id, sp->id, sizeof to->id < sizeof sp->id ? sizeof to->id : sizeof sp->id);
	}
	store_detach(&s);
}

void put_in_force(struct wal_family *f, uint64_t id, uint64_t start_lsn)
{
	struct checkpoint_header head = { .timeline = 1, .id = id, .start_lsn = start_lsn, .stores = 1,
		.layout = dump.layout };
	struct checkpoint_place place;
	struct datadir d;
	struct fault fault;
	char name[32];

	assert_int_equal(datadir_attach(&d, f->dir, &fault), EG_E_OK);
	memcpy(head.uuid, d.uuid, sizeof head.uuid);
	checkpoint_name(name, id);
	assert_int_equal(checkpoint_write_all(d.checkpoints_fd, name, &head, dump.rows, dump.n, dump.spaces, dump.n_spaces,
	                                      &place, &fault), EG_E_OK);
	d.super.now.previous = d.super.now.newest;
	d.super.now.newest = place;
	assert_int_equal(superblock_write(d.fd, &d.super.now, &fault), EG_E_OK);
	datadir_close(&d);
}

/* ---- the family ------------------------------------------------------------------- */

uint64_t last_lsn(struct wal_family *f) { return atomic_load(&desk_wal(&f->desks)->lsn); }
uint64_t applied(struct wal_family *f) { return atomic_load(&desk_wal(&f->desks)->recovered_records); }
uint64_t fallbacks(struct wal_family *f)
{
	return atomic_load(desk_counters(&f->desks, EG_DESK_WAL) + M_CHECKPOINT_FALLBACKS);
}

uint64_t digest_after_start(struct wal_family *f)
{
	family_reboot(f, true);
	family_start_wal(f);
	assert_true(f->wal > 0);
	return store_digest(f);
}

int delete_some(struct wal_family *f, void *arg)
{
	const struct load *s = arg;
	struct submit lane;

	submit_init(&lane, &f->desks, 0);
	for (unsigned i = 0; i < s->n; i++) {
		struct load_parts parts;
		struct draft d = { 0 }, put;
		struct ticket t;
		struct fault fault;
		enum err err;
		uint64_t lsn;

		load_draft(&put, &parts, s->first + i, 1);
		d.head.type = EG_RECORD_DELETE;
		d.head.id_bytes = put.head.id_bytes;
		d.space_id = put.space_id;
		d.space_id_bytes = put.space_id_bytes;
		d.id = put.id;
		draft_seal(&d);
		if (submit_push(&lane, &d, 1, 0, 5000, &t, &fault) != EG_E_OK)
			return 10;
		family_await(&f->desks, &t, &err, &lsn);
		if (err != EG_E_OK || submit_outcome(&t, 0).err != EG_E_OK)
			return 11;
		submit_forget(&t);
	}
	return 0;
}

void aged(struct wal_family *f)
{
	family_open(f, dumped_overrides, 2);
	family_start_wal(f);
	LOAD_RUN(f, 2, load_send, .first = 0, .n = 2000, .version = 1);
	LOAD_RUN(f, 2, load_send, .first = 100, .n = 300, .version = 2);
	LOAD_RUN(f, 2, delete_some, .first = 1500, .n = 100);
	LOAD_RUN(f, 2, load_send, .first = 1520, .n = 10, .version = 1);
}

void flip(struct wal_family *f, const char *name, off_t at)
{
	char path[256];
	uint8_t byte;
	int fd;

	snprintf(path, sizeof path, "%s/%s", f->dir, name);
	fd = open(path, O_RDWR);
	assert_true(fd >= 0);
	assert_int_equal(pread(fd, &byte, 1, at), 1);
	byte ^= 0x10;
	assert_int_equal(pwrite(fd, &byte, 1, at), 1);
	close(fd);
}

int status_of_start(struct wal_family *f)
{
	struct fault fault;
	pid_t pid;
	int status;

	family_reboot(f, true);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		log_set_kind("wal process");
		EG_ASSERT(desk_take(&f->desks, EG_DESK_WAL, &fault) == EG_E_OK);
		f->heritage.desk = EG_DESK_WAL;
		exit(wal_main(&f->heritage));
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}
