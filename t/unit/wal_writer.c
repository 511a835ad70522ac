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
#include "t/unit/wal_family.h"
#include "wal/submit.h"

#define DIM 24u

struct spec { unsigned first, n, version; bool atomic; };

/* ---- in a child: send and read -------------------------------------------------- */

struct parts { char id[32], text[64]; float vector[DIM]; uint64_t terms[2]; };

static void make_draft(struct draft *d, struct parts *p, unsigned key, unsigned version)
{
	memset(d, 0, sizeof *d);
	snprintf(p->id, sizeof p->id, "m%u", key);
	snprintf(p->text, sizeof p->text, "text %u version %u", key, version);
	for (unsigned i = 0; i < DIM; i++)
		p->vector[i] = i == key % DIM ? 1.0f : 0.0f;
	p->terms[0] = ((uint64_t)key + 1) << 16 | 1;
	p->terms[1] = UINT64_C(0xfffffff) << 16 | version;
	d->head.type = EG_RECORD_PUT;
	d->head.dim = DIM;
	d->head.n_terms = 2;
	d->head.length = 2;
	d->head.confidence = 0.5f;
	d->head.digest = hash64(p->text, strlen(p->text), 1);
	d->head.fingerprint = key % 10 + 1;
	d->head.id_bytes = (uint16_t)strlen(p->id);
	d->head.packed_bytes = (uint32_t)strlen(p->text);
	d->head.raw_bytes = (uint32_t)strlen(p->text);
	d->space_id = "work";
	d->space_id_bytes = 4;
	d->id = p->id;
	d->vector = p->vector;
	d->terms = p->terms;
	d->packed = (const uint8_t *)p->text;
	draft_seal(d);
}

static void await(struct desks *d, struct ticket *t, enum err *err, uint64_t *lsn)
{
	struct pollfd p = { .fd = d->bell[d->self], .events = POLLIN };
	bool durable;

	while (!submit_poll(t, err, lsn, &durable)) {
		(void)poll(&p, 1, 1000);
		(void)desk_hush(d);
	}
}

/* Sends; every operation must be acknowledged with the version of the spec. */
static int send_all(struct wal_family *f, void *arg)
{
	const struct spec *s = arg;
	struct draft drafts[64];
	struct parts parts[64];
	struct submit lane;

	submit_init(&lane, &f->desks, 0);
	for (unsigned i = 0; i < s->n;) {
		unsigned n = s->n - i < 64 ? s->n - i : 64;
		struct ticket t;
		struct fault fault;
		enum err err;
		uint64_t lsn;

		for (unsigned k = 0; k < n; k++)
			make_draft(&drafts[k], &parts[k], s->first + i + k, s->version);
		if (submit_push(&lane, drafts, n, s->atomic ? EG_SUBMIT_ATOMIC : 0, 5000, &t, &fault) != EG_E_OK)
			return 10;
		await(&f->desks, &t, &err, &lsn);
		if (err != EG_E_OK || lsn == 0)
			return 11;
		for (unsigned k = 0; k < n; k++)
			if (submit_outcome(&t, k).err != EG_E_OK || submit_outcome(&t, k).version != s->version)
				return 12;
		submit_forget(&t);
		i += n;
	}
	return 0;
}

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
	await(&f->desks, &t, &err, &lsn);
	o = submit_outcome(&t, 0);
	submit_forget(&t);
	return err != EG_E_OK ? 21 : o.err != want ? 22 : want == EG_E_OK && o.version != version ? 23
	       : want == EG_E_OK && o.created != created ? 24 : 0;
}

static bool attach(struct wal_family *f, struct store *s, struct epoch *e)
{
	struct fault fault;

	epoch_init(e, &f->desks, 0);
	return store_attach(s, f->heritage.shm_prefix, f->heritage.boot_id, &fault) == EG_E_OK;
}

/* The store holds exactly memories first .. first + n - 1 in that version. */
static int check_all(struct wal_family *f, void *arg)
{
	const struct spec *s = arg;
	const struct space *sp;
	struct store store;
	struct epoch e;
	struct slot_walk walk;
	struct node_walk nodes;
	struct node_span span;
	struct engram g;
	unsigned live = 0, owners = 0;

	if (!attach(f, &store, &e))
		return 30;
	epoch_enter(&e);
	sp = space_find(&store, "work", 4);
	if (sp == NULL)
		return s->n == 0 ? 0 : 31;
	for (unsigned i = 0; i < s->n; i++) {
		char id[32], text[64];

		snprintf(id, sizeof id, "m%u", s->first + i);
		snprintf(text, sizeof text, "text %u version %u", s->first + i, s->version);
		if (!slot_find(&store, sp, id, strlen(id), &g))
			return 32;
		if (g.body->record.version != s->version || g.body->record.packed_bytes != strlen(text)
		    || memcmp(body_packed(g.body), text, strlen(text)) != 0)
			return 33;
		if (node_vector(&store, g.body) == NULL || node_vector(&store, g.body)[(s->first + i) % DIM] != 1.0f)
			return 34;
	}
	slot_walk(&store, sp, &walk);
	while (slot_next(&walk, &g))
		live++;
	node_walk(&store, sp, &nodes);
	while (node_next(&nodes, &span))
		for (unsigned i = 0; i < EG_CHUNK; i++)
			owners += atomic_load(&span.owners[i]) != EG_NODE_FREE;
	epoch_leave(&e);
	if (live != s->n || owners != s->n || atomic_load(&sp->memories) != s->n)
		return 35;
	return atomic_load(&store.root->counts.memories) == s->n ? 0 : 36;
}

static int status_of(int status) { return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + status; }

#define RUN(f, desk, fn, ...) \
	assert_int_equal(status_of(family_child(f, desk, fn, &(struct spec){ __VA_ARGS__ })), 0)

/* ---- tests ------------------------------------------------------------------------ */

static void test_store_and_restart(void **state)
{
	struct wal_family f;

	(void)state;
	family_open(&f, NULL, 0);
	family_start_wal(&f);
	assert_true(f.wal > 0);
	RUN(&f, 2, send_all, .first = 0, .n = 500, .version = 1);
	RUN(&f, 3, check_all, .first = 0, .n = 500, .version = 1);
	RUN(&f, 2, send_all, .first = 0, .n = 500, .version = 2, .atomic = true);
	RUN(&f, 3, check_all, .first = 0, .n = 500, .version = 2);
	assert_int_equal(status_of(family_stop_wal(&f, SIGTERM)), 0);
	family_reboot(&f, true);
	family_start_wal(&f);
	RUN(&f, 3, check_all, .first = 0, .n = 500, .version = 2);
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
		struct spec spec = { .first = 0, .n = 2000, .version = round, .atomic = round % 2 };
		pid_t sender = family_spawn(&f, 2, send_all, &spec);

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
		assert_int_equal(status_of(family_reap(&f, 2, sender)), 0);
		RUN(&f, 3, check_all, .first = 0, .n = 2000, .version = round);
	}
	(void)family_stop_wal(&f, SIGKILL);
	family_reboot(&f, true);
	family_start_wal(&f);
	RUN(&f, 3, check_all, .first = 0, .n = 2000, .version = 5);
	family_close(&f);
}

static int refusals(struct wal_family *f, void *arg)
{
	struct parts p;
	struct draft d;
	int bad;

	(void)arg;
	make_draft(&d, &p, 7, 1);
	if ((bad = one(f, &d, EG_E_OK, 1, true)) != 0)
		return bad;
	if ((bad = one(f, &d, EG_E_OK, 1, false)) != 0)     /* the same body: no new version */
		return bad;
	make_draft(&d, &p, 7, 2);
	d.expect_version = 9;
	if ((bad = one(f, &d, EG_E_PRECONDITION, 0, false)) != 0)
		return bad;
	d.expect_version = 1;
	if ((bad = one(f, &d, EG_E_OK, 2, false)) != 0)
		return bad;
	make_draft(&d, &p, 8, 1);
	d.head.dim = DIM - 1;
	draft_seal(&d);
	if ((bad = one(f, &d, EG_E_DIMENSION, 0, false)) != 0)
		return bad;
	make_draft(&d, &p, 7, 2);
	d.head.type = EG_RECORD_DELETE;
	d.head.dim = d.head.n_terms = d.head.packed_bytes = 0;
	draft_seal(&d);
	if ((bad = one(f, &d, EG_E_OK, 2, false)) != 0)
		return bad;
	if ((bad = one(f, &d, EG_E_NOT_FOUND, 0, false)) != 0)
		return bad;
	make_draft(&d, &p, 7, 1);
	return one(f, &d, EG_E_OK, 1, true);
}

static void test_refusals(void **state)
{
	struct wal_family f;

	(void)state;
	family_open(&f, NULL, 0);
	family_start_wal(&f);
	assert_int_equal(status_of(family_child(&f, 2, refusals, NULL)), 0);
	RUN(&f, 3, check_all, .first = 7, .n = 1, .version = 1);
	family_close(&f);
}

/* A bad operation in an atomic entry: nothing of it happens. */
static int torn_batch(struct wal_family *f, void *arg)
{
	struct draft d[3];
	struct parts p[3];
	struct submit lane;
	struct ticket t;
	struct fault fault;
	enum err err;
	uint64_t lsn;

	(void)arg;
	for (unsigned i = 0; i < 3; i++)
		make_draft(&d[i], &p[i], 100 + i, 1);
	d[2].head.dim = 3;
	draft_seal(&d[2]);
	submit_init(&lane, &f->desks, 0);
	if (submit_push(&lane, d, 3, EG_SUBMIT_ATOMIC, 1000, &t, &fault) != EG_E_OK)
		return 40;
	await(&f->desks, &t, &err, &lsn);
	submit_forget(&t);
	return err == EG_E_DIMENSION && lsn == 0 ? 0 : 41;
}

static void test_atomic(void **state)
{
	struct wal_family f;

	(void)state;
	family_open(&f, NULL, 0);
	family_start_wal(&f);
	RUN(&f, 2, send_all, .first = 0, .n = 10, .version = 1);
	assert_int_equal(status_of(family_child(&f, 2, torn_batch, NULL)), 0);
	RUN(&f, 3, check_all, .first = 0, .n = 10, .version = 1);
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
		RUN(&f, 2, send_all, .first = 0, .n = 3000, .version = v);
	assert_true(atomic_load(&desk_wal(&f.desks)->segments) > 3);
	(void)family_stop_wal(&f, SIGKILL);
	family_reboot(&f, true);
	family_start_wal(&f);
	RUN(&f, 3, check_all, .first = 0, .n = 3000, .version = 4);
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
	RUN(&f, 2, send_all, .first = 0, .n = 1000, .version = 1);
	for (unsigned v = 2; v <= 4; v++) {
		(void)family_stop_wal(&f, SIGKILL);
		family_reboot(&f, false);
		family_start_wal(&f);
		assert_true(f.wal > 0);
		/* Kept, not read again: nothing of the log had to be applied. */
		assert_int_equal(atomic_load(&desk_wal(&f.desks)->recovered_records), 0);
		RUN(&f, 3, check_all, .first = 0, .n = 1000, .version = v - 1);
		RUN(&f, 2, send_all, .first = 0, .n = 1000, .version = v);
		RUN(&f, 3, check_all, .first = 0, .n = 1000, .version = v);
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
	RUN(&f, 2, send_all, .first = 0, .n = 300, .version = 1);
	(void)family_stop_wal(&f, SIGSEGV);
	family_start_wal(&f);
	assert_int_equal(atomic_load(&desk_wal(&f.desks)->recovered_records), 0);
	RUN(&f, 3, check_all, .first = 0, .n = 300, .version = 1);

	damage(&f, "text 200 version 1");
	(void)family_stop_wal(&f, SIGABRT);
	family_start_wal(&f);
	assert_true(atomic_load(&desk_wal(&f.desks)->recovered_records) >= 300);
	RUN(&f, 3, check_all, .first = 0, .n = 300, .version = 1);
	RUN(&f, 2, send_all, .first = 0, .n = 300, .version = 2);
	RUN(&f, 3, check_all, .first = 0, .n = 300, .version = 2);
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
	RUN(&f, 2, send_all, .first = 0, .n = 100, .version = 1);
	(void)family_stop_wal(&f, SIGKILL);
	snprintf(command, sizeof command, "cp -a %s/wal %s/kept", f.dir, f.dir);
	assert_int_equal(system(command), 0);
	family_reboot(&f, false);
	family_start_wal(&f);
	RUN(&f, 2, send_all, .first = 0, .n = 100, .version = 2);
	(void)family_stop_wal(&f, SIGKILL);
	snprintf(command, sizeof command, "rm -r %s/wal && mv %s/kept %s/wal", f.dir, f.dir, f.dir);
	assert_int_equal(system(command), 0);
	family_reboot(&f, false);
	family_start_wal(&f);
	RUN(&f, 3, check_all, .first = 0, .n = 100, .version = 1);
	assert_true(segment_files(&f) >= 1);
	family_close(&f);
}

/* ---- nobody else can write --------------------------------------------------------- */

static int write_store(struct wal_family *f, void *arg)
{
	struct store s;
	struct epoch e;

	(void)arg;
	if (!attach(f, &s, &e))
		return 50;
	*(volatile uint8_t *)s.slot.base = 1;      /* must not survive this */
	return 51;
}

static int unprotect_store(struct wal_family *f, void *arg)
{
	struct store s;
	struct epoch e;

	(void)arg;
	if (!attach(f, &s, &e))
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
	RUN(&f, 2, send_all, .first = 0, .n = 50, .version = 1);
	status = family_child(&f, 2, write_store, NULL);
#ifdef EG_SANITIZE
	assert_true(!WIFEXITED(status) || WEXITSTATUS(status) == 1);   /* the sanitizer's own exit */
#else
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
#endif
	assert_int_equal(status_of(family_child(&f, 2, unprotect_store, NULL)), 0);
	RUN(&f, 3, check_all, .first = 0, .n = 50, .version = 1);
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
