/* Kills the wal process, or the sender, at every fault point that they pass, singly
 * and in pairs, and holds the store against the history after each kill. The whole
 * server's other processes are contrib/sweep/killsweep's.
 *
 *	wal_killsweep [N [SEED]]        N kills; without arguments a short form, seed 2
 *
 * Prints TAP, and one line of figures. The same seed arms the same points.
 */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/fault.h"
#include "t/unit/wal_history.h"

#ifdef EG_FAULTS

#define SENDER 2u                      /* desks */
#define CHECKER 3u
#define PATIENCE 60u                   /* entries to wait for a point to be passed */
#define AGE 80u                       /* kills in one data directory */

/* Why a point is not passed here; the test of the whole server asks about all. */
static const struct { enum fault_point point; const char *why; } elsewhere[] = {
	{ FAULT_DESK_DRAINED, "" }, { FAULT_ACCESS_FOLDED, "" }, { FAULT_CONFIG_FOLLOWED, "" },
};

struct sweep {
	struct wal_family f;
	struct history *h;
	pid_t sender;
	char mirror[80], mirror_text[100];     /* the second copy's folder, "" = none */
	uint64_t seed, random;
	uint64_t kills, pairs, in_start, reboots, not_passed, wal_ended;
	uint32_t killed_at[FAULT_POINTS];
	bool at_start[FAULT_POINTS];   /* the load alone does not pass it: learned */
	unsigned age;
	enum fault_point point;
};

static bool ours(enum fault_point p)
{
	return strncmp(fault_infos[p].name, "WORKER_", 7) != 0 && strncmp(fault_infos[p].name, "MASTER_", 7) != 0
	       && strncmp(fault_infos[p].name, "CHECK_", 6) != 0 && strncmp(fault_infos[p].name, "MEND_", 5) != 0
	       && strncmp(fault_infos[p].name, "CONSOLIDATION_", 14) != 0 && p != FAULT_CHILD_BORN
	       && p != FAULT_CHILD_SEATED;
}

static bool senders(enum fault_point p) { return p == FAULT_SUBMIT_WRITTEN || p == FAULT_SUBMIT_PUBLISHED; }

static uint64_t pick(struct sweep *s, uint64_t n) { return history_random(&s->random) % n; }

static void disarm(void)
{
	for (unsigned k = 0; k < FAULT_SLOTS; k++)
		fault_disarm(fault_page, k);
}

static void start_wal(struct sweep *s)
{
	for (unsigned i = 0; i < 8 && s->f.wal <= 0; i++) {
		if (i == 6)            /* a point of the start itself, armed for ever */
			disarm();
		family_start_wal(&s->f);
		s->in_start += s->f.wal <= 0;
	}
	if (s->f.wal > 0)
		return;
	printf("Bail out! the wal process does not start any more, seed %" PRIu64 ", point %s, %s\n", s->seed,
	       fault_infos[s->point].name, s->f.dir);
	exit(1);
}

/* True: the wal process has ended. */
static bool wal_gone(struct sweep *s)
{
	int status;

	if (s->f.wal <= 0 || waitpid(s->f.wal, &status, WNOHANG) != s->f.wal)
		return false;
	s->f.wal = -1;
	s->wal_ended += !WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL;
	return true;
}

static void start_sender(struct sweep *s)
{
	atomic_store(&s->h->resting, 0);
	s->sender = family_spawn(&s->f, SENDER, history_send, s->h);
}

static void bury_sender(struct sweep *s, bool kill_it)
{
	EG_ASSERT(s->sender > 0);          /* kill(-1) would be for everybody */
	if (kill_it)
		kill(s->sender, SIGKILL);
	(void)family_reap(&s->f, SENDER, s->sender);
	s->sender = -1;
}

/* The sender rests; the writer is kept alive meanwhile, for it may wait for an answer. */
static void settle(struct sweep *s)
{
	atomic_store(&s->h->pause, 1);
	while (!atomic_load(&s->h->resting) && s->sender > 0) {
		if (wal_gone(s))
			start_wal(s);
		usleep(100);
	}
}

static void check(struct sweep *s)
{
	uint64_t before = history_wrong(s->h);
	int status = family_child(&s->f, CHECKER, history_check, s->h);

	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
		atomic_fetch_add(&s->h->corrupt, 1);
		printf("# the checker ended with %d\n", status);
	}
	if (history_wrong(s->h) != before)
		printf("# wrong after %s, kill %" PRIu64 ", broken %u\n", fault_infos[s->point].name, s->kills,
		       atomic_load(&s->h->broken));
}

static uint32_t fired(void)
{
	uint32_t n = 0;

	for (unsigned i = 0; i < 2; i++)
		n += atomic_load(&fault_page->slots[i].fired);
	return n;
}

static enum fault_action a_kill(struct sweep *s, enum fault_point p)
{
	static const enum fault_action kills[] = { FAULT_KILL, FAULT_AFTER, FAULT_TORN };
	enum fault_action a;

	do
		a = kills[pick(s, 3)];
	while ((fault_infos[p].actions & a) == 0);
	return a;
}

static void arm(struct sweep *s, unsigned slot, enum fault_point p)
{
	static const uint32_t within[] = { 1, 1, 3, 10, 40 };

	fault_arm(fault_page, slot, p, senders(p) ? 2 : 1, a_kill(s, p), 1 + (uint32_t)pick(s, within[pick(s, 5)]), 1);
}

/* Everything in memory and everybody is gone; from the log alone. */
static void reboot(struct sweep *s, bool forget)
{
	if (s->f.wal > 0)
		(void)family_stop_wal(&s->f, SIGKILL);
	bury_sender(s, true);
	/* With two copies, one of them may go as a whole. */
	if (forget && s->mirror[0] != '\0') {
		const char *gone = pick(s, 2) ? s->mirror : s->f.dir;

		family_remove_copy(gone);
	}
	family_reboot(&s->f, forget);
	start_wal(s);
	s->reboots++;
}

/* Twice from the log: the same store both times. */
static void check_digest(struct sweep *s)
{
	uint64_t first;

	check(s);
	first = atomic_load(&s->h->digest);
	(void)family_stop_wal(&s->f, SIGKILL);
	family_reboot(&s->f, true);
	start_wal(s);
	check(s);
	if (atomic_load(&s->h->digest) != first) {
		printf("# another digest after a second recovery\n");
		atomic_fetch_add(&s->h->corrupt, 1);
	}
}

static void open_family(struct sweep *s)
{
	char *overrides[] = { (char[]){ "wal.segment_size_mb=1" }, (char[]){ "wal.sync_mode=batch" },
		(char[]){ "wal.use_direct_io=true" } };
	char *mirrored[] = { overrides[0], s->mirror_text };
	unsigned mode = getenv("ENGRAM_MIRROR") != NULL ? 1 : (unsigned)(s->kills / AGE % 4);

	s->mirror[0] = '\0';
	if (mode == 1) {
		snprintf(s->mirror, sizeof s->mirror, "%s/engram-test-mirror-XXXXXX",
		         getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
		EG_ASSERT(mkdtemp(s->mirror) != NULL);
		snprintf(s->mirror_text, sizeof s->mirror_text, "wal.mirror_dir=%s", s->mirror);
		family_open(&s->f, mirrored, 2);
	} else {
		family_open(&s->f, overrides, mode == 0 ? 1 : mode);
	}
	history_reset(s->h);
	s->age = 0;
	start_wal(s);
	start_sender(s);
}

static void close_family(struct sweep *s)
{
	disarm();
	settle(s);
	check(s);
	bury_sender(s, true);
	family_close(&s->f);
	if (s->mirror[0] != '\0')
		family_remove(s->mirror);
}

/* The load runs until the armed point has killed somebody, or long enough. */
static bool under_load(struct sweep *s)
{
	uint64_t until = atomic_load(&s->h->entries) + PATIENCE;
	int64_t deadline = clock_mono_ns() + INT64_C(20000000000);

	atomic_store(&s->h->pause, 0);
	while (fired() == 0 && atomic_load(&s->h->entries) < until && clock_mono_ns() < deadline) {
		if (wal_gone(s))
			return true;
		usleep(50);
	}
	if (clock_mono_ns() >= deadline) {
		printf("# no progress in 20 s, point %s\n", fault_infos[s->point].name);
		atomic_fetch_add(&s->h->corrupt, 1);
	}
	return fired() > 0;
}

static void after_death(struct sweep *s)
{
	if (senders(s->point) && fired() > 0) {
		bury_sender(s, false);
		check(s);
		atomic_store(&s->h->pause, 1);
		start_sender(s);
	}
	if (s->f.wal > 0 && atomic_load(&fault_page->slots[0].pid) == s->f.wal)
		while (!wal_gone(s))
			usleep(50);
	if (s->f.wal <= 0)
		start_wal(s);
}

/* Disarmed. Whom a point has struck meanwhile, the second of a pair or one that other threads
 * of the wal process pass after its start, is replaced. */
static void alive(struct sweep *s)
{
	for (unsigned i = 0; i < 2; i++)
		while (s->f.wal > 0 && atomic_load(&fault_page->slots[i].pid) == s->f.wal && !wal_gone(s))
			usleep(50);
	if (s->f.wal <= 0)
		start_wal(s);
}

/* A point of the start or of the end: end it, start it, from memory or from the log. */
static void at_start(struct sweep *s)
{
	if (pick(s, 2)) {
		settle(s);
		(void)family_stop_wal(&s->f, pick(s, 2) ? SIGTERM : SIGKILL);
		start_wal(s);
	}
	if (fired() == 0) {
		reboot(s, true);
		disarm();
		alive(s);
		check(s);
		atomic_store(&s->h->pause, 1);
		start_sender(s);
	}
}

static void count(struct sweep *s)
{
	for (unsigned i = 0; i < 2; i++) {
		struct fault_slot *slot = &fault_page->slots[i];

		if (atomic_load(&slot->fired) > 0) {
			s->kills++;
			s->killed_at[atomic_load(&slot->point)]++;
		}
	}
	s->pairs += atomic_load(&fault_page->slots[0].fired) > 0 && atomic_load(&fault_page->slots[1].fired) > 0;
}

static enum fault_point another(struct sweep *s)
{
	enum fault_point p;

	do
		p = (enum fault_point)pick(s, FAULT_POINTS);
	while (!ours(p) || senders(p));
	return p;
}

static void step(struct sweep *s, enum fault_point p)
{
	s->point = p;
	fault_disarm(fault_page, 1);
	atomic_store(&fault_page->slots[1].fired, 0);
	if (!senders(p) && pick(s, 3) == 0)
		arm(s, 1, another(s));
	arm(s, 0, p);
	if (!s->at_start[p] && !under_load(s))
		s->at_start[p] = fired() == 0;
	if (fired() == 0)
		at_start(s);
	after_death(s);
	count(s);
	s->not_passed += atomic_load(&fault_page->slots[0].fired) == 0;
	disarm();
	alive(s);
	settle(s);
	check(s);
	if (++s->age % 40 == 0) {
		reboot(s, true);
		check_digest(s);
		start_sender(s);
	}
	if (s->age >= AGE) {
		close_family(s);
		open_family(s);
	}
}

/* A point that only a young data directory passes: its first start is killed there. */
static void first_start(struct sweep *s, enum fault_point p)
{
	s->point = p;
	close_family(s);
	fault_arm(fault_page, 0, p, 1, a_kill(s, p), 1, 1);
	open_family(s);
	count(s);
	fault_disarm(fault_page, 0);
	atomic_store(&fault_page->slots[0].fired, 0);
}

static unsigned covered(const struct sweep *s, unsigned *all, bool say)
{
	unsigned n = 0;

	*all = 0;
	for (unsigned p = 0; p < FAULT_POINTS; p++) {
		bool known = !ours((enum fault_point)p);

		for (unsigned i = 0; i < sizeof elsewhere / sizeof elsewhere[0]; i++)
			known |= elsewhere[i].point == p;
		*all += !known;
		n += !known && s->killed_at[p] > 0;
		if (say && !known && s->killed_at[p] == 0)
			printf("# never killed at %s (%s)\n", fault_infos[p].name, fault_infos[p].where);
	}
	return n;
}

static void run(struct sweep *s, uint64_t n)
{
	while (s->kills < n && history_wrong(s->h) == 0)
		for (unsigned i = 0; i < FAULT_POINTS && s->kills < n && history_wrong(s->h) == 0; i++) {
			enum fault_point p = (enum fault_point)((i * 1009u + s->seed) % FAULT_POINTS);

			if (!ours(p))
				continue;
			if (strncmp(fault_infos[p].name, "SUPERBLOCK_", 11) == 0 || p == FAULT_DATADIR_FOLDER_SYNC
			    || p == FAULT_SPARES_LIST || pick(s, 60) == 0)
				first_start(s, p);
			else
				step(s, p);
		}
}

static int report(struct sweep *s, int64_t began)
{
	struct history *h = s->h;
	unsigned all, n = covered(s, &all, s->kills >= 1000);

	printf("# killsweep: seed %" PRIu64 ", %" PRIu64 " kills (%" PRIu64 " pairs, %" PRIu64 " while starting, %" PRIu64
	       " restarts from the log), points %u of %u, %" PRIu64 " entries, %" PRIu64 " checks, %.1f s\n", s->seed,
	       s->kills, s->pairs, s->in_start, s->reboots, n, all, atomic_load(&h->entries), atomic_load(&h->checks),
	       (double)(clock_mono_ns() - began) / 1e9);
	printf("# lost %" PRIu64 ", phantom %" PRIu64 ", torn %" PRIu64 ", corrupt %" PRIu64 ", broken answers %u,"
	       " other ends %" PRIu64 "\n", atomic_load(&h->lost), atomic_load(&h->phantom), atomic_load(&h->torn),
	       atomic_load(&h->corrupt), atomic_load(&h->broken), s->wal_ended);
	printf("%s 1 - nothing acknowledged is lost, nothing else is there\n", history_wrong(h) ? "not ok" : "ok");
	printf("%s 2 - the wal process ended by the kills alone\n1..2\n", s->wal_ended ? "not ok" : "ok");
	return history_wrong(h) != 0 || s->wal_ended != 0;
}

int main(int argc, char **argv)
{
	static struct sweep s = { .seed = 2 };
	uint64_t n = argc > 1 ? strtoull(argv[1], NULL, 10) : 20;
	int64_t began = clock_mono_ns();

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (getenv("ENGRAM_TEST_LOG") == NULL)
		(void)!freopen("/dev/null", "w", stderr);
	if (argc > 2)
		s.seed = strtoull(argv[2], NULL, 10);
	else if (argc > 1 && getrandom(&s.seed, 4, 0) != 4)
		return 2;
	s.random = s.seed;
	fault_page = fault_page_new();
	s.h = history_new(s.seed);
	open_family(&s);
	run(&s, n);
	if (history_wrong(s.h) == 0)
		close_family(&s);
	else
		printf("# kept as it is: %s\n", s.f.dir);
	return report(&s, began);
}

#else

int main(void)
{
	puts("1..0 # SKIP configured without --enable-faults");
	return 0;
}

#endif
