/* The writer at its worst moments: killed before each single step that it takes
 * on disk, again while it recovers from that, without room on disk, and with lanes
 * whose process writes nonsense. The I/O layer is wrapped by the linker. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/io.h"
#include "shm/slot.h"
#include "t/unit/wal_load.h"
#include "wal/lane.h"
#include "wal/lanes.h"
#include "wal/segment.h"

/* ---- what goes wrong, and when ------------------------------------------------- */

struct trouble {                   /* shared by the test and its children */
	_Atomic unsigned kill_at;  /* before this step of the log thread on disk, 0 = never */
	_Atomic unsigned fail_writes;  /* so many writes of records find no room */
	_Atomic unsigned kill_gather;  /* at this look into the lanes */
	_Atomic unsigned step, gathered;
	_Atomic unsigned phase;    /* between a test and its child */
};
static struct trouble *trouble;

int __real_io_write_at(int fd, const void *from, size_t bytes, uint64_t offset);
int __real_io_sync(int fd);
int __real_io_sync_dir(int fd);
int __real_io_rename(int from_dir, const char *from, int to_dir, const char *to);
unsigned __real_lanes_gather(struct lanes *l, struct round *r);

static bool due(void)
{
	return gettid() == getpid() && atomic_load(&trouble->kill_at) != 0
	       && atomic_fetch_add(&trouble->step, 1) + 1 == atomic_load(&trouble->kill_at);
}

int __wrap_io_write_at(int fd, const void *from, size_t bytes, uint64_t offset);
int __wrap_io_write_at(int fd, const void *from, size_t bytes, uint64_t offset)
{
	if (due()) {
		(void)!__real_io_write_at(fd, from, bytes / 2, offset);
		raise(SIGKILL);
	}
	/* An idle log's witness is not what the tests wait for. */
	if (gettid() == getpid() && offset >= 8192 && ((const struct group_header *)from)->n_records > 0
	    && atomic_load(&trouble->fail_writes) > 0) {
		atomic_fetch_sub(&trouble->fail_writes, 1);
		return ENOSPC;
	}
	return __real_io_write_at(fd, from, bytes, offset);
}

int __wrap_io_sync(int fd);
int __wrap_io_sync(int fd) { return due() ? raise(SIGKILL) : __real_io_sync(fd); }
int __wrap_io_sync_dir(int fd);
int __wrap_io_sync_dir(int fd) { return due() ? raise(SIGKILL) : __real_io_sync_dir(fd); }

int __wrap_io_rename(int from_dir, const char *from, int to_dir, const char *to);
int __wrap_io_rename(int from_dir, const char *from, int to_dir, const char *to)
{
	return due() ? raise(SIGKILL) : __real_io_rename(from_dir, from, to_dir, to);
}

unsigned __wrap_lanes_gather(struct lanes *l, struct round *r);
unsigned __wrap_lanes_gather(struct lanes *l, struct round *r)
{
	if (atomic_load(&trouble->kill_gather) != 0
	    && atomic_fetch_add(&trouble->gathered, 1) + 1 == atomic_load(&trouble->kill_gather))
		raise(SIGKILL);
	return __real_lanes_gather(l, r);
}

static int fresh(void **state)
{
	(void)state;
	memset(trouble, 0, sizeof *trouble);
	return 0;
}

static void wait_phase(unsigned phase)
{
	while (atomic_load(&trouble->phase) < phase)
		usleep(200);
}

/* ---- recovery ------------------------------------------------------------------ */

/* What was acknowledged survives a kill before every step of the recovery. */
static void killed_in_recovery(bool reboot, char *mode)
{
	struct wal_family f;
	bool ended = false;

	family_open(&f, &mode, 1);
	family_start_wal(&f);
	LOAD_RUN(&f, 2, load_send, .first = 0, .n = 40, .version = 1);
	(void)family_stop_wal(&f, SIGKILL);
	for (unsigned step = 1; !ended; step++) {
		if (reboot)
			family_reboot(&f, true);
		atomic_store(&trouble->step, 0);
		atomic_store(&trouble->kill_at, step);
		family_start_wal(&f);
		ended = f.wal > 0;
		atomic_store(&trouble->kill_at, 0);
		if (!ended) {
			if (reboot)
				family_reboot(&f, true);
			family_start_wal(&f);
		}
		assert_true(f.wal > 0);
		LOAD_RUN(&f, 3, load_check, .first = 0, .n = 40, .version = 1);
		(void)family_stop_wal(&f, SIGKILL);
	}
	family_reboot(&f, true);
	family_start_wal(&f);
	LOAD_RUN(&f, 3, load_check, .first = 0, .n = 40, .version = 1);
	family_close(&f);
}

static void test_killed_in_recovery(void **state)
{
	(void)state;
	killed_in_recovery(false, (char[]){ "wal.sync_mode=immediate" });
	killed_in_recovery(true, (char[]){ "wal.sync_mode=immediate" });
	killed_in_recovery(true, (char[]){ "wal.sync_mode=batch" });
}

/* ---- an entry is logged and answered once ---------------------------------------- */

static int send_one(struct wal_family *f, struct draft *d, unsigned n, unsigned flags, enum err *err,
                    struct outcome *o, bool *durable)
{
	struct pollfd p = { .fd = f->desks.bell[f->desks.self], .events = POLLIN };
	struct submit lane;
	struct ticket t;
	struct fault fault;
	uint64_t lsn;

	submit_init(&lane, &f->desks, 0);
	if (submit_push(&lane, d, n, flags, 5000, &t, &fault) != EG_E_OK)
		return 20;
	atomic_fetch_add(&trouble->phase, 1);
	while (!submit_poll(&t, err, &lsn, durable)) {
		(void)poll(&p, 1, 1000);
		(void)desk_hush(&f->desks);
	}
	*o = submit_outcome(&t, n - 1);
	submit_forget(&t);
	return 0;
}

static int conditional(struct wal_family *f, void *arg)
{
	struct load_parts p;
	struct draft d;
	struct outcome o;
	enum err err;
	bool durable;

	(void)arg;
	load_draft(&d, &p, 0, 2);
	d.expect_version = 1;
	return send_one(f, &d, 1, 0, &err, &o, &durable) ? 20 : err != EG_E_OK ? 21
	       : o.err != EG_E_OK ? 22 : o.version != 2 ? 23 : 0;
}

/* Logged by the first writer, which dies; the second dies before it answers. */
static void test_answered_by_the_third(void **state)
{
	struct wal_family f;
	pid_t sender;

	(void)state;
	family_open(&f, NULL, 0);
	family_start_wal(&f);
	LOAD_RUN(&f, 2, load_send, .first = 0, .n = 1, .version = 1);
	atomic_store(&trouble->step, 0);
	atomic_store(&trouble->kill_at, 2);        /* written, not synced */
	sender = family_spawn(&f, 2, conditional, NULL);
	assert_true(WIFSIGNALED(family_stop_wal(&f, 0)));
	atomic_store(&trouble->kill_at, 0);
	atomic_store(&trouble->kill_gather, 1);
	family_start_wal(&f);
	if (f.wal > 0)
		(void)family_stop_wal(&f, 0);
	atomic_store(&trouble->kill_gather, 0);
	family_start_wal(&f);
	assert_int_equal(load_status(family_reap(&f, 2, sender)), 0);
	LOAD_RUN(&f, 3, load_check, .first = 0, .n = 1, .version = 2);
	family_close(&f);
}

static int twice(struct wal_family *f, void *arg)
{
	struct load_parts p;
	struct draft d;
	struct submit lane;
	struct ticket t;
	struct fault fault;
	enum err err;
	uint64_t lsn;

	(void)arg;
	submit_init(&lane, &f->desks, 0);
	for (unsigned i = 0; i < 2; i++) {
		load_draft(&d, &p, i, 1);
		if (submit_push(&lane, &d, 1, 0, 5000, &t, &fault) != EG_E_OK)
			return 20;
		family_await(&f->desks, &t, &err, &lsn);
		submit_forget(&t);
		if (err != EG_E_OK)
			return 21;
		atomic_fetch_add(&trouble->phase, 1);
		wait_phase(2);
	}
	return 0;
}

/* The writer died between the words of an answer: the lane goes on all the same. */
static void test_killed_in_an_answer(void **state)
{
	struct wal_family f;
	struct lane_answers *a;
	size_t in_map;
	uint8_t *map;
	pid_t sender;

	(void)state;
	family_open(&f, NULL, 0);
	family_start_wal(&f);
	sender = family_spawn(&f, 2, twice, NULL);
	wait_phase(1);
	(void)family_stop_wal(&f, SIGKILL);
	map = mmap(NULL, f.desks.wal_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, f.desks.fd[EG_DESK_WAL], 0);
	assert_true(map != MAP_FAILED);
	in_map = (size_t)((uint8_t *)desk_answers(&f.desks, 2, 0) - f.desks.base[EG_DESK_WAL]);
	a = (struct lane_answers *)(void *)(map + in_map);
	assert_int_equal(atomic_load(&a->done_seq), 1);
	assert_true(atomic_load(&a->tail) > 0);
	atomic_store(&a->tail, 0);                 /* done_seq was stored, the tail not */
	munmap(map, f.desks.wal_bytes);
	family_start_wal(&f);
	atomic_fetch_add(&trouble->phase, 1);
	assert_int_equal(load_status(family_reap(&f, 2, sender)), 0);
	LOAD_RUN(&f, 3, load_check, .first = 0, .n = 2, .version = 1);
	family_close(&f);
}

/* ---- refusals -------------------------------------------------------------------- */

/* Two spaces in one batch, the second made by it: all of it is replayed. */
static int two_spaces(struct wal_family *f, void *arg)
{
	struct load_parts p[3];
	struct draft d[3];
	struct outcome o;
	enum err err;
	bool durable;

	(void)arg;
	for (unsigned i = 0; i < 3; i++)
		load_draft(&d[i], &p[i], i, 1);
	d[2].space_id = "play";
	draft_seal(&d[2]);
	return send_one(f, d, 3, EG_SUBMIT_ATOMIC, &err, &o, &durable) ? 20 : err != EG_E_OK ? 21 : 0;
}

static int play_is_there(struct wal_family *f, void *arg)
{
	const struct space *sp;
	struct store s;
	struct epoch e;

	(void)arg;
	if (!load_attach(f, &s, &e))
		return 30;
	epoch_enter(&e);
	sp = space_find(&s, "play", 4);
	if (sp == NULL || atomic_load(&sp->memories) != 1)
		return 31;
	sp = space_find(&s, "work", 4);
	return sp != NULL && atomic_load(&sp->memories) == 3 ? 0 : 32;
}

static void test_batch_over_two_spaces(void **state)
{
	struct wal_family f;

	(void)state;
	family_open(&f, NULL, 0);
	family_start_wal(&f);
	LOAD_RUN(&f, 2, load_send, .first = 9, .n = 1, .version = 1);
	assert_int_equal(load_status(family_child(&f, 2, two_spaces, NULL)), 0);
	(void)family_stop_wal(&f, SIGTERM);
	family_reboot(&f, true);
	family_start_wal(&f);
	assert_int_equal(load_status(family_child(&f, 3, play_is_there, NULL)), 0);
	family_close(&f);
}

static int no_trace(struct wal_family *f, void *arg)
{
	struct load_parts p[2];
	struct draft d[2];
	struct outcome o;
	struct store s;
	struct epoch e;
	enum err err;
	bool durable;

	(void)arg;
	/* A batch that is refused by its second operation fixes no dimension ... */
	load_draft(&d[0], &p[0], 0, 1);
	load_draft(&d[1], &p[1], 1, 1);
	d[1].expect_version = 7;
	if (send_one(f, d, 2, EG_SUBMIT_ATOMIC, &err, &o, &durable) || err != EG_E_PRECONDITION)
		return 21;
	d[0].head.dim = LOAD_DIM - 8;
	draft_seal(&d[0]);
	if (send_one(f, d, 1, 0, &err, &o, &durable) || err != EG_E_OK || o.err != EG_E_OK)
		return 22;
	/* ... and a change that is refused makes no space. */
	d[1].space_id = "play";
	draft_seal(&d[1]);
	if (send_one(f, &d[1], 1, 0, &err, &o, &durable) || o.err != EG_E_PRECONDITION)
		return 23;
	if (!load_attach(f, &s, &e))
		return 30;
	epoch_enter(&e);
	return space_find(&s, "play", 4) == NULL ? 0 : 31;
}

static void test_refusals_leave_no_trace(void **state)
{
	struct wal_family f;

	(void)state;
	family_open(&f, NULL, 0);
	family_start_wal(&f);
	assert_int_equal(load_status(family_child(&f, 2, no_trace, NULL)), 0);
	family_close(&f);
}

static int no_room(struct wal_family *f, void *arg)
{
	struct load_parts p;
	struct draft d;
	struct outcome o;
	enum err err;
	bool durable;

	(void)arg;
	load_draft(&d, &p, 50, 1);
	return send_one(f, &d, 1, 0, &err, &o, &durable) ? 20 : err == EG_E_NO_STORAGE ? 0 : 21;
}

/* The first write that finds no room goes to another segment, the next one within a
 * minute is refused; the log can be gone on with, and read. */
static void test_no_room(void **state)
{
	struct wal_family f;

	(void)state;
	family_open(&f, NULL, 0);
	family_start_wal(&f);
	atomic_store(&trouble->fail_writes, 1);
	LOAD_RUN(&f, 2, load_send, .first = 0, .n = 5, .version = 1);
	assert_int_equal(atomic_load(&trouble->fail_writes), 0);
	atomic_store(&trouble->fail_writes, 1);
	assert_int_equal(load_status(family_child(&f, 2, no_room, NULL)), 0);
	LOAD_RUN(&f, 2, load_send, .first = 5, .n = 5, .version = 1);
	LOAD_RUN(&f, 3, load_check, .first = 0, .n = 10, .version = 1);
	(void)family_stop_wal(&f, SIGKILL);
	family_reboot(&f, true);
	family_start_wal(&f);
	assert_true(f.wal > 0);
	LOAD_RUN(&f, 3, load_check, .first = 0, .n = 10, .version = 1);
	/* And the last record of a clean end: nothing to take back but itself. */
	atomic_store(&trouble->fail_writes, 1);
	LOAD_RUN(&f, 2, load_send, .first = 10, .n = 1, .version = 1);
	atomic_store(&trouble->fail_writes, 1);
	assert_int_equal(load_status(family_stop_wal(&f, SIGTERM)), 0);
	family_close(&f);
}

/* In batch mode an answer that asked for durability waits for it, even when it
 * rests on what is in the log already. */
static int same_again(struct wal_family *f, void *arg)
{
	struct load_parts p;
	struct draft d;
	struct outcome o;
	enum err err;
	bool durable;

	(void)arg;
	load_draft(&d, &p, 0, 1);
	if (send_one(f, &d, 1, 0, &err, &o, &durable) || err != EG_E_OK || durable)
		return 21;
	if (send_one(f, &d, 1, EG_SUBMIT_DURABLE, &err, &o, &durable) || err != EG_E_OK)
		return 22;
	return durable ? 0 : 23;
}

static void test_durable_on_request(void **state)
{
	char *overrides[] = { (char[]){ "wal.sync_mode=batch" }, (char[]){ "wal.flush_interval_ms=10000" } };
	struct wal_family f;

	(void)state;
	family_open(&f, overrides, 2);
	family_start_wal(&f);
	assert_int_equal(load_status(family_child(&f, 2, same_again, NULL)), 0);
	family_close(&f);
}

/* ---- broken processes --------------------------------------------------------------- */

enum nonsense { HEAD_FAR, FILLERS, LENGTH, OPS, SEQUENCE, FUTURE, SPACE_IN_A_BATCH, TYPES, HEAD_ODD };

static void ruin(enum nonsense how, struct lane_entry *e, struct lane_op *op, uint8_t *ring, size_t size)
{
	struct record *r = (struct record *)(void *)(op + 1);

	switch (how) {
	case FILLERS:
		for (size_t at = 0; at < size; at += 64)
			*(struct lane_entry *)(void *)(ring + at) = (struct lane_entry){ .magic = EG_LANE_FILLER, .bytes = 64 };
		break;
	case LENGTH:
		e->bytes = UINT32_MAX - 63;
		break;
	case OPS:
		e->n_ops = 100;
		break;
	case SEQUENCE:
		e->seq += 5;
		break;
	case FUTURE:
		e->stamp_ns = UINT64_MAX / 2;
		break;
	case SPACE_IN_A_BATCH:
		((struct record *)(void *)((uint8_t *)op + op->bytes + sizeof *op))->type = EG_RECORD_SPACE_DELETE;
		break;
	case TYPES:
		r->memory_type = 200;
		break;
	default:
		break;
	}
}

static int broken(struct wal_family *f, void *arg)
{
	const enum nonsense how = *(enum nonsense *)arg;
	uint8_t *ring = desk_lane_ring(&f->desks, (unsigned)f->desks.self, 0);
	_Atomic uint64_t *head = desk_lane_head(&f->desks, (unsigned)f->desks.self, 0);
	uint64_t at;
	struct load_parts p[2];
	struct draft d[2];
	struct submit lane;
	struct ticket t;
	struct fault fault;
	struct lane_entry *e;
	static _Atomic uint64_t nowhere;

	/* Written as submit.c does, on a desk that looks like this one, then ruined. */
	submit_init(&lane, &f->desks, 0);
	at = lane.written;
	if ((at & (f->desks.lane_bytes - 1)) + 65536 > f->desks.lane_bytes)
		return 0;
	load_draft(&d[0], &p[0], 500, 1);
	load_draft(&d[1], &p[1], 501, 1);
	lane.head = &nowhere;
	if (submit_push(&lane, d, 2, 0, 100, &t, &fault) != EG_E_OK)
		return 20;
	e = (struct lane_entry *)(void *)(ring + (at & (f->desks.lane_bytes - 1)));
	ruin(how, e, (struct lane_op *)(void *)(e + 1), ring, f->desks.lane_bytes);
	atomic_store(head, how == HEAD_FAR ? UINT64_C(1) << 62 : how == HEAD_ODD ? lane.written + 1
	             : how == FILLERS ? UINT64_C(1) << 61 : lane.written);
	desk_ring_always(&f->desks, EG_DESK_WAL);
	return 0;
}

/* Whatever a lane says: the writer lives, others are served, and the desk can be
 * given to another process (but for the one whose head can be no lane's). */
static void test_broken_lanes(void **state)
{
	struct wal_family f;
	pid_t odd;

	(void)state;
	family_open(&f, NULL, 0);
	family_start_wal(&f);
	LOAD_RUN(&f, 2, load_send, .first = 0, .n = 20, .version = 1);
	for (enum nonsense how = 0; how < HEAD_ODD; how++) {
		assert_int_equal(load_status(family_child(&f, 2, broken, &how)), 0);
		assert_int_equal(waitpid(f.wal, NULL, WNOHANG), 0);
		LOAD_RUN(&f, 2, load_send, .first = 0, .n = 20, .version = how + 2);
	}
	odd = family_spawn(&f, 4, broken, &(enum nonsense){ HEAD_ODD });
	assert_int_equal(waitpid(odd, NULL, 0), odd);
	LOAD_RUN(&f, 2, load_send, .first = 0, .n = 20, .version = HEAD_ODD + 2);
	family_close(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_killed_in_recovery, fresh),
		cmocka_unit_test_setup(test_answered_by_the_third, fresh),
		cmocka_unit_test_setup(test_killed_in_an_answer, fresh),
		cmocka_unit_test_setup(test_batch_over_two_spaces, fresh),
		cmocka_unit_test_setup(test_refusals_leave_no_trace, fresh),
		cmocka_unit_test_setup(test_no_room, fresh),
		cmocka_unit_test_setup(test_durable_on_request, fresh),
		cmocka_unit_test_setup(test_broken_lanes, fresh),
	};

	trouble = mmap(NULL, sizeof *trouble, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (trouble == MAP_FAILED)
		return 1;
	if (getenv("ENGRAM_TEST_LOG") == NULL)
		(void)!freopen("/dev/null", "w", stderr);
	return cmocka_run_group_tests_name("wal crash", tests, NULL, NULL);
}
