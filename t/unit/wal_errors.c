/* Errors of the disk: what was acknowledged stays, whatever call fails.
 *
 * fdatasync and pwrite are this program's own: they fail when the test says so,
 * through a page that it shares with the wal process.
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
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "shm/epoch.h"
#include "shm/slot.h"
#include "t/unit/wal_family.h"
#include "wal/submit.h"

struct control {                       /* calls until the one that fails; 0 = none does */
	_Atomic int sync_in, write_in, error;
	_Atomic unsigned failed, again;        /* again: syncs of a file whose sync had failed */
	_Atomic uint64_t failed_inode;
};
static struct control *control;

static bool due(_Atomic int *left)
{
	return control != NULL && atomic_load(left) > 0 && atomic_fetch_sub(left, 1) == 1;
}

/* The kernel has dropped what it could not write: a second sync would lie. */
static void watch_inode(int fd, bool fails)
{
	struct stat st;

	if (control == NULL || fstat(fd, &st) != 0)
		return;
	if (atomic_load(&control->failed_inode) == st.st_ino)
		atomic_fetch_add(&control->again, 1);
	if (fails)
		atomic_store(&control->failed_inode, st.st_ino);
}

int fdatasync(int fd)
{
	bool fails = due(&control->sync_in);

	watch_inode(fd, fails);
	if (fails) {
		atomic_fetch_add(&control->failed, 1);
		errno = atomic_load(&control->error);
		return -1;
	}
	return (int)syscall(SYS_fdatasync, fd);
}

ssize_t pwrite(int fd, const void *from, size_t n, off_t offset)
{
	if (due(&control->write_in)) {
		atomic_fetch_add(&control->failed, 1);
		errno = atomic_load(&control->error);
		return -1;
	}
	return syscall(SYS_pwrite64, fd, from, n, offset);
}

/* ---- one store after another; how it went */

struct stores { unsigned first, n; _Atomic unsigned acked, refused; };

static int store_many(struct wal_family *f, void *arg)
{
	struct stores *s = arg;
	struct submit lane;

	submit_init(&lane, &f->desks, 0);
	for (unsigned i = 0; i < s->n; i++) {
		if (family_store(f, &lane, s->first + i) == EG_E_OK)
			atomic_fetch_add(&s->acked, 1);
		else
			atomic_fetch_add(&s->refused, 1);
	}
	return 0;
}

/* Exit status 0 when exactly n memories live and the first n keys are among them. */
static int count_all(struct wal_family *f, void *arg)
{
	const struct stores *s = arg;
	struct store store;
	struct epoch e;
	struct fault fault;
	const struct space *sp;

	epoch_init(&e, &f->desks, 0);
	if (store_attach(&store, f->heritage.shm_prefix, f->heritage.boot_id, &fault) != EG_E_OK)
		return 1;
	epoch_enter(&e);
	sp = space_find(&store, "work", 4);
	if (sp == NULL)
		return s->n == 0 ? 0 : 2;
	for (unsigned i = 0; i < s->n; i++) {
		struct engram g;
		char id[32];

		snprintf(id, sizeof id, "m%u", i);
		if (!slot_find(&store, sp, id, strlen(id), &g))
			return 3;
	}
	return atomic_load(&sp->memories) >= s->n ? 0 : 4;
}

static struct stores *stores_new(unsigned first, unsigned n)
{
	struct stores *s = mmap(NULL, sizeof *s, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	assert_true(s != MAP_FAILED);
	s->first = first;
	s->n = n;
	return s;
}

static void run(struct wal_family *f, unsigned desk, int (*fn)(struct wal_family *, void *), void *arg)
{
	int status = family_child(f, desk, fn, arg);

	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

/* The nth sync (or write) fails once: nobody notices, and nothing is lost. */
static void one_failure(const char *mode, bool sync, int nth)
{
	char sync_mode[64];
	char *overrides[] = { sync_mode };
	struct stores *s = stores_new(0, 60);
	struct wal_family f;

	snprintf(sync_mode, sizeof sync_mode, "wal.sync_mode=%s", mode);
	family_open(&f, overrides, 1);
	family_start_wal(&f);
	atomic_store(&control->failed, 0);
	atomic_store(&control->failed_inode, 0);
	atomic_store(&control->error, EIO);
	atomic_store(sync ? &control->sync_in : &control->write_in, nth);
	run(&f, 2, store_many, s);
	assert_int_equal(atomic_load(&s->acked), 60);
	assert_int_equal(atomic_load(&desk_wal(&f.desks)->state), EG_WAL_RUNNING);
	assert_int_equal(atomic_load(&control->again), 0);
	(void)family_stop_wal(&f, SIGKILL);
	atomic_store(&control->failed_inode, 0);       /* a file of that number may come again */
	atomic_store(&control->sync_in, 0);
	atomic_store(&control->write_in, 0);
	family_reboot(&f, true);
	family_start_wal(&f);
	assert_true(f.wal > 0);
	run(&f, 3, count_all, s);
	family_close(&f);
	munmap(s, sizeof *s);
}

static void test_sync_fails_once(void **state)
{
	(void)state;
	for (int nth = 1; nth <= 9; nth += 4) {
		one_failure("immediate", true, nth);
		assert_int_equal(atomic_load(&control->failed), 1);
	}
}

static void test_write_fails_once(void **state)
{
	(void)state;
	for (int nth = 1; nth <= 9; nth += 4) {
		one_failure("immediate", false, nth);
		assert_int_equal(atomic_load(&control->failed), 1);
	}
	one_failure("batch", false, 5);
	assert_int_equal(atomic_load(&control->failed), 1);
}

/* It fails again at once: the store is read-only, reads go on, what was
 * acknowledged is there after a restart. */
static void test_disk_is_gone(void **state)
{
	struct stores *s = stores_new(0, 20), *later = stores_new(20, 20);
	struct wal_family f;

	(void)state;
	family_open(&f, NULL, 0);
	family_start_wal(&f);
	run(&f, 2, store_many, s);
	assert_int_equal(atomic_load(&s->acked), 20);
	atomic_store(&control->error, EIO);
	for (unsigned i = 0; i < 2; i++) {
		struct stores *one = stores_new(100 + i, 1);

		atomic_store(&control->sync_in, 1);
		run(&f, 2, store_many, one);
		munmap(one, sizeof *one);
	}
	atomic_store(&control->sync_in, 0);
	assert_int_equal(atomic_load(&desk_wal(&f.desks)->state), EG_WAL_READ_ONLY);
	run(&f, 2, store_many, later);
	assert_int_equal(atomic_load(&later->refused), 20);
	run(&f, 3, count_all, s);
	(void)family_stop_wal(&f, SIGKILL);
	family_reboot(&f, true);
	family_start_wal(&f);
	run(&f, 3, count_all, s);
	run(&f, 2, store_many, later);
	assert_int_equal(atomic_load(&later->acked), 20);
	family_close(&f);
	munmap(s, sizeof *s);
	munmap(later, sizeof *later);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sync_fails_once),
		cmocka_unit_test(test_write_fails_once),
		cmocka_unit_test(test_disk_is_gone),
	};

	control = mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (getenv("ENGRAM_TEST_LOG") == NULL)
		(void)!freopen("/dev/null", "w", stderr);
	return cmocka_run_group_tests_name("wal errors", tests, NULL, NULL);
}
