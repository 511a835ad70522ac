/* Errors of one copy of the log: nobody notices, nothing is lost, and the copy is
 * made whole again by itself. fdatasync and pwrite are this program's own: they fail on
 * files below one of the two directories when the test says so.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clock.h"
#include "shm/epoch.h"
#include "shm/slot.h"
#include "t/unit/wal_family.h"
#include "wal/mirror.h"
#include "wal/submit.h"

struct control {
	char below[80];                /* files below this folder */
	_Atomic int sync_in, write_in; /* calls until one fails; 0 = none does */
	_Atomic bool sticky;           /* all do from then on */
	_Atomic unsigned failed, delay_us;
	_Atomic unsigned acked;
	_Atomic unsigned syncing, together; /* under way now; how often a second one began beside a first */
	int64_t ns[4000];
};
static struct control *control;

static bool below(int fd)
{
	char link[64], path[256];
	ssize_t n;

	snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
	n = readlink(link, path, sizeof path - 1);
	if (n < 0)
		return false;
	path[n] = 0;
	return strncmp(path, control->below, strlen(control->below)) == 0 && path[strlen(control->below)] == '/';
}

static bool due(_Atomic int *left, int fd)
{
	if (control == NULL || atomic_load(left) == 0 || !below(fd))
		return false;
	if (atomic_load(left) == 1 && atomic_load(&control->sticky))
		return true;
	return atomic_fetch_sub(left, 1) == 1;
}

int fdatasync(int fd)
{
	if (control != NULL && atomic_load(&control->delay_us) > 0) {
		if (atomic_fetch_add(&control->syncing, 1) == 1)
			atomic_fetch_add(&control->together, 1);
		usleep(atomic_load(&control->delay_us));
		atomic_fetch_sub(&control->syncing, 1);
	}
	if (due(&control->sync_in, fd)) {
		atomic_fetch_add(&control->failed, 1);
		errno = EIO;
		return -1;
	}
	return (int)syscall(SYS_fdatasync, fd);
}

ssize_t pwrite(int fd, const void *from, size_t n, off_t offset)
{
	if (due(&control->write_in, fd)) {
		atomic_fetch_add(&control->failed, 1);
		errno = EIO;
		return -1;
	}
	return syscall(SYS_pwrite64, fd, from, n, offset);
}

struct job { unsigned first, n; };

static int store_many(struct wal_family *f, void *arg)
{
	const struct job *j = arg;
	struct submit lane;

	submit_init(&lane, &f->desks, 0);
	for (unsigned i = 0; i < j->n; i++) {
		int64_t began = clock_mono_ns();

		if (family_store(f, &lane, j->first + i) != EG_E_OK)
			return 1;
		if (i < sizeof control->ns / sizeof control->ns[0])
			control->ns[i] = clock_mono_ns() - began;
		atomic_fetch_add(&control->acked, 1);
	}
	return 0;
}

/* Exit status 0 when the first n keys are there. */
static int count_all(struct wal_family *f, void *arg)
{
	const struct job *j = arg;
	struct store store;
	struct epoch e;
	struct fault fault;
	const struct space *sp;

	epoch_init(&e, &f->desks, 0);
	if (store_attach(&store, f->heritage.shm_prefix, f->heritage.boot_id, &fault) != EG_E_OK)
		return 1;
	epoch_enter(&e);
	sp = space_find(&store, "work", 4);
	for (unsigned i = 0; i < j->n; i++) {
		struct engram g;
		char id[32];

		snprintf(id, sizeof id, "m%u", i);
		if (sp == NULL || !slot_find(&store, sp, id, strlen(id), &g))
			return 3;
	}
	return 0;
}

static void run(struct wal_family *f, unsigned desk, int (*fn)(struct wal_family *, void *), struct job j)
{
	int status = family_child(f, desk, fn, &j);

	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

/* Ends when the test's own time is over (t/lib/Tally.pm): there is nothing to wait for but that. */
static void wait_state(struct wal_family *f, enum mirror_state state)
{
	while (atomic_load(&desk_wal(&f->desks)->mirror_state) != state)
		usleep(5000);
}

struct bench { struct wal_family f; char mirror[80]; };

static void open_both(struct bench *b)
{
	char text[128], *overrides[] = { text, (char[]){ "wal.segment_size_mb=1" } };

	memset(control, 0, sizeof *control);
	snprintf(b->mirror, sizeof b->mirror, "%s/engram-test-mirror-XXXXXX", getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
	assert_non_null(mkdtemp(b->mirror));
	snprintf(text, sizeof text, "wal.mirror_dir=%s", b->mirror);
	family_open(&b->f, overrides, 2);
	family_start_wal(&b->f);
	assert_true(b->f.wal > 0);
}

static void empty(const char *dir)
{
	char command[256];

	snprintf(command, sizeof command, "rm -rf %s/wal %s/warm %s/checkpoints %s/SUPERBLOCK", dir, dir, dir, dir);
	assert_int_equal(system(command), 0);
}

static void close_both(struct bench *b)
{
	char command[128];

	family_close(&b->f);
	snprintf(command, sizeof command, "rm -rf %s", b->mirror);
	assert_int_equal(system(command), 0);
}

/* One copy fails once, under load; both copies alone have everything afterwards. */
static void one_failure(bool in_mirror, bool sync, int nth)
{
	struct bench b;

	open_both(&b);
	snprintf(control->below, sizeof control->below, "%s", in_mirror ? b.mirror : b.f.dir);
	atomic_store(sync ? &control->sync_in : &control->write_in, nth);
	run(&b.f, 2, store_many, (struct job){ 0, 60 });
	assert_int_equal(atomic_load(&control->acked), 60);
	assert_int_equal(atomic_load(&control->failed), 1);
	assert_int_equal(atomic_load(&desk_wal(&b.f.desks)->state), EG_WAL_RUNNING);
	wait_state(&b.f, MIRROR_WHOLE);
	assert_int_equal(atomic_load(&desk_wal(&b.f.desks)->mirror_losses), 1);
	run(&b.f, 2, store_many, (struct job){ 60, 20 });
	for (unsigned k = 0; k < 2; k++) {
		(void)family_stop_wal(&b.f, SIGKILL);
		empty(k == 0 ? b.mirror : b.f.dir);
		family_reboot(&b.f, true);
		family_start_wal(&b.f);
		assert_true(b.f.wal > 0);
		run(&b.f, 3, count_all, (struct job){ 0, 80 });
	}
	close_both(&b);
}

static void test_one_sync_fails(void **state)
{
	(void)state;
	one_failure(true, true, 5);
	one_failure(false, true, 5);
}

static void test_one_write_fails(void **state)
{
	(void)state;
	one_failure(true, false, 5);
	one_failure(false, false, 5);
}

/* One copy fails for good: the service goes on; a restart finds what was stored
 * meanwhile; when the disk is back, the copy is made whole. */
static void gone(bool in_mirror)
{
	struct bench b;

	open_both(&b);
	run(&b.f, 2, store_many, (struct job){ 0, 20 });
	snprintf(control->below, sizeof control->below, "%s", in_mirror ? b.mirror : b.f.dir);
	atomic_store(&control->sticky, true);
	atomic_store(&control->sync_in, 1);
	atomic_store(&control->write_in, 1);
	run(&b.f, 2, store_many, (struct job){ 20, 40 });
	assert_int_equal(atomic_load(&desk_wal(&b.f.desks)->mirror_state), in_mirror ? MIRROR_LOST : MIRROR_MAIN_LOST);
	assert_int_equal(atomic_load(&desk_wal(&b.f.desks)->state), EG_WAL_RUNNING);
	atomic_store(&control->sync_in, 0);
	atomic_store(&control->write_in, 0);
	if (in_mirror)
		wait_state(&b.f, MIRROR_WHOLE);
	(void)family_stop_wal(&b.f, SIGKILL);
	family_reboot(&b.f, true);
	family_start_wal(&b.f);
	assert_true(b.f.wal > 0);
	run(&b.f, 3, count_all, (struct job){ 0, 60 });
	(void)family_stop_wal(&b.f, SIGTERM);
	empty(in_mirror ? b.f.dir : b.mirror);
	family_reboot(&b.f, true);
	family_start_wal(&b.f);
	assert_true(b.f.wal > 0);
	run(&b.f, 3, count_all, (struct job){ 0, 60 });
	close_both(&b);
}

static void test_mirror_is_gone(void **state)
{
	(void)state;
	gone(true);
}

static void test_data_directory_is_gone(void **state)
{
	(void)state;
	gone(false);
}

static int by_ns(const void *a, const void *b)
{
	const int64_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

static double median_ms(unsigned n)
{
	qsort(control->ns, n, sizeof control->ns[0], by_ns);
	return (double)control->ns[n / 2] / 1e6;
}

/* A commit takes as long as the slower copy, not as both: while one of them syncs, so
 * does the other. Judged by that, the times are printed. */
static void test_in_parallel(void **state)
{
	struct bench b;
	struct wal_family alone;
	double one, two;

	(void)state;
	family_open(&alone, NULL, 0);
	family_start_wal(&alone);
	run(&alone, 2, store_many, (struct job){ 0, 200 });
	one = median_ms(200);
	family_close(&alone);
	open_both(&b);
	run(&b.f, 2, store_many, (struct job){ 0, 200 });
	two = median_ms(200);
	atomic_store(&control->delay_us, 5000);
	run(&b.f, 2, store_many, (struct job){ 200, 100 });
	atomic_store(&control->delay_us, 0);
	print_message("# a store, median: %.2f ms with one copy, %.2f ms with two; %.2f ms when each sync takes 5 ms longer;"
	              " %u of 100 commits synced both at the same time\n", one, two, median_ms(100),
	              atomic_load(&control->together));
	assert_true(atomic_load(&control->together) >= 90);
	close_both(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_one_sync_fails), cmocka_unit_test(test_one_write_fails),
		cmocka_unit_test(test_mirror_is_gone), cmocka_unit_test(test_data_directory_is_gone),
		cmocka_unit_test(test_in_parallel),
	};

	control = mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (getenv("ENGRAM_TEST_LOG") == NULL)
		(void)!freopen("/dev/null", "w", stderr);
	return cmocka_run_group_tests_name("wal mirror", tests, NULL, NULL);
}
