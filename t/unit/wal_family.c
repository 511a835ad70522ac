/* The small family, see the header. */
#include "t/unit/wal_family.h"

#include <dirent.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/fault.h"
#include "common/log.h"
#include "shm/region.h"
#include "wal/writer.h"

#define DESKS 6u

static void fill_heritage(struct wal_family *f)
{
	struct stat st;

	memset(&f->heritage, 0, sizeof f->heritage);
	EG_ASSERT(stat(f->dir, &st) == 0);
	f->heritage.config = f->config;
	f->heritage.desks = &f->desks;
	f->heritage.desk = EG_DESK_WAL;
	f->heritage.parent_pid = getpid();
	EG_ASSERT(getrandom(&f->heritage.boot_id, 8, 0) == 8);
	snprintf(f->heritage.shm_prefix, sizeof f->heritage.shm_prefix, "/engram-test-%llx-",
	         (unsigned long long)st.st_ino);
}

static void make_desks(struct wal_family *f)
{
	struct fault fault;

	EG_ASSERT(desks_new(&f->desks, DESKS, 2, 2, (size_t)f->config->wal_buffer_size_mb << 20, &fault) == EG_E_OK);
	for (unsigned k = 0; k < DESKS; k++)
		atomic_store(&desk_master(&f->desks)->seats[k].state, k < EG_DESK_FIRST ? EG_DESK_BUSY : EG_DESK_FREE);
}

void family_open(struct wal_family *f, char *const overrides[], size_t n)
{
	static struct config_messages said;
	char data[128], *all[16];

	memset(f, 0, sizeof *f);
	snprintf(f->dir, sizeof f->dir, "%s/engram-test-XXXXXX", getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
	EG_ASSERT(mkdtemp(f->dir) != NULL && n < 15);
	snprintf(data, sizeof data, "server.data_dir=%s", f->dir);
	for (size_t i = 0; i < n; i++)
		all[i] = overrides[i];
	all[n] = data;
	f->config = config_load_stream(fopen("/dev/null", "r"), "test", all, n + 1, &said);
	if (f->config == NULL)
		config_messages_print(&said, stderr);
	EG_ASSERT(f->config != NULL);
	make_desks(f);
	fill_heritage(f);
}

static void empty_tree(const char *path)
{
	DIR *dir = opendir(path);
	struct dirent *entry;

	while (dir != NULL && (entry = readdir(dir)) != NULL) {
		char inner[512];

		if (entry->d_name[0] == '.')
			continue;
		snprintf(inner, sizeof inner, "%s/%s", path, entry->d_name);
		if (unlink(inner) != 0) {
			empty_tree(inner);
			rmdir(inner);
		}
	}
	if (dir != NULL)
		closedir(dir);
}

void family_empty(struct wal_family *f) { empty_tree(f->dir); }

void family_remove(const char *path) {
	empty_tree(path);
	rmdir(path);
}

void family_remove_copy(const char *path)
{
	static const char *const parts[] = { "wal", "warm", "spare", "tmp", "checkpoints" };
	char inner[512];

	for (unsigned i = 0; i < sizeof parts / sizeof parts[0]; i++) {
		snprintf(inner, sizeof inner, "%s/%s", path, parts[i]);
		empty_tree(inner);
		rmdir(inner);
	}
	snprintf(inner, sizeof inner, "%s/SUPERBLOCK", path);
	unlink(inner);
}

void family_close(struct wal_family *f)
{
	if (f->wal > 0)
		(void)family_stop_wal(f, SIGTERM);
	(void)region_unlink_all(f->heritage.shm_prefix);
	desks_free(&f->desks);
	config_free(f->config);
	empty_tree(f->dir);
	rmdir(f->dir);
}

void family_reboot(struct wal_family *f, bool forget)
{
	if (forget)
		(void)region_unlink_all(f->heritage.shm_prefix);
	desks_free(&f->desks);
	make_desks(f);
	fill_heritage(f);
}

/* cmocka's handlers belong to the test, not to its children. */
static void plain_signals(void)
{
	const int numbers[] = { SIGSEGV, SIGBUS, SIGABRT, SIGFPE, SIGILL };

	for (unsigned i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
		signal(numbers[i], SIG_DFL);
	prctl(PR_SET_PDEATHSIG, SIGKILL);  /* a failed test leaves nobody behind */
}

static void sit(struct wal_family *f, unsigned desk)
{
	struct seat *s = &desk_master(&f->desks)->seats[desk];

	atomic_fetch_add(&s->incarnation, 1);
	atomic_store(&s->state, EG_DESK_BUSY);
	f->heritage.desk = desk;
	f->heritage.incarnation = atomic_load(&s->incarnation);
}

void family_start_wal(struct wal_family *f)
{
	struct fault fault;

	sit(f, EG_DESK_WAL);
	f->wal = fork();
	EG_ASSERT(f->wal >= 0);
	if (f->wal == 0) {
		FAULT_KIND(EG_PROCESS_WAL);
		plain_signals();
		log_set_kind("wal process");
		EG_ASSERT(desk_take(&f->desks, EG_DESK_WAL, &fault) == EG_E_OK);
		exit(wal_main(&f->heritage));
	}
	/* Ready, or ended: whichever comes first. */
	while (!(atomic_load(&desk_header(&f->desks, EG_DESK_WAL)->pid) == f->wal
	         && atomic_load(&desk_header(&f->desks, EG_DESK_WAL)->ready))) {
		struct pollfd p = { .fd = f->desks.bell[EG_DESK_MASTER], .events = POLLIN };

		if (waitpid(f->wal, NULL, WNOHANG) == f->wal) {
			f->wal = -1;
			return;
		}
		(void)poll(&p, 1, 20);
		(void)desk_hush(&f->desks);
	}
}

int family_stop_wal(struct wal_family *f, int number)
{
	int status;

	EG_ASSERT(f->wal > 0);             /* kill(-1) would be for everybody */
	kill(f->wal, number);
	EG_ASSERT(waitpid(f->wal, &status, 0) == f->wal);
	f->wal = -1;
	return status;
}

pid_t family_spawn(struct wal_family *f, unsigned desk, int (*fn)(struct wal_family *, void *), void *arg)
{
	struct fault fault;
	pid_t pid;

	sit(f, desk);
	pid = fork();
	EG_ASSERT(pid >= 0);
	if (pid == 0) {
		FAULT_KIND(EG_PROCESS_WORKER);
		plain_signals();
		log_set_kind("test child");
		EG_ASSERT(desk_take(&f->desks, desk, &fault) == EG_E_OK);
		exit(fn(f, arg));
	}
	return pid;
}

/* It may have met a fault point meanwhile: who looks for it reaps it. */
static bool wal_lives(const struct wal_family *f)
{
	siginfo_t died = { .si_pid = 0 };

	return f->wal > 0 && waitid(P_PID, (id_t)f->wal, &died, WEXITED | WNOHANG | WNOWAIT) == 0 && died.si_pid == 0;
}

int family_reap(struct wal_family *f, unsigned desk, pid_t pid)
{
	struct seat *s = &desk_master(&f->desks)->seats[desk];
	int status;

	EG_ASSERT(waitpid(pid, &status, 0) == pid);
	atomic_store(&s->state, EG_DESK_DEAD);
	desk_ring_always(&f->desks, EG_DESK_WAL);
	while (wal_lives(f) && atomic_load(&desk_wal(&f->desks)->drained[desk]) != atomic_load(&s->incarnation)) {
		struct pollfd p = { .fd = f->desks.bell[EG_DESK_MASTER], .events = POLLIN };

		(void)poll(&p, 1, 20);
		(void)desk_hush(&f->desks);
	}
	atomic_store(&s->state, EG_DESK_FREE);
	return status;
}

int family_child(struct wal_family *f, unsigned desk, int (*fn)(struct wal_family *, void *), void *arg)
{
	return family_reap(f, desk, family_spawn(f, desk, fn, arg));
}

void family_await(struct desks *d, struct ticket *t, enum err *err, uint64_t *lsn)
{
	struct pollfd p = { .fd = d->bell[d->self], .events = POLLIN };
	int64_t deadline = clock_mono_ns() + INT64_C(120000000000);
	bool durable;

	while (!submit_poll(t, err, lsn, &durable)) {
		if (clock_mono_ns() > deadline) {
			fprintf(stderr, "no answer from the writer in two minutes\n");
			_exit(99);
		}
		(void)poll(&p, 1, 1000);
		(void)desk_hush(d);
	}
}

enum err family_store(struct wal_family *f, struct submit *lane, unsigned key)
{
	struct draft d = { .space_id = "work", .space_id_bytes = 4 };
	struct ticket t;
	struct fault fault;
	char id[32];
	enum err err;
	uint64_t lsn;

	snprintf(id, sizeof id, "m%u", key);
	d.id = id;
	d.head.type = EG_RECORD_PUT;
	d.head.id_bytes = (uint16_t)strlen(id);
	d.head.digest = key + 1;
	draft_seal(&d);
	err = submit_push(lane, &d, 1, 0, 5000, &t, &fault);
	if (err != EG_E_OK)
		return err;
	family_await(&f->desks, &t, &err, &lsn);
	if (err == EG_E_OK)
		err = submit_outcome(&t, 0).err;
	submit_forget(&t);
	return err;
}
