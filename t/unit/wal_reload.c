/* Loading from a checkpoint: the store that comes of it is the store that was dumped,
 * whatever happened between the rows and whatever was logged later; a damaged
 * checkpoint is passed over for the one before or the whole log; a record that is
 * missing is noticed; a kill at any step costs only the time. The dump here is
 * made by the test from shared memory that nobody writes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/fault.h"
#include "common/hash.h"
#include "common/log.h"
#include "shm/metrics.h"
#include "shm/node.h"
#include "shm/slot.h"
#include "t/unit/wal_load.h"
#include "wal/checkpoint.h"
#include "wal/datadir.h"
#include "wal/retire.h"
#include "wal/writer.h"

static char mode[] = "wal.sync_mode=batch", size[] = "wal.segment_size_mb=1";
static char *const overrides[] = { mode, size };

struct dump {
	struct checkpoint_row rows[4096];
	struct checkpoint_space spaces[8];
	unsigned n, n_spaces;
};
static struct dump dump;

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

/* Of all memories and spaces, in whatever slots they are; and each is found by its id. */
static uint64_t store_digest(struct wal_family *f)
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

static void dump_store(struct wal_family *f)
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

/* Put what is in `dump` into force as checkpoint id. */
static void put_in_force(struct wal_family *f, uint64_t id, uint64_t start_lsn)
{
	struct checkpoint_header head = { .timeline = 1, .id = id, .start_lsn = start_lsn, .stores = 1 };
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

static uint64_t last_lsn(struct wal_family *f) { return atomic_load(&desk_wal(&f->desks)->lsn); }
static uint64_t applied(struct wal_family *f) { return atomic_load(&desk_wal(&f->desks)->recovered_records); }
static uint64_t fallbacks(struct wal_family *f)
{
	return atomic_load(desk_counters(&f->desks, EG_DESK_WAL) + M_CHECKPOINT_FALLBACKS);
}

/* A start without shared memory. */
static uint64_t digest_after_start(struct wal_family *f)
{
	family_reboot(f, true);
	family_start_wal(f);
	assert_true(f->wal > 0);
	return store_digest(f);
}

static int delete_some(struct wal_family *f, void *arg)
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

/* 2000 memories over several segments, some of them changed, some gone; killed. */
static void aged(struct wal_family *f)
{
	family_open(f, overrides, 2);
	family_start_wal(f);
	LOAD_RUN(f, 2, load_send, .first = 0, .n = 2000, .version = 1);
	LOAD_RUN(f, 2, load_send, .first = 100, .n = 300, .version = 2);
	LOAD_RUN(f, 2, delete_some, .first = 1500, .n = 100);
	LOAD_RUN(f, 2, load_send, .first = 1520, .n = 10, .version = 1);
}

/* ---- tests ------------------------------------------------------------------------ */

/* Load is what was dumped; once more, after a kill, it is again. Numbers stay. */
static void test_same(void **state)
{
	struct wal_family f;
	uint64_t digest, lsn;
	struct dump *before = malloc(sizeof *before);
	(void)state;

	aged(&f);
	digest = store_digest(&f);
	lsn = last_lsn(&f);
	dump_store(&f);
	*before = dump;
	(void)family_stop_wal(&f, SIGKILL);
	put_in_force(&f, 1, lsn);
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(digest_after_start(&f), digest);
		assert_int_equal(applied(&f), 0);
		dump_store(&f);
		assert_int_equal(dump.n, before->n);
		assert_memory_equal(dump.rows, before->rows, dump.n * sizeof dump.rows[0]);
		(void)family_stop_wal(&f, SIGKILL);
	}
	/* And the store takes changes: free slots, nodes, blocks and id words are where they belong. */
	assert_int_equal(digest_after_start(&f), digest);
	LOAD_RUN(&f, 3, load_send, .first = 100, .n = 300, .version = 3);
	LOAD_RUN(&f, 3, load_send, .first = 5000, .n = 500, .version = 1);
	digest = store_digest(&f);
	(void)family_stop_wal(&f, SIGKILL);
	family_reboot(&f, false);
	family_start_wal(&f);              /* the repair finds nothing amiss */
	assert_int_equal(store_digest(&f), digest);
	(void)family_stop_wal(&f, SIGKILL);
	assert_int_equal(digest_after_start(&f), digest);
	free(before);
	family_close(&f);
}

/* Rows of later than start_lsn, and changes after the dump. */
static void test_rows_above_start(void **state)
{
	struct wal_family f;
	uint64_t digest, start;
	(void)state;

	family_open(&f, overrides, 2);
	family_start_wal(&f);
	LOAD_RUN(&f, 2, load_send, .first = 0, .n = 800, .version = 1);
	start = last_lsn(&f);
	LOAD_RUN(&f, 2, load_send, .first = 50, .n = 100, .version = 2);
	LOAD_RUN(&f, 2, delete_some, .first = 300, .n = 64);
	dump_store(&f);
	LOAD_RUN(&f, 2, load_send, .first = 50, .n = 50, .version = 3);
	LOAD_RUN(&f, 2, delete_some, .first = 400, .n = 10);
	LOAD_RUN(&f, 2, load_send, .first = 300, .n = 30, .version = 1);
	digest = store_digest(&f);
	put_in_force(&f, 1, start);
	(void)family_stop_wal(&f, SIGKILL);
	assert_int_equal(digest_after_start(&f), digest);
	assert_true(applied(&f) > 0);
	family_close(&f);
}

/* Changes above start_lsn that no row shows, for their chunks had been dumped already, though
 * another row is of later still: replay begins at start_lsn, not behind the highest row. */
static void test_rows_too_old(void **state)
{
	struct wal_family f;
	struct dump *early = malloc(sizeof *early);
	uint64_t digest, start;
	(void)state;

	family_open(&f, overrides, 2);
	family_start_wal(&f);
	LOAD_RUN(&f, 2, load_send, .first = 0, .n = 200, .version = 1);
	start = last_lsn(&f);
	dump_store(&f);
	*early = dump;
	LOAD_RUN(&f, 2, load_send, .first = 10, .n = 20, .version = 2);
	LOAD_RUN(&f, 2, delete_some, .first = 40, .n = 8);
	LOAD_RUN(&f, 2, load_send, .first = 150, .n = 50, .version = 2);
	digest = store_digest(&f);
	dump_store(&f);
	for (unsigned i = 0; i < early->n; i++)
		for (unsigned k = 0; early->rows[i].slot >= 160 && k < dump.n; k++)
			if (dump.rows[k].slot == early->rows[i].slot)
				early->rows[i] = dump.rows[k];
	dump = *early;
	put_in_force(&f, 1, start);
	(void)family_stop_wal(&f, SIGKILL);
	assert_int_equal(digest_after_start(&f), digest);
	assert_true(applied(&f) > 0);
	free(early);
	family_close(&f);
}

/* A memory deleted and stored again in another slot between two extents has two rows, and
 * a node given away meanwhile has two owners: the older row is dropped, or moved. */
static void test_two_rows(void **state)
{
	struct wal_family f;
	struct checkpoint_row old;
	uint64_t digest, start;
	(void)state;

	family_open(&f, overrides, 2);
	family_start_wal(&f);
	LOAD_RUN(&f, 2, load_send, .first = 0, .n = 64, .version = 1);
	start = last_lsn(&f);
	dump_store(&f);
	old = dump.rows[3];
	LOAD_RUN(&f, 2, load_send, .first = 0, .n = 64, .version = 2);
	dump_store(&f);
	/* The first version of a memory once more, in a slot behind all others, and in the
	 * node of another one. */
	assert_true(dump.rows[dump.n - 1].slot < 1024);
	old.slot = 1024;
	old.node = dump.rows[7].node;
	old.class_ = dump.rows[7].class_;
	dump.rows[dump.n++] = old;
	digest = store_digest(&f);
	put_in_force(&f, 1, start);
	(void)family_stop_wal(&f, SIGKILL);
	assert_int_equal(digest_after_start(&f), digest);
	(void)family_stop_wal(&f, SIGKILL);
	assert_int_equal(digest_after_start(&f), digest);
	LOAD_RUN(&f, 3, load_send, .first = 0, .n = 64, .version = 3);
	family_close(&f);
}

static void flip(struct wal_family *f, const char *name, off_t at)
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

/* A damaged checkpoint, in header, extent or manifest, is passed over. */
static void test_damaged(void **state)
{
	static const off_t places[] = { 40, 4096 + 64 + 20, 4096 + 700 };
	(void)state;

	for (unsigned i = 0; i < sizeof places / sizeof places[0]; i++) {
		struct wal_family f;
		uint64_t digest, first;

		aged(&f);
		dump_store(&f);
		first = last_lsn(&f);
		put_in_force(&f, 1, first);
		LOAD_RUN(&f, 2, load_send, .first = 3000, .n = 100, .version = 1);
		digest = store_digest(&f);
		dump_store(&f);
		put_in_force(&f, 2, last_lsn(&f));
		(void)family_stop_wal(&f, SIGKILL);
		flip(&f, "checkpoints/0000000000000002.ckpt", places[i]);
		assert_int_equal(digest_after_start(&f), digest);
		assert_int_equal(fallbacks(&f), 1);
		assert_int_equal(applied(&f), 100);
		(void)family_stop_wal(&f, SIGKILL);
		flip(&f, "checkpoints/0000000000000001.ckpt", places[i]);
		assert_int_equal(digest_after_start(&f), digest);
		assert_int_equal(fallbacks(&f), 2);
		assert_true(applied(&f) > first);
		family_close(&f);
	}
}

/* Two checkpoints, and a death before the segments below both had left: the next start finishes
 * that, with nothing lost; after a fallback it does not. */
static void test_retired_at_start(void **state)
{
	int64_t deadline = clock_mono_ms() + 60000;
	struct wal_family f;
	uint64_t digest, first;
	struct datadir d;
	struct fault fault;
	(void)state;

	aged(&f);
	dump_store(&f);
	first = last_lsn(&f);
	put_in_force(&f, 1, first);
	LOAD_RUN(&f, 2, load_send, .first = 3000, .n = 100, .version = 1);
	digest = store_digest(&f);
	dump_store(&f);
	put_in_force(&f, 2, last_lsn(&f));
	(void)family_stop_wal(&f, SIGKILL);
	assert_int_equal(datadir_attach(&d, f.dir, &fault), EG_E_OK);
	assert_true(retire_due(&d, first));
	flip(&f, "checkpoints/0000000000000002.ckpt", 40);
	assert_int_equal(digest_after_start(&f), digest);
	assert_int_equal(fallbacks(&f), 1);
	assert_int_equal(WEXITSTATUS(family_stop_wal(&f, SIGQUIT)), 0);
	assert_true(retire_due(&d, first));
	flip(&f, "checkpoints/0000000000000002.ckpt", 40);
	assert_int_equal(digest_after_start(&f), digest);
	assert_int_equal(fallbacks(&f), 0);
	while (retire_due(&d, first) && clock_mono_ms() < deadline)
		usleep(1000);
	assert_false(retire_due(&d, first));
	(void)family_stop_wal(&f, SIGKILL);
	assert_int_equal(digest_after_start(&f), digest);
	datadir_close(&d);
	family_close(&f);
}

static int status_of_start(struct wal_family *f)
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

/* A record that a row needs has rotted, or its segment is gone: no start. */
static void test_rot(void **state)
{
	struct wal_family f;
	char path[256], first[32];
	(void)state;

	aged(&f);
	dump_store(&f);
	put_in_force(&f, 1, last_lsn(&f));
	(void)family_stop_wal(&f, SIGKILL);
	datadir_segment_name(first, 1);
	snprintf(path, sizeof path, "wal/%s", first);
	flip(&f, path, 3 * 4096 + 100);
	assert_int_equal(status_of_start(&f), EX_DATAERR);
	flip(&f, path, 3 * 4096 + 100);
	snprintf(path, sizeof path, "%s/wal/%s", f.dir, first);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(status_of_start(&f), EX_DATAERR);
	family_close(&f);
}

/* Segments that no row needs and that end below the redo point may be gone. */
static void test_removed_segments(void **state)
{
	struct wal_family f;
	uint64_t digest, *starts;
	struct datadir d;
	struct fault fault;
	unsigned n, removed = 0;
	(void)state;

	aged(&f);
	LOAD_RUN(&f, 2, delete_some, .first = 0, .n = 1500);
	digest = store_digest(&f);
	dump_store(&f);
	put_in_force(&f, 1, last_lsn(&f));
	(void)family_stop_wal(&f, SIGKILL);
	assert_int_equal(datadir_attach(&d, f.dir, &fault), EG_E_OK);
	assert_int_equal(datadir_segments(&d, &starts, &n, &fault), EG_E_OK);
	for (unsigned i = 0; i + 1 < n; i++) {
		bool needed = false;
		char path[4200];

		for (unsigned k = 0; k < dump.n; k++)
			needed = needed || (dump.rows[k].lsn >= starts[i] && dump.rows[k].lsn < starts[i + 1]);
		datadir_segment_path(&d, path, starts[i]);
		removed += !needed && unlink(path) == 0;
	}
	assert_true(removed > 0);
	free(starts);
	datadir_close(&d);
	assert_int_equal(digest_after_start(&f), digest);
	LOAD_RUN(&f, 3, load_send, .first = 0, .n = 100, .version = 1);
	digest = store_digest(&f);
	(void)family_stop_wal(&f, SIGKILL);
	assert_int_equal(digest_after_start(&f), digest);
	family_close(&f);
}

/* A kill at each step of a load leaves nothing that disturbs the next one. */
static void test_killed(void **state)
{
#ifdef EG_FAULTS
	static const enum fault_point points[] = { FAULT_LOAD_SPACES, FAULT_LOAD_ROWS, FAULT_LOAD_FRAME, FAULT_APPLY_LOADED,
		FAULT_LOAD_GROUP, FAULT_LOAD_SEGMENTS, FAULT_LOAD_SHARD, FAULT_LOAD_IDS, FAULT_LOAD_SLOT_LISTS,
		FAULT_LOAD_NODE_LISTS, FAULT_LOAD_DONE, FAULT_LOAD_FALLBACK, FAULT_RECOVER_REPLAYED, FAULT_RECOVER_OPENED };
	struct wal_family f;
	uint64_t digest;

	fault_page = fault_page_new();
	assert_non_null(fault_page);
	aged(&f);
	dump_store(&f);
	put_in_force(&f, 1, last_lsn(&f));
	LOAD_RUN(&f, 2, load_send, .first = 3000, .n = 20, .version = 1);
	digest = store_digest(&f);
	put_in_force(&f, 2, last_lsn(&f));
	(void)family_stop_wal(&f, SIGKILL);
	flip(&f, "checkpoints/0000000000000002.ckpt", 50);   /* so that there is a fallback, too */
	for (unsigned i = 0; i < sizeof points / sizeof points[0]; i++) {
		family_reboot(&f, true);
		fault_arm(fault_page, 0, points[i], EG_PROCESS_WAL, FAULT_KILL, 1, 1);
		family_start_wal(&f);
		if (f.wal > 0)
			fail_msg("point %s was not passed", fault_infos[points[i]].name);
		fault_disarm(fault_page, 0);
		family_reboot(&f, false);
		family_start_wal(&f);
		assert_true(f.wal > 0);
		assert_int_equal(store_digest(&f), digest);
		(void)family_stop_wal(&f, SIGKILL);
	}
	family_close(&f);
	fault_page = NULL;
#endif
	(void)state;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_same), cmocka_unit_test(test_rows_above_start),
		cmocka_unit_test(test_rows_too_old), cmocka_unit_test(test_two_rows),
		cmocka_unit_test(test_damaged),
		cmocka_unit_test(test_retired_at_start), cmocka_unit_test(test_rot), cmocka_unit_test(test_removed_segments),
		cmocka_unit_test(test_killed),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
