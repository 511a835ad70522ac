/* Checkpoints of a store: what is dumped, what is shared with the one before, what leaves the
 * log and what stays; and that a kill or a failing call at any step leaves one in force that
 * is whole, with every segment that its rows need. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/fault.h"
#include "common/log.h"
#include "shm/metrics.h"
#include "shm/slot_write.h"
#include "t/unit/shm_bench.h"
#include "t/unit/wal_head.h"
#include "wal/dump.h"
#include "wal/install.h"


struct room {
	struct shm_bench *b;
	char path[64];                 /* in memory: syncs are counted on, not waited for */
	struct datadir d;
	struct bench_memory *memories;
	uint64_t n, lsn, each;         /* memories; last LSN; LSNs of a segment */
	struct dump_result dumped;
	bool rebuild;                  /* between dump and telling */
	bool pin;                      /* somebody reads the files meanwhile */
	void *buf;
};

static void publish(struct room *r)
{
	struct wal_page *page = desk_wal(&r->b->desks);

	atomic_store(&page->lsn, r->lsn);
	atomic_store(&page->durable_lsn, r->lsn);
	atomic_store(&page->acked_lsn, r->lsn);
	atomic_store(&store_root(&r->b->w)->changed_lsn, r->lsn);
}

static void store(struct room *r, uint64_t n)
{
	r->memories = realloc(r->memories, (r->n + n) * sizeof *r->memories);
	assert_non_null(r->memories);
	for (uint64_t i = 0; i < n; i++) {
		char id[32];

		if (r->lsn % r->each == 0)
			head_make(&r->d, r->lsn + 1, NULL, 0);
		snprintf(id, sizeof id, "m%llu", (unsigned long long)++r->lsn);
		r->memories[r->n] = bench_store(r->b, 0, id, r->lsn);
		slot_note_change(&r->b->w, r->memories[r->n++].slot, r->lsn);
	}
	publish(r);
}

static int set_up(void **state)
{
	struct room *r = calloc(1, sizeof *r);
	struct fault f;
	void *bench;

	bench_open(&bench);
	r->b = bench;
	metrics_attach(&r->b->desks);
	r->each = 1000;
	snprintf(r->path, sizeof r->path, "/dev/shm/engram-test-XXXXXX");
	assert_non_null(mkdtemp(r->path));
	assert_int_equal(datadir_open(&r->d, r->path, 1, &f), EG_E_OK);
	r->buf = aligned_alloc(64, EG_EXTENT_BYTES_MAX);
	*state = r;
	return 0;
}

static int tear_down(void **state)
{
	struct room *r = *state;
	char command[128];
	void *bench = r->b;

	datadir_close(&r->d);
	snprintf(command, sizeof command, "rm -rf '%s'", r->path);
	assert_int_equal(system(command), 0);
	free(r->memories);
	free(r->buf);
	free(r);
	return bench_close(&bench);
}

static unsigned count(const struct room *r, const char *folder);

/* Let go, and wait until what was held back has been done. */
static void unpin(struct install *i)
{
	bool done = false;

	install_unpin(i);
	while (!done) {
		sched_yield();
		pthread_mutex_lock(&i->lock);
		done = !i->retire_later && !i->retiring;
		pthread_mutex_unlock(&i->lock);
	}
}

static bool never(void *arg)
{
	(void)arg;
	return false;
}

/* All of it, as two processes do it. */
static enum err checkpoint(struct room *r)
{
	struct dump_task t = { .data_dir = r->path, .desks = &r->b->worker, .store = &r->b->w.store, .epoch = &r->b->reader,
		.stop = never };
	struct checkpoint_page *page = &desk_wal(&r->b->desks)->checkpoint;
	struct control c = { .what = EG_CONTROL_PLACE, .nonce = atomic_load(&page->ended) + 1 };
	static struct install i;
	uint64_t demand;
	unsigned before;
	struct fault f;
	enum err e = dump_run(&t, &r->dumped, &f);

	if (e != EG_E_OK)
		return e;
	if (r->rebuild)
		atomic_fetch_add(&store_root(&r->b->w)->generation, 1);
	memcpy(c.name, r->dumped.name, sizeof c.name);
	c.place = r->dumped.place;
	c.generation = r->dumped.generation;
	c.written = r->dumped.written;
	assert_int_equal(install_open(&i, &r->d, &r->b->desks, &r->b->w, &f), EG_E_OK);
	before = count(r, "wal");
	if (r->pin)
		install_pin(&i);
	assert_int_equal(install_take(&i, &c, &demand), EG_E_OK);
	while (atomic_load(&page->ended) != c.nonce)
		sched_yield();
	if (r->pin) {
		assert_int_equal(count(r, "wal"), before);
		unpin(&i);
	}
	install_close(&i);
	return (enum err)atomic_load(&page->err);
}

static unsigned count(const struct room *r, const char *folder)
{
	char command[160], line[32] = "";
	FILE *in;

	snprintf(command, sizeof command, "ls '%s/%s' | wc -l", r->path, folder);
	in = popen(command, "r");
	assert_non_null(fgets(line, sizeof line, in));
	pclose(in);
	return (unsigned)atoi(line);
}

static bool is_there(const struct room *r, uint64_t lsn)
{
	char path[4200];

	datadir_segment_path(&r->d, path, (lsn - 1) / r->each * r->each + 1);
	return access(path, F_OK) == 0;
}

/* The checkpoint in force is whole, and so is the log as far as it needs it. Its id. */
static uint64_t verify(struct room *r)
{
	struct superblocks s;
	struct checkpoint c;
	struct fault f;
	uint64_t id;

	assert_int_equal(superblock_read(r->d.fd, &s, &f), EG_E_OK);
	assert_true(s.n_places > 0);
	assert_int_equal(checkpoint_open(&c, r->d.checkpoints_fd, r->d.uuid, &s.now.newest, &f), EG_E_OK);
	for (uint32_t k = 0; k < c.n_refs; k++) {
		const void *entries;
		const struct checkpoint_row *rows;

		assert_int_equal(checkpoint_read(&c, &c.refs[k], r->buf, &entries, &f), EG_E_OK);
		rows = entries;
		for (uint32_t n = 0; c.refs[k].kind == EG_EXTENT_ROWS && n < c.refs[k].n; n++)
			assert_true(is_there(r, rows[n].lsn));
	}
	/* What a replay needs, whichever of the two it begins at. */
	for (uint64_t lsn = (s.n_places > 1 ? s.places[1].start_lsn : 0) + 1; lsn <= r->lsn; lsn += r->each)
		assert_true(is_there(r, lsn));
	id = c.header.id;
	checkpoint_close(&c);
	return id;
}

static void only_what_changed_is_written(void **state)
{
	struct room *r = *state;

	store(r, 5000);
	assert_int_equal(checkpoint(r), EG_E_OK);
	assert_int_equal(r->dumped.rows, 5000);
	assert_int_equal(r->dumped.kept, 0);
	assert_int_equal(r->dumped.base_id, 0);
	assert_int_equal(verify(r), 1);
	head_make(&r->d, 5001, NULL, 0);
	slot_note_change(&r->b->w, r->memories[2500].slot, ++r->lsn);
	publish(r);
	assert_int_equal(checkpoint(r), EG_E_OK);
	assert_int_equal(r->dumped.rows, 5000);
	assert_int_equal(r->dumped.base_id, 1);
	assert_int_equal(r->dumped.extents - r->dumped.kept, 1);
	assert_true(r->dumped.written < EG_EXTENT_BYTES_MAX + 8192);
	assert_int_equal(verify(r), 2);
	/* Another memory than the one that it describes: all of it is written. */
	atomic_store(&store_root(&r->b->w)->checkpoint_id, 0);
	assert_int_equal(checkpoint(r), EG_E_OK);
	assert_int_equal(r->dumped.kept, 0);
	assert_int_equal(verify(r), 3);
	assert_int_equal(count(r, "checkpoints"), 3);
	assert_int_equal(checkpoint(r), EG_E_OK);
	assert_int_equal(count(r, "checkpoints"), 2);
}

static void dead_segments_go_and_live_ones_stay(void **state)
{
	struct room *r = *state;

	store(r, 5001);
	assert_int_equal(checkpoint(r), EG_E_OK);
	assert_int_equal(count(r, "wal"), 6);
	/* One checkpoint alone retires nothing. */
	assert_int_equal(checkpoint(r), EG_E_OK);
	assert_int_equal(count(r, "wal"), 1);
	assert_int_equal(count(r, "warm"), 5);
	for (unsigned k = 1000; k < 2000; k++) {
		slot_note_change(&r->b->w, r->memories[k].slot, ++r->lsn);
		bench_delete(r->b, &r->memories[k]);
	}
	publish(r);
	head_make(&r->d, 6001, NULL, 0);
	assert_int_equal(checkpoint(r), EG_E_OK);
	assert_int_equal(r->dumped.rows, 4001);
	assert_int_equal(count(r, "warm"), 5);     /* the one before still names them */
	assert_int_equal(checkpoint(r), EG_E_OK);
	assert_int_equal(count(r, "warm"), 5);     /* 1001..2000 went, 5001..6000 came */
	assert_false(is_there(r, 1500));
	assert_true(is_there(r, 5001));
	verify(r);
}

static void the_log_must_be_durable_first(void **state)
{
	struct room *r = *state;
	struct wal_page *page = desk_wal(&r->b->desks);
	struct checkpoint_page *p = &page->checkpoint;
	struct control c = { .what = EG_CONTROL_PLACE, .nonce = 77 };
	struct dump_task t = { .data_dir = r->path, .desks = &r->b->worker, .store = &r->b->w.store, .epoch = &r->b->reader,
		.stop = never };
	static struct install i;
	uint64_t demand;
	struct fault f;

	store(r, 99);
	slot_note_change(&r->b->w, r->memories[50].slot, ++r->lsn);
	bench_delete(r->b, &r->memories[50]);  /* no row tells of it: without its record the memory was lost */
	publish(r);
	atomic_store(&page->acked_lsn, 99);    /* applied during the dump */
	atomic_store(&page->durable_lsn, 99);
	assert_int_equal(dump_run(&t, &r->dumped, &f), EG_E_OK);
	assert_int_equal(r->dumped.rows, 98);
	memcpy(c.name, r->dumped.name, sizeof c.name);
	c.place = r->dumped.place;
	c.generation = r->dumped.generation;
	assert_int_equal(install_open(&i, &r->d, &r->b->desks, &r->b->w, &f), EG_E_OK);
	assert_int_equal(install_take(&i, &c, &demand), EG_E_OK);
	assert_int_equal(install_take(&i, &c, &demand), EG_E_CONFLICT);
	while (atomic_load(&i.waiting) == 0 && atomic_load(&p->ended) != 77)
		sched_yield();
	assert_int_equal(atomic_load(&p->ended), 0);
	assert_int_equal(atomic_load(&p->id), 0);
	atomic_store(&page->durable_lsn, 100);
	install_wake(&i, false);
	while (atomic_load(&p->ended) != 77)
		sched_yield();
	assert_int_equal(atomic_load(&p->id), 1);
	install_close(&i);
	/* It never becomes durable: the one before stays. */
	store(r, 100);
	atomic_store(&page->durable_lsn, 199);
	assert_int_equal(dump_run(&t, &r->dumped, &f), EG_E_OK);
	memcpy(c.name, r->dumped.name, sizeof c.name);
	c.place = r->dumped.place;
	c.generation = r->dumped.generation;
	c.nonce = 78;
	assert_int_equal(install_open(&i, &r->d, &r->b->desks, &r->b->w, &f), EG_E_OK);
	assert_int_equal(install_take(&i, &c, &demand), EG_E_OK);
	install_wake(&i, true);
	while (atomic_load(&p->ended) != 78)
		sched_yield();
	assert_int_equal(atomic_load(&p->err), EG_E_READ_ONLY);
	assert_int_equal(atomic_load(&p->id), 1);
	install_close(&i);
	verify(r);
}

/* The store was built anew between the dump and its telling. */
/* While a reader pins the files none goes; what was to go goes after it, once. With one
 * checkpoint alone there is nothing to go, and nobody waits for it for ever. */
static void pinned_files_stay(void **state)
{
	struct room *r = *state;

	for (unsigned k = 0; k < 3; k++) {
		store(r, 2000);
		r->pin = true;
		assert_int_equal(checkpoint(r), EG_E_OK);
		r->pin = false;
		verify(r);
	}
	assert_int_equal(count(r, "wal"), 2);
	assert_int_equal(count(r, "warm"), 4);
}

static void another_memory_is_refused(void **state)
{
	struct room *r = *state;
	_Atomic uint32_t *generation = &store_root(&r->b->w)->generation;

	store(r, 100);
	assert_int_equal(checkpoint(r), EG_E_OK);
	r->rebuild = true;
	store(r, 100);
	assert_int_equal(checkpoint(r), EG_E_VALIDATION);
	assert_int_equal(verify(r), 1);
	r->rebuild = false;
	assert_int_not_equal(atomic_load(generation), r->dumped.generation);
	assert_int_equal(checkpoint(r), EG_E_OK);
	assert_int_equal(verify(r), 2);
}

#ifdef EG_FAULTS

static bool concerns(const char *name)
{
	static const char *const rooms[] = { "CHECKPOINT_", "CHECKPOINTS_", "DUMP_", "INSTALL_", "RETIRE_", "SUPERBLOCK_UPDATE" };

	for (unsigned i = 0; i < sizeof rooms / sizeof rooms[0]; i++)
		if (strncmp(name, rooms[i], strlen(rooms[i])) == 0)
			return true;
	return false;
}

/* One attempt with that fault; whether it fired. */
static bool attempt(struct room *r, enum fault_point point, enum fault_action action, uint32_t nth)
{
	uint64_t before = verify(r), after;
	pid_t pid;
	int status;
	bool fired;

	slot_note_change(&r->b->w, r->memories[r->n - 1].slot, r->lsn);
	fault_arm(fault_page, 0, point, FAULT_ANY, action, nth, 1);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		struct fault f;

		/* A writer of its own: it reads the superblock itself, and sweeps tmp/. */
		if (datadir_open(&r->d, r->path, 1, &f) != EG_E_OK)
			_exit(9);
		_exit(checkpoint(r) != EG_E_OK);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	fired = atomic_load(&fault_page->slots[0].fired) > 0;
	fault_disarm(fault_page, 0);
	if (WIFSIGNALED(status))
		assert_int_equal(WTERMSIG(status), SIGKILL);
	else
		assert_true(WEXITSTATUS(status) <= 1);
	after = verify(r);
	assert_true(after == before || after > before);
	return fired;
}

/* Files that the two checkpoints in force name. */
static unsigned named(struct room *r)
{
	struct checkpoint newest, previous;
	struct fault f;
	unsigned n;

	assert_int_equal(checkpoint_open(&newest, r->d.checkpoints_fd, r->d.uuid, &r->d.super.now.newest, &f), EG_E_OK);
	assert_int_equal(checkpoint_open(&previous, r->d.checkpoints_fd, r->d.uuid, &r->d.super.now.previous, &f), EG_E_OK);
	n = newest.n_files;
	for (uint32_t i = 0; i < previous.n_files; i++) {
		bool both = false;

		for (uint32_t k = 0; k < newest.n_files; k++)
			both |= newest.files[k].id == previous.files[i].id;
		n += !both;
	}
	checkpoint_close(&newest);
	checkpoint_close(&previous);
	return n;
}

/* The same once more without a fault: whatever was left behind is in nobody's way. */
static void go_on(struct room *r)
{
	uint64_t before = verify(r);
	struct fault f;

	datadir_close(&r->d);
	assert_int_equal(datadir_open(&r->d, r->path, 1, &f), EG_E_OK);
	assert_int_equal(checkpoint(r), EG_E_OK);
	assert_true(verify(r) > before);
	assert_int_equal(count(r, "checkpoints"), named(r));
}

static void a_fault_at_any_step_leaves_one_in_force(void **state)
{
	static const enum fault_action actions[] = { FAULT_KILL, FAULT_AFTER, FAULT_TORN, FAULT_EIO, FAULT_ENOSPC };
	struct room *r = *state;
	unsigned fired = 0;

	fault_page = fault_page_new();
	assert_non_null(fault_page);
	r->each = 20;
	store(r, 100);
	assert_int_equal(checkpoint(r), EG_E_OK);
	for (unsigned p = 0; p < FAULT_POINTS; p++)
		for (unsigned a = 0; concerns(fault_infos[p].name) && a < sizeof actions / sizeof actions[0]; a++) {
			if (!(fault_infos[p].actions & actions[a]))
				continue;
			store(r, r->each); /* so that there is a segment to retire */
			for (unsigned k = 0; k < r->each / 2; k++)
				slot_note_change(&r->b->w, r->memories[r->n - 1 - k].slot, r->lsn);
			fired += attempt(r, (enum fault_point)p, actions[a], 1);
			go_on(r);
		}
	print_message("%u faults fired\n", fired);
	assert_true(fired >= 50);
}

/* One large enough to be synced in pieces. */
static void a_fault_between_two_pieces(void **state)
{
	static const enum fault_action actions[] = { FAULT_KILL, FAULT_AFTER, FAULT_EIO, FAULT_ENOSPC };
	struct room *r = *state;

	fault_page = fault_page_new();
	assert_non_null(fault_page);
	r->each = 40000;
	store(r, 20000);
	assert_int_equal(checkpoint(r), EG_E_OK);
	for (unsigned a = 0; a < sizeof actions / sizeof actions[0]; a++) {
		if (!(fault_infos[FAULT_DUMP_SYNC_PART].actions & actions[a]))
			continue;
		atomic_store(&store_root(&r->b->w)->checkpoint_id, 0);     /* all of it is written */
		assert_true(attempt(r, FAULT_DUMP_SYNC_PART, actions[a], 1));
		go_on(r);
	}
}

#endif

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(only_what_changed_is_written, set_up, tear_down),
		cmocka_unit_test_setup_teardown(dead_segments_go_and_live_ones_stay, set_up, tear_down),
		cmocka_unit_test_setup_teardown(the_log_must_be_durable_first, set_up, tear_down),
		cmocka_unit_test_setup_teardown(pinned_files_stay, set_up, tear_down),
		cmocka_unit_test_setup_teardown(another_memory_is_refused, set_up, tear_down),
#ifdef EG_FAULTS
		cmocka_unit_test_setup_teardown(a_fault_at_any_step_leaves_one_in_force, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_fault_between_two_pieces, set_up, tear_down),
#endif
	};

	if (log_open("/dev/null", LOG_LEVEL_ERROR, LOG_FORMAT_TEXT) != EG_E_OK)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
