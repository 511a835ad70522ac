/* Damage to the last group of the log: what was acknowledged is not taken for a torn commit. An
 * idle log ends with a witness, one and no more, which costs no sync; where it is not there
 * yet, shared memory tells; and who accepts the loss is told which records are lost. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "common/clock.h"
#include "shm/metrics.h"
#include "t/unit/wal_dumped.h"
#include "t/unit/wal_tail.h"
#include "wal/mend.h"

/* With segments that are soon searched for a witness. */
static void open_small(struct wal_family *f)
{
	char *overrides[] = { (char[]){ "wal.segment_size_mb=1" } };

	family_open(f, overrides, 1);
}

static uint64_t counted(struct wal_family *f, unsigned m)
{
	return atomic_load(desk_counters(&f->desks, EG_DESK_WAL) + m);
}

static void flip_at(struct wal_family *f, const struct tail *t, uint64_t at)
{
	flip(f, t->path + strlen(f->dir) + 1, (off_t)at);
}

/* Until the writer has been round once more with nothing to do. */
static void await_beats(struct wal_family *f, unsigned n)
{
	_Atomic uint64_t *beat = &desk_header(&f->desks, EG_DESK_WAL)->beat_ns;
	int64_t deadline = clock_mono_ns() + INT64_C(60000000000);

	for (unsigned i = 0; i < n; i++)
		for (uint64_t seen = atomic_load(beat); atomic_load(beat) == seen; usleep(5000))
			assert_true(clock_mono_ns() < deadline);
}

/* One each time the log becomes idle; nothing is synced for it. */
static void test_one(void **state)
{
	struct wal_family f;
	struct tail first, later;
	uint64_t syncs;
	(void)state;

	open_small(&f);
	family_start_wal(&f);
	LOAD_RUN(&f, 2, load_send, .first = 0, .n = 10, .version = 1);
	syncs = counted(&f, M_DISK_TIME_SYNC + EG_DURATION_BUCKETS);
	tail_await_witness(&f);
	tail_look(&f, &first);
	await_beats(&f, 3);
	tail_look(&f, &later);
	assert_int_equal(later.end, first.end);
	assert_int_equal(counted(&f, M_DISK_TIME_SYNC + EG_DURATION_BUCKETS), syncs);   /* time that syncs took */
	assert_int_equal(first.end, first.witness + 4096);
	LOAD_RUN(&f, 2, load_send, .first = 10, .n = 1, .version = 1);
	tail_await_witness(&f);
	tail_look(&f, &later);
	assert_true(later.witness > first.end && later.lsn == first.lsn + 1);
	assert_true(counted(&f, M_WAL_WITNESSES) >= 2);
	/* And all of it is read again. */
	(void)family_stop_wal(&f, SIGKILL);
	family_reboot(&f, true);
	family_start_wal(&f);
	assert_true(f.wal > 0);
	LOAD_RUN(&f, 3, load_check, .first = 0, .n = 11, .version = 1);
	LOAD_RUN(&f, 2, load_send, .first = 11, .n = 9, .version = 1);
	(void)family_stop_wal(&f, SIGKILL);
	family_reboot(&f, false);
	family_start_wal(&f);
	assert_true(f.wal > 0);
	LOAD_RUN(&f, 3, load_check, .first = 0, .n = 20, .version = 1);
	family_close(&f);
}

/* Idle, killed, and no shared memory: a damaged last group is refused, a damaged witness
 * costs nothing, and recover names what is lost. */
static void test_witnessed(void **state)
{
	struct wal_family f;
	struct fault fault;
	struct tail t;
	struct mend m;
	(void)state;

	open_small(&f);
	family_start_wal(&f);
	LOAD_RUN(&f, 2, load_send, .first = 0, .n = 10, .version = 1);
	LOAD_RUN(&f, 2, load_send, .first = 10, .n = 1, .version = 1);
	tail_await_witness(&f);
	(void)family_stop_wal(&f, SIGKILL);
	tail_look(&f, &t);
	for (uint64_t at = t.group; at < t.witness; at += 500) {
		flip_at(&f, &t, at);
		assert_int_equal(status_of_start(&f), EX_DATAERR);
		flip_at(&f, &t, at);
	}
	flip_at(&f, &t, t.group + 200);
	assert_int_equal(mend_run(&m, f.dir, false, &fault), EG_E_OK);
	assert_int_equal(m.n_lost, 1);
	assert_int_equal(m.lost[0].first, t.lsn);
	assert_int_equal(m.lost[0].last, t.lsn);
	mend_free(&m);
	assert_int_equal(status_of_start(&f), EX_DATAERR);
	assert_int_equal(mend_run(&m, f.dir, true, &fault), EG_E_OK);
	mend_free(&m);
	family_reboot(&f, true);
	family_start_wal(&f);
	assert_true(f.wal > 0);
	LOAD_RUN(&f, 3, load_check, .first = 0, .n = 10, .version = 1);
	family_close(&f);
}

static void test_damaged_witness(void **state)
{
	struct wal_family f;
	struct tail t;
	(void)state;

	open_small(&f);
	family_start_wal(&f);
	LOAD_RUN(&f, 2, load_send, .first = 0, .n = 10, .version = 1);
	tail_await_witness(&f);
	(void)family_stop_wal(&f, SIGKILL);
	tail_look(&f, &t);
	flip_at(&f, &t, t.witness + 20);
	family_reboot(&f, true);
	family_start_wal(&f);
	assert_true(f.wal > 0);
	LOAD_RUN(&f, 3, load_check, .first = 0, .n = 10, .version = 1);
	family_close(&f);
}

/* No witness yet, but shared memory has what the log has not: refused, again and again, until the
 * memory is removed: then nothing tells, and the tail is cut. */
static void test_memory_tells(void **state)
{
	struct wal_family f;
	struct tail t;
	(void)state;

	open_small(&f);
	family_start_wal(&f);
	LOAD_RUN(&f, 2, load_send, .first = 0, .n = 10, .version = 1);
	LOAD_RUN(&f, 2, load_send, .first = 10, .n = 1, .version = 1);
	(void)family_stop_wal(&f, SIGKILL);
	tail_cut_witness(&f);
	tail_look(&f, &t);
	flip_at(&f, &t, t.group + 100);
	for (unsigned i = 0; i < 2; i++) {
		family_reboot(&f, false);
		family_start_wal(&f);
		assert_true(f.wal <= 0);
	}
	flip_at(&f, &t, t.group + 100);
	family_reboot(&f, false);
	family_start_wal(&f);
	assert_true(f.wal > 0);
	LOAD_RUN(&f, 3, load_check, .first = 0, .n = 11, .version = 1);
	family_close(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_one), cmocka_unit_test(test_witnessed), cmocka_unit_test(test_damaged_witness),
		cmocka_unit_test(test_memory_tells),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
