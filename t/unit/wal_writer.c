/* The writer from outside: changes go in through a lane, the store shows them,
 * and nothing that was acknowledged is lost when processes are killed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/hash.h"
#include "common/log.h"
#include "shm/epoch.h"
#include "shm/node.h"
#include "shm/slot.h"
#include "t/unit/wal_load.h"
#include "wal/submit.h"

static int one(struct wal_family *f, struct draft *d, enum err want, uint64_t version, bool created)
{
	struct submit lane;
	struct ticket t;
	struct fault fault;
	struct outcome o;
	enum err err;
	uint64_t lsn;

	submit_init(&lane, &f->desks, 0);
	if (submit_push(&lane, d, 1, 0, 5000, &t, &fault) != EG_E_OK)
		return 20;
	family_await(&f->desks, &t, &err, &lsn);
	o = submit_outcome(&t, 0);
	submit_forget(&t);
	return err != EG_E_OK ? 21 : o.err != want ? 22 : want == EG_E_OK && o.version != version ? 23
	       : want == EG_E_OK && o.created != created ? 24 : 0;
}

/* ---- tests ------------------------------------------------------------------------ */

static void test_store_and_restart(void **state)
{
	struct wal_family f;

	(void)state;
	family_open(&f, NULL, 0);
	family_start_wal(&f);
	assert_true(f.wal > 0);
	LOAD_RUN(&f, 2, load_send, .first = 0, .n = 500, .version = 1);
	LOAD_RUN(&f, 3, load_check, .first = 0, .n = 500, .version = 1);
	LOAD_RUN(&f, 2, load_send, .first = 0, .n = 500, .version = 2, .atomic = true);
	LOAD_RUN(&f, 3, load_check, .first = 0, .n = 500, .version = 2);
	assert_int_equal(load_status(family_stop_wal(&f, SIGTERM)), 0);
	family_reboot(&f, true);
	family_start_wal(&f);
	LOAD_RUN(&f, 3, load_check, .first = 0, .n = 500, .version = 2);
	family_close(&f);
}

/* The wal process is killed again and again; the same memory goes on. */
static void test_writer_killed(void **state)
{
	struct wal_family f;

	(void)state;
	family_open(&f, NULL, 0);
	family_start_wal(&f);
	for (unsigned round = 1; round <= 5; round++) {
		struct load spec = { .first = 0, .n = 2000, .version = round, .atomic = round % 2 };
		pid_t sender = family_spawn(&f, 2, load_send, &spec);

		/* While it sends: wait for progress of the log, then kill, five times. */
		for (unsigned k = 0; k < 5; k++) {
			uint64_t lsn = atomic_load(&desk_wal(&f.desks)->lsn);

			while (atomic_load(&desk_wal(&f.desks)->lsn) < lsn + 50
			       && atomic_load(&desk_wal(&f.desks)->lsn) < round * 2000)
				sched_yield();
			(void)family_stop_wal(&f, SIGKILL);
			family_start_wal(&f);
			assert_true(f.wal > 0);
		}
		assert_int_equal(load_status(family_reap(&f, 2, sender)), 0);
		LOAD_RUN(&f, 3, load_check, .first = 0, .n = 2000, .version = round);
	}
	(void)family_stop_wal(&f, SIGKILL);
	family_reboot(&f, true);
	family_start_wal(&f);
	LOAD_RUN(&f, 3, load_check, .first = 0, .n = 2000, .version = 5);
	family_close(&f);
}

static int refusals(struct wal_family *f, void *arg)
{
	struct load_parts p;
	struct draft d;
	int bad;

	(void)arg;
	load_draft(&d, &p, 7, 1);
	if ((bad = one(f, &d, EG_E_OK, 1, true)) != 0)
		return bad;
	if ((bad = one(f, &d, EG_E_OK, 1, false)) != 0)     /* the same body: no new version */
		return bad;
	load_draft(&d, &p, 7, 2);
	d.expect_version = 9;
	if ((bad = one(f, &d, EG_E_PRECONDITION, 0, false)) != 0)
		return bad;
	d.expect_version = 1;
	if ((bad = one(f, &d, EG_E_OK, 2, false)) != 0)
		return bad;
	load_draft(&d, &p, 8, 1);
	d.head.dim = LOAD_DIM - 1;
	draft_seal(&d);
	if ((bad = one(f, &d, EG_E_DIMENSION, 0, false)) != 0)
		return bad;
	load_draft(&d, &p, 7, 2);
	d.head.type = EG_RECORD_DELETE;
	d.head.dim = d.head.n_terms = d.head.packed_bytes = 0;
	draft_seal(&d);
	if ((bad = one(f, &d, EG_E_OK, 2, false)) != 0)
		return bad;
	if ((bad = one(f, &d, EG_E_NOT_FOUND, 0, false)) != 0)
		return bad;
	load_draft(&d, &p, 7, 1);
	return one(f, &d, EG_E_OK, 1, true);
}

static void test_refusals(void **state)
{
	struct wal_family f;

	(void)state;
	family_open(&f, NULL, 0);
	family_start_wal(&f);
	assert_int_equal(load_status(family_child(&f, 2, refusals, NULL)), 0);
	LOAD_RUN(&f, 3, load_check, .first = 7, .n = 1, .version = 1);
	family_close(&f);
}

/* A bad operation in an atomic entry: nothing of it happens. */
struct torn { unsigned dim; float number; enum err want; };

static int torn_batch(struct wal_family *f, void *arg)
{
	const struct torn *torn = arg;
	struct draft d[3];
	struct load_parts p[3];
	struct submit lane;
	struct ticket t;
	struct fault fault;
	enum err err;
	uint64_t lsn;

	for (unsigned i = 0; i < 3; i++)
		load_draft(&d[i], &p[i], 100 + i, 1);
	d[2].head.dim = (uint16_t)torn->dim;
	p[2].vector[1] = torn->number;
	draft_seal(&d[2]);
	submit_init(&lane, &f->desks, 0);
	if (submit_push(&lane, d, 3, EG_SUBMIT_ATOMIC, 1000, &t, &fault) != EG_E_OK)
		return 40;
	family_await(&f->desks, &t, &err, &lsn);
	submit_forget(&t);
	return err == torn->want && lsn == 0 ? 0 : 41;
}

static void test_atomic(void **state)
{
	struct torn torn[] = { { 3, 0, EG_E_DIMENSION }, { LOAD_DIM, NAN, EG_E_REQUEST }, { LOAD_DIM, INFINITY, EG_E_REQUEST } };
	struct wal_family f;

	(void)state;
	family_open(&f, NULL, 0);
	family_start_wal(&f);
	LOAD_RUN(&f, 2, load_send, .first = 0, .n = 10, .version = 1);
	for (unsigned i = 0; i < sizeof torn / sizeof torn[0]; i++)
		assert_int_equal(load_status(family_child(&f, 2, torn_batch, &torn[i])), 0);
	LOAD_RUN(&f, 3, load_check, .first = 0, .n = 10, .version = 1);
	family_close(&f);
}

/* Small segments: many rotations, and a restart reads them all. */
static void test_rotation(void **state)
{
	char *overrides[] = { (char[]){ "wal.segment_size_mb=1" }, (char[]){ "wal.sync_mode=batch" } };
	struct wal_family f;

	(void)state;
	family_open(&f, overrides, 2);
	family_start_wal(&f);
	for (unsigned v = 1; v <= 4; v++)
		LOAD_RUN(&f, 2, load_send, .first = 0, .n = 3000, .version = v);
	assert_true(atomic_load(&desk_wal(&f.desks)->segments) > 3);
	(void)family_stop_wal(&f, SIGKILL);
	family_reboot(&f, true);
	family_start_wal(&f);
	LOAD_RUN(&f, 3, load_check, .first = 0, .n = 3000, .version = 4);
	family_close(&f);
}

/* ---- the three recoveries ------------------------------------------------------------ */

static uint64_t segment_files(const struct wal_family *f)
{
	return atomic_load(&desk_wal(&f->desks)->segments);
}

/* The whole family dies; the next one finds the shared memory and keeps it. */
static void test_reattach(void **state)
{
	struct wal_family f;

	(void)state;
	family_open(&f, NULL, 0);
	family_start_wal(&f);
	LOAD_RUN(&f, 2, load_send, .first = 0, .n = 1000, .version = 1);
	for (unsigned v = 2; v <= 4; v++) {
		(void)family_stop_wal(&f, SIGKILL);
		family_reboot(&f, false);
		family_start_wal(&f);
		assert_true(f.wal > 0);
		/* Kept, not read again: nothing of the log had to be applied. */
		assert_int_equal(atomic_load(&desk_wal(&f.desks)->recovered_records), 0);
		LOAD_RUN(&f, 3, load_check, .first = 0, .n = 1000, .version = v - 1);
		LOAD_RUN(&f, 2, load_send, .first = 0, .n = 1000, .version = v);
		LOAD_RUN(&f, 3, load_check, .first = 0, .n = 1000, .version = v);
	}
	family_close(&f);
}

/* A byte of a body in shared memory, changed from outside. */
static void damage(struct wal_family *f, const char *text)
{
	char path[128];
	uint8_t *base, *at;
	long bytes = 4 << 20;
	int fd;

	snprintf(path, sizeof path, "/dev/shm%sheap", f->heritage.shm_prefix);
	fd = open(path, O_RDWR);
	assert_true(fd >= 0);
	bytes = lseek(fd, 0, SEEK_END);
	base = mmap(NULL, (size_t)bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	assert_true(base != MAP_FAILED);
	at = memmem(base, (size_t)bytes, text, strlen(text));
	assert_non_null(at);
	*at ^= 1;
	munmap(base, (size_t)bytes);
	close(fd);
}

/* A writer that did not die of a kill: everything is verified; what is damaged is
 * built anew from the log. */
static void test_crashed_writer(void **state)
{
	struct wal_family f;

	(void)state;
	family_open(&f, NULL, 0);
	family_start_wal(&f);
	LOAD_RUN(&f, 2, load_send, .first = 0, .n = 300, .version = 1);
	(void)family_stop_wal(&f, SIGSEGV);
	family_start_wal(&f);
	assert_int_equal(atomic_load(&desk_wal(&f.desks)->recovered_records), 0);
	LOAD_RUN(&f, 3, load_check, .first = 0, .n = 300, .version = 1);

	damage(&f, "text 200 version 1");
	(void)family_stop_wal(&f, SIGABRT);
	family_start_wal(&f);
	assert_true(atomic_load(&desk_wal(&f.desks)->recovered_records) >= 300);
	LOAD_RUN(&f, 3, load_check, .first = 0, .n = 300, .version = 1);
	LOAD_RUN(&f, 2, load_send, .first = 0, .n = 300, .version = 2);
	LOAD_RUN(&f, 3, load_check, .first = 0, .n = 300, .version = 2);
	family_close(&f);
}

/* Shared memory that is ahead of the log, as after an old copy of the data
 * directory was put back: the log decides. */
static void test_foreign_log(void **state)
{
	struct wal_family f;
	char command[512];

	(void)state;
	family_open(&f, NULL, 0);
	family_start_wal(&f);
	LOAD_RUN(&f, 2, load_send, .first = 0, .n = 100, .version = 1);
	(void)family_stop_wal(&f, SIGKILL);
	snprintf(command, sizeof command, "cp -a %s/wal %s/kept", f.dir, f.dir);
	assert_int_equal(system(command), 0);
	family_reboot(&f, false);
	family_start_wal(&f);
	LOAD_RUN(&f, 2, load_send, .first = 0, .n = 100, .version = 2);
	(void)family_stop_wal(&f, SIGKILL);
	snprintf(command, sizeof command, "rm -r %s/wal && mv %s/kept %s/wal", f.dir, f.dir, f.dir);
	assert_int_equal(system(command), 0);
	family_reboot(&f, false);
	family_start_wal(&f);
	LOAD_RUN(&f, 3, load_check, .first = 0, .n = 100, .version = 1);
	assert_true(segment_files(&f) >= 1);
	family_close(&f);
}

/* ---- nobody else can write --------------------------------------------------------- */

static int write_store(struct wal_family *f, void *arg)
{
	struct store s;
	struct epoch e;

	(void)arg;
	if (!load_attach(f, &s, &e))
		return 50;
	*(volatile uint8_t *)s.slot.base = 1;      /* must not survive this */
	return 51;
}

static int unprotect_store(struct wal_family *f, void *arg)
{
	struct store s;
	struct epoch e;

	(void)arg;
	if (!load_attach(f, &s, &e))
		return 50;
	if (mprotect(s.slot.base, 4096, PROT_READ | PROT_WRITE) == 0 || errno != EACCES)
		return 52;
	if (mprotect(desk_wal(&f->desks), 4096, PROT_READ | PROT_WRITE) == 0 || errno != EACCES)
		return 53;
	if (mprotect(desk_header(&f->desks, 4), 4096, PROT_READ | PROT_WRITE) == 0 || errno != EACCES)
		return 54;
	if (mprotect(desk_header(&f->desks, EG_DESK_MASTER), 4096, PROT_READ | PROT_WRITE) == 0 || errno != EACCES)
		return 55;
	return 0;
}

static void test_readers_cannot_write(void **state)
{
	struct wal_family f;
	int status;

	(void)state;
	family_open(&f, NULL, 0);
	family_start_wal(&f);
	LOAD_RUN(&f, 2, load_send, .first = 0, .n = 50, .version = 1);
	status = family_child(&f, 2, write_store, NULL);
#ifdef EG_SANITIZE
	assert_true(!WIFEXITED(status) || WEXITSTATUS(status) == 1);   /* the sanitizer's own exit */
#else
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
#endif
	assert_int_equal(load_status(family_child(&f, 2, unprotect_store, NULL)), 0);
	LOAD_RUN(&f, 3, load_check, .first = 0, .n = 50, .version = 1);
	family_close(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_store_and_restart),
		cmocka_unit_test(test_refusals),
		cmocka_unit_test(test_atomic),
		cmocka_unit_test(test_rotation),
		cmocka_unit_test(test_writer_killed),
		cmocka_unit_test(test_reattach),
		cmocka_unit_test(test_crashed_writer),
		cmocka_unit_test(test_foreign_log),
		cmocka_unit_test(test_readers_cannot_write),
	};

	if (getenv("ENGRAM_TEST_LOG") == NULL)
		(void)!freopen("/dev/null", "w", stderr);
	return cmocka_run_group_tests_name("wal writer", tests, NULL, NULL);
}
