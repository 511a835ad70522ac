/* Backups under kills and failing calls at every fault point of theirs: a backup that
 * bears its name is whole, none that was not finished does, nothing of the store is lost,
 * and the next attempt succeeds and sweeps up. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <glob.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/fault.h"
#include "t/unit/wal_family.h"
#include "wal/check.h"
#include "wal/control.h"
#include "wal/restore.h"

enum { MEMORIES = 60, BASE = 10 };

struct ask { const char *to, *base; unsigned stores; };

/* Killed, and not waited for yet. */
static bool dead(const struct wal_family *f)
{
	char path[64], state[512] = "";
	FILE *in;

	snprintf(path, sizeof path, "/proc/%d/stat", (int)f->wal);
	in = fopen(path, "r");
	if (in == NULL)
		return true;
	(void)!fgets(state, sizeof state, in);
	fclose(in);
	return strstr(state, ") Z ") != NULL;
}

/* Child: store a few, ask for a backup, wait until it has ended or the writer has. The
 * exit status: 0 made, 1 not made, 2 the writer died. */
static int asking(struct wal_family *f, void *arg)
{
	const struct ask *a = arg;
	struct control c = { .what = EG_CONTROL_BACKUP };
	const struct backup_page *p = &desk_wal(&f->desks)->backup;
	struct submit lane;
	struct ticket t;
	struct draft d;
	struct fault fault;
	enum err err = EG_E_OK;
	uint64_t demand, lsn;
	bool durable;

	submit_init(&lane, &f->desks, 0);
	for (unsigned i = 0; i < a->stores; i++)
		if (family_store(f, &lane, i) != EG_E_OK)
			return 3;
	snprintf(c.name, sizeof c.name, "%s", a->to);
	snprintf(c.base, sizeof c.base, "%s", a->base);
	control_draft(&c, &d);
	/* A new writer goes on with what its predecessor was asked for: then there is one under way. */
	do {
		if (submit_push(&lane, &d, 1, 0, 5000, &t, &fault) != EG_E_OK)
			return 4;
		for (; !submit_poll(&t, &err, &lsn, &durable); usleep(100))
			if (dead(f))
				return 2;
	} while (err == EG_E_OK && submit_outcome(&t, 0).err == EG_E_CONFLICT);
	if (err != EG_E_OK || submit_outcome(&t, 0).err != EG_E_OK)
		return 5;
	demand = submit_outcome(&t, 0).version;
	for (; atomic_load(&p->answered) < demand; usleep(100))
		if (dead(f))
			return 2;
	/* It may have died of what it did behind the answer. */
	if (dead(f))
		return 2;
	return atomic_load(&p->err) == EG_E_OK ? 0 : 1;
}

/* Ask; a writer that died of it is replaced, for the desk to be drained. */
static int ask(struct wal_family *f, const char *to, const char *base, unsigned stores)
{
	struct ask a = { to, base, stores };
	pid_t pid = family_spawn(f, EG_DESK_FIRST, asking, &a);
	siginfo_t how = { 0 };
	int status;

	assert_int_equal(waitid(P_PID, (id_t)pid, &how, WEXITED | WNOWAIT), 0);
	if (how.si_code == CLD_EXITED && how.si_status == 2) {
		assert_int_equal(waitpid(f->wal, &status, 0), f->wal);
		assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
		family_start_wal(f);
	}
	status = family_reap(f, EG_DESK_FIRST, pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 100 + status;
}

static void path_of(const struct wal_family *f, const char *name, char out[160])
{
	snprintf(out, 160, "%s/backup/%s", f->dir, name);
}

/* What bears its name is whole. */
static bool whole(const struct wal_family *f, const char *name)
{
	struct check c = { 0 };
	struct manifest m;
	struct fault fault;
	char path[160];
	bool ok;
	int fd;

	path_of(f, name, path);
	fd = open(path, O_RDONLY | O_DIRECTORY);
	if (fd < 0)
		return false;
	assert_int_equal(manifest_read(&m, fd, &fault), EG_E_OK);
	assert_int_equal(check_run(&c, path, &fault), EG_E_OK);
	ok = !check_damaged(&c) && c.last_lsn == m.lsn && c.last_lsn >= MEMORIES;
	for (unsigned i = 0; i < c.n_troubles; i++)
		printf("# %s: %s\n", c.files[c.troubles[i].file].name, c.troubles[i].what);
	assert_true(ok);
	check_free(&c);
	manifest_free(&m);
	close(fd);
	return true;
}

static void family(struct wal_family *f)
{
	static char small[] = "wal.segment_size_mb=1", plain[] = "storage.use_huge_pages=false";
	char *const overrides[] = { small, plain };

	family_open(f, overrides, 2);
	family_start_wal(f);
	assert_int_equal(ask(f, "before", "", MEMORIES), 0);
	/* The next writer begins another segment: so the base has one that never changes again,
	 * and what is taken over from it does not hang on when an idle log got its witness. */
	assert_int_equal(family_stop_wal(f, SIGTERM), 0);
	family_start_wal(f);
	assert_int_equal(ask(f, "base", "", 1), 0);
	assert_true(whole(f, "base"));
}

#ifdef EG_FAULTS

static unsigned parts(const struct wal_family *f)
{
	char pattern[160];
	glob_t found;
	unsigned n;

	path_of(f, ".part-*", pattern);
	n = glob(pattern, 0, NULL, &found) == 0 ? (unsigned)found.gl_pathc : 0;
	globfree(&found);
	return n;
}

static bool ours(unsigned point, const char *of) { return strncmp(fault_infos[point].where, of, strlen(of)) == 0; }

/* One attempt with that done to it, and one without. True when it fired. */
static bool attempt(struct wal_family *f, unsigned point, enum fault_action action, unsigned round)
{
	char first[32], second[32];
	uint64_t fired;
	int how;

	snprintf(first, sizeof first, "a%u", round);
	snprintf(second, sizeof second, "b%u", round);
	fault_arm(fault_page, 0, (enum fault_point)point, FAULT_ANY, action, 1, 1);
	how = ask(f, first, round % 2 ? "base" : "", 1);
	fired = atomic_load(&fault_page->slots[0].fired);
	fault_disarm(fault_page, 0);
	atomic_store(&fault_page->slots[0].fired, 0);
	if (how == 2) {
		assert_true(action <= FAULT_TORN);
		(void)whole(f, first);
	} else if (how == 1) {
		assert_true(fired > 0);
		assert_false(whole(f, first));
	} else {
		assert_int_equal(how, 0);
		assert_true(whole(f, first));
	}
	assert_int_equal(ask(f, second, "base", 1), 0);
	assert_true(whole(f, second));
	assert_int_equal(parts(f), 0);
	return fired > 0;
}

static void test_faults(void **state)
{
	static const enum fault_action actions[] = { FAULT_KILL, FAULT_AFTER, FAULT_TORN, FAULT_EIO, FAULT_ENOSPC, FAULT_SHORT };
	unsigned round = 0, points = 0, silent = 0;
	struct wal_family f;

	(void)state;
	fault_page = fault_page_new();
	assert_non_null(fault_page);
	family(&f);
	for (unsigned p = 0; p < FAULT_POINTS; p++) {
		bool fired = false;

		if (!ours(p, "backup:"))
			continue;
		points++;
		for (unsigned a = 0; a < sizeof actions / sizeof actions[0]; a++)
			if (fault_infos[p].actions & actions[a])
				fired |= attempt(&f, p, actions[a], round++);
		if (!fired)
			printf("# %s was not passed\n", fault_infos[p].name);
		silent += !fired;
	}
	printf("# %u points, %u attempts\n", points, round);
	/* Checkpoints are not made here (t/backup.t has them), and sweeping comes after a fault. */
	assert_int_equal(silent, 3);
	family_close(&f);
}

/* Restoring: a failing call, or the death of the program, leaves no directory or the whole. */
static void test_restore(void **state)
{
	static const enum fault_action actions[] = { FAULT_KILL, FAULT_AFTER, FAULT_EIO, FAULT_ENOSPC };
	struct restored r;
	struct wal_family f;
	struct fault fault;
	char from[160], to[160];
	unsigned n = 0, fired = 0;

	(void)state;
	fault_page = fault_page_new();
	assert_non_null(fault_page);
	family(&f);
	path_of(&f, "base", from);
	for (unsigned p = 0; p < FAULT_POINTS; p++) {
		for (unsigned a = 0; a < sizeof actions / sizeof actions[0]; a++) {
			struct check c = { 0 };
			int status;
			pid_t pid;

			if ((!ours(p, "restore:") && !ours(p, "backup:")) || !(fault_infos[p].actions & actions[a]))
				continue;
			snprintf(to, sizeof to, "%s/restored%u", f.dir, n++);
			fault_arm(fault_page, 0, (enum fault_point)p, FAULT_ANY, actions[a], 1, 1);
			pid = fork();
			if (pid == 0)
				_exit(restore_run(from, to, &r, &fault) == EG_E_OK ? 0 : 1);
			assert_int_equal(waitpid(pid, &status, 0), pid);
			fired += atomic_load(&fault_page->slots[0].fired) > 0;
			fault_disarm(fault_page, 0);
			if (access(to, F_OK) != 0) {
				assert_true(status != 0);
				assert_int_equal(restore_run(from, to, &r, &fault), EG_E_OK);
				assert_true(r.timeline > 1);
			}
			assert_int_equal(check_run(&c, to, &fault), EG_E_OK);
			assert_false(check_damaged(&c));
			assert_true(c.last_lsn >= MEMORIES);
			check_free(&c);
		}
	}
	printf("# %u attempts, %u met their fault\n", n, fired);
	assert_true(fired > 20);
	family_close(&f);
}

#endif

static void test_plain(void **state)
{
	struct wal_family f;

	(void)state;
	family(&f);
	assert_int_equal(ask(&f, "base", "", 1), 1);      /* there is one of that name */
	assert_int_equal(ask(&f, "next", "nosuch", 1), 1);
	assert_int_equal(ask(&f, "../next", "", 1), 5);
	assert_int_equal(ask(&f, "next", "base", 1), 0);
	assert_true(whole(&f, "next"));
	family_close(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_plain),
#ifdef EG_FAULTS
		cmocka_unit_test(test_faults),
		cmocka_unit_test(test_restore),
#endif
	};

	setvbuf(stdout, NULL, _IOLBF, 0);      /* children shall not print it again */
	return cmocka_run_group_tests(tests, NULL, NULL);
}
