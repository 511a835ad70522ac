/* Kills the processes of a real server at every fault point, singly and in pairs,
 * under load, and holds it to its word after each kill.
 *
 *	killsweep [N [SEED [POINT]]]    N kills; without arguments a short form, seed 2;
 *	                                POINT: only at points whose names begin so
 *
 * Clients store, overwrite, batch, delete, make and drop spaces, recall, and keep a
 * journal (journal.h). A point is armed in the page that the server's processes
 * share; what makes them pass it is found by trying (stimuli, below) and then known.
 * After each kill: the right processes have died and no other, all is ready again,
 * and what was touched since the last kill is what the journal says. Every AGE kills
 * all is killed, built from the log alone, twice, and compared as a whole; the next
 * data directory has another mode. Prints TAP and figures.
 */
#include <stdio.h>

#include "common/fault.h"

#ifdef EG_FAULTS

#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "common/err.h"
#include "t/sweep/sweep.h"

enum { CLIENTS = 4, AGE = 120, READY_S = 30, SHORT_KILLS = 12, SINGLE_KILLS = 60, TRIES = 7 };

/* ---- fault page */

static struct fault_slot *slot(unsigned i) { return &fault_page->slots[i]; }

static void disarm(void)
{
	for (unsigned i = 0; i < FAULT_SLOTS; i++) {
		fault_disarm(fault_page, i);
		atomic_store(&slot(i)->fired, 0);
		atomic_store(&slot(i)->pid, 0);
	}
}

static enum fault_action a_kill(struct sweep *w, enum fault_point p)
{
	static const enum fault_action kills[] = { FAULT_KILL, FAULT_AFTER, FAULT_TORN };
	enum fault_action a;

	do
		a = kills[sweep_pick(w, 3)];
	while ((fault_infos[p].actions & a) == 0);
	return a;
}

static void arm(struct sweep *w, unsigned i, const struct target *t, bool first_pass)
{
	static const uint32_t within[] = { 1, 1, 3, 10, 40 };

	fault_arm(fault_page, i, t->point, t->kind, a_kill(w, t->point),
	          first_pass ? 1 : 1 + (uint32_t)sweep_pick(w, within[sweep_pick(w, 5)]), 1);
}

/* ---- the server's life */

/* Another one each age, the second copy in two of five, graphs in one of three: linking takes time. */
static const char *const modes[] = {
	"wal.sync_mode=immediate", "wal.sync_mode=batch", "wal.sync_mode=immediate\nwal.apply_threads=3",
	"wal.sync_mode=immediate\nwal.use_direct_io=true",
};

void sweep_settings(struct sweep *w)
{
	int n;

	w->mirrored = w->ages % 5 >= 3;
	w->graphs = w->ages % 3 == 0;
	n = snprintf(w->settings, sizeof w->settings, "%s\nwal.segment_size_mb=%u\nwal.buffer_size_mb=4\n"
	             "wal.max_segments=8\nconsolidation.interval_seconds=1\nserver.drain_timeout_seconds=5\n"
	             "thread_pools.recall_workers=2\nstorage.use_huge_pages=false\nstorage.backup_dir=%s/backups\n"
	             "monitoring.slow_query_threshold_ms=60000\nembedding.dimension=64\nhnsw_index.exact_below=%u",
	             modes[w->ages % 4], w->segment_mb, w->s.dir, w->graphs ? 30 : 1000000);
	if (w->mirrored)
		snprintf(w->settings + n, sizeof w->settings - (size_t)n, "\nwal.mirror_dir=%s/mirror", w->s.dir);
	w->s.settings = w->settings;
}

void sweep_forget(struct sweep *w)
{
	char command[640];

	snprintf(command, sizeof command, "rm -rf '%s/mirror' '%s/backups' && mkdir '%s/mirror' '%s/backups'", w->s.dir,
	         w->s.dir, w->s.dir, w->s.dir);
	EG_ASSERT(system(command) == 0);
	w->backups = 0;
	load_forget(&w->load);
	served_forget(&w->s);
}

static bool start(struct sweep *w)
{
	for (unsigned i = 0; i < 4; i++) {
		served_start(&w->s);
		if (served_ready(&w->s, READY_S)) {
			load_down(&w->load, false);
			return true;
		}
		if (w->s.master > 0)
			served_kill_all(&w->s, true);
	}
	w->not_ready++;
	return false;
}

static void snapshot(struct sweep *w)
{
	w->n_before = served_family(&w->s, w->before, MEMBERS);
	w->n_struck = 0;
	w->workers_change = w->all_change = false;
}

static bool expected(const struct sweep *w, const struct member *m)
{
	if (w->all_change || (w->workers_change && m->kind == SERVED_WORKER))
		return true;
	for (unsigned i = 0; i < w->n_struck; i++)
		if (w->struck[i] == m->pid)
			return true;
	for (unsigned i = 0; i < FAULT_SLOTS; i++)
		if (atomic_load(&slot(i)->pid) == m->pid)
			return true;
	return false;
}

/* Who was there before and is not now has been killed by us. */
static void compare(struct sweep *w, const struct target *t)
{
	struct member now[MEMBERS];
	unsigned n = served_family(&w->s, now, MEMBERS);

	for (unsigned i = 0; i < w->n_before; i++) {
		bool there = false;

		for (unsigned k = 0; k < n; k++)
			there |= now[k].pid == w->before[i].pid;
		if (there || expected(w, &w->before[i]))
			continue;
		w->others++;
		printf("# %s %d is gone too, after %s in %s\n", served_kinds[w->before[i].kind], (int)w->before[i].pid,
		       fault_infos[t->point].name, served_kinds[t->kind]);
	}
}

/* ---- one kill */

static void mend(struct sweep *w)
{
	bool up;

	if (sweep_fired(0) && atomic_load(&slot(0)->kind) == SERVED_MASTER)
		w->all_change = true;
	if (sweep_fired(1) && atomic_load(&slot(1)->kind) == SERVED_MASTER)
		w->all_change = true;
	/* Whoever shall die has died. */
	for (unsigned i = 0; i < 2; i++)
		while (sweep_fired(i) && kill(atomic_load(&slot(i)->pid), 0) == 0 && !served_down(&w->s))
			served_pause_us(100);
	up = !served_down(&w->s) && served_ready(&w->s, w->all_change ? 4 : READY_S);
	if (!up && w->all_change) {
		if (w->s.master > 0)
			served_kill_all(&w->s, false);
		up = start(w);
	}
	if (!up) {
		w->not_ready++;
		printf("# not ready\n");
	}
	load_down(&w->load, false);
}

static void count(struct sweep *w, struct target *t, struct target *second)
{
	if (sweep_fired(0)) {
		w->kills++;
		t->kills++;
	}
	if (sweep_fired(1)) {
		w->kills++;
		second->kills++;
	}
	w->pairs += sweep_fired(0) && sweep_fired(1);
}

static struct target *a_second(struct sweep *w, const struct target *first)
{
	struct target *t;

	do
		t = &w->targets.v[sweep_pick(w, w->targets.n)];
	while (!t->known || t == first || t->kind == SERVED_MASTER || (target_of_graph(t) && !w->graphs));
	return t;
}

static void settle(struct sweep *w, const struct target *t)
{
	int64_t began = served_now_ns(), now;

	mend(w);
	w->spent_ns[1] += (now = served_now_ns()) - began;
	load_check(&w->load, false);
	w->spent_ns[2] += served_now_ns() - now;
	/* The second of a pair may have struck while we looked. */
	if (!served_ready(&w->s, READY_S))
		mend(w);
	compare(w, t);
	w->complaints += served_complaints(&w->s);
}

static bool try_one(struct sweep *w, struct target *t, enum stimulus stimulus)
{
	struct target *second = w->kills > SINGLE_KILLS && sweep_pick(w, 3) == 0 ? a_second(w, t) : NULL;
	int64_t began = served_now_ns();
	bool hit;

	snapshot(w);
	if (t->kind == SERVED_MASTER)
		load_down(&w->load, true);
	arm(w, 0, t, stimulus != BY_LOAD);
	if (second != NULL)
		arm(w, 1, second, second->stimulus != BY_LOAD);
	load_run(&w->load);
	stimulus_run(w, stimulus);
	w->spent_ns[0] += served_now_ns() - began;
	hit = sweep_fired(0);
	if (!hit)
		fault_disarm(fault_page, 0);
	/* A disk that failed once is no longer trusted for a minute by the same writer. */
	if (!hit && atomic_load(&slot(2)->action) != 0 && !served_down(&w->s))
		sweep_strike(w, SERVED_WAL, SIGKILL);
	fault_disarm(fault_page, 2);
	settle(w, t);
	hit = sweep_fired(0);
	count(w, t, second);
	disarm();
	return hit;
}

static void whole(struct sweep *w)
{
	uint64_t digest = 0;

	if (w->s.master > 0 && served_ready(&w->s, READY_S))
		load_check(&w->load, true);
	for (unsigned i = 0; i < 2; i++) {
		load_down(&w->load, true);
		served_kill_all(&w->s, true);
		if (!start(w))
			return;
		load_check(&w->load, true);
		if (i == 0)
			digest = load_list(&w->load);
		else if (digest != load_list(&w->load) && ++w->load.counts.corrupt)
			printf("# another digest after a second recovery\n");
	}
	w->twice++;
}

static void next_age(struct sweep *w)
{
	whole(w);
	if (load_wrong(&w->load) > 0)
		return;
	load_down(&w->load, true);
	served_kill_all(&w->s, true);
	w->ages++;
	w->age = 0;
	sweep_settings(w);
	sweep_forget(w);
	(void)start(w);
}

static bool sound(const struct sweep *w)
{
	return load_wrong(&w->load) == 0 && w->others == 0 && w->complaints == 0 && w->not_ready == 0;
}

static void tell(const struct sweep *w, const struct target *t, const char *by)
{
	if (getenv("ENGRAM_SWEEP_TELL") != NULL)
		printf("# %.1f s: %s in %s by %s\n", (double)(served_now_ns() - w->began) / 1e9, fault_infos[t->point].name,
		       served_kinds[t->kind], by);
}

static bool aim_by(struct sweep *w, struct target *t, enum stimulus by)
{
	if (!sound(w) || !try_one(w, t, by))
		return false;
	if (!t->known || t->stimulus != by)
		tell(w, t, stimulus_name(by));
	t->known = true;
	t->stimulus = by;
	w->age++;
	return true;
}

/* With what has worked before, or should: it may come too late now and then. If it never
 * has, with everything. */
static void aim(struct sweep *w, struct target *t)
{
	enum stimulus first = t->stimulus;

	for (unsigned i = 0; i < (w->brief ? 1 : 3); i++)
		if (aim_by(w, t, first))
			return;
	for (unsigned i = 0; i < STIMULI && !w->brief && !t->known; i++)
		if (i != first && aim_by(w, t, (enum stimulus)i))
			return;
	if (!t->known) {
		t->tried++;
		t->next_age = (unsigned)w->ages + 1;
	}
	tell(w, t, "nothing");
}

/* What was not reached is tried again in other modes, once in each age and seven times at most. */
static bool wanted_once(const struct sweep *w, const struct target *t)
{
	return t->tried < TRIES && target_elsewhere(t) == NULL
	       && strncmp(fault_infos[t->point].name, w->only, strlen(w->only)) == 0;
}

static bool wanted(const struct sweep *w, const struct target *t)
{
	return wanted_once(w, t) && (t->tried == 0 || t->next_age <= w->ages) && (!target_of_mirror(t) || w->mirrored)
	       && (!target_of_graph(t) || w->graphs);
}

static bool any_left(const struct sweep *w)
{
	bool some = false;

	for (unsigned i = 0; i < w->targets.n; i++)
		some |= wanted_once(w, &w->targets.v[i]);
	return some;
}

/* The short form visits some; the long one each, in another order each time. */
static void run(struct sweep *w, uint64_t n)
{
	unsigned at = (unsigned)sweep_pick(w, w->targets.n), stride = 37, idle = 0;

	while (w->targets.n % stride == 0)
		stride += 2;
	for (unsigned i = 0; w->kills < n && sound(w) && any_left(w); i++) {
		struct target *t = &w->targets.v[(at + i * stride) % w->targets.n];

		if (wanted(w, t)) {
			aim(w, t);
			idle = 0;
		}
		/* None is left for this age. */
		if (w->age >= AGE || ++idle > w->targets.n) {
			next_age(w);
			idle = 0;
		}
	}
	if (sound(w))
		whole(w);
}

/* ---- report */

static unsigned reached(const struct sweep *w, bool say, unsigned *all)
{
	unsigned n = 0;

	*all = 0;
	for (unsigned i = 0; i < w->targets.n; i++) {
		const struct target *t = &w->targets.v[i];
		const char *why = target_elsewhere(t);

		n += t->kills > 0;
		*all += why == NULL;
		if (!say)
			continue;
		if (t->kills > 0)
			printf("# %5u %-22s in %-13s by %s\n", t->kills, fault_infos[t->point].name, served_kinds[t->kind],
			       stimulus_name(t->stimulus));
		else
			printf("#     0 %-22s in %-13s %s\n", fault_infos[t->point].name, served_kinds[t->kind],
			       why ? why : "NOT REACHED");
	}
	return n;
}

static int report(struct sweep *w, int64_t began, bool full)
{
	struct counts *c = &w->load.counts;
	unsigned all, n = reached(w, full, &all);
	bool bad[3] = { load_wrong(&w->load) > 0, w->others + w->complaints + w->not_ready > 0, full && n < all };

	printf("# killsweep: seed %" PRIu64 ", %" PRIu64 " kills (%" PRIu64 " in pairs), targets %u of %u, %" PRIu64
	       " starts, %" PRIu64 " whole recoveries twice, %" PRIu64 " acknowledged, %" PRIu64 " unknown, %" PRIu64
	       " looked at, %.0f s (to strike %.0f, until ready %.0f, looking %.0f)\n", w->seed, w->kills, w->pairs, n, all,
	       w->s.starts, w->twice, atomic_load(&c->acked), atomic_load(&c->unknown), atomic_load(&c->checks),
	       (double)(served_now_ns() - began) / 1e9, (double)w->spent_ns[0] / 1e9, (double)w->spent_ns[1] / 1e9,
	       (double)w->spent_ns[2] / 1e9);
	printf("# lost %" PRIu64 ", phantom %" PRIu64 ", torn %" PRIu64 ", corrupt %" PRIu64 ", resurrected %" PRIu64
	       ", versions %" PRIu64 ", refused connects %" PRIu64 "; other processes restarted %" PRIu64
	       ", complaints %" PRIu64 ", not ready %" PRIu64 "\n", atomic_load(&c->lost), atomic_load(&c->phantom),
	       atomic_load(&c->torn), atomic_load(&c->corrupt), atomic_load(&c->resurrected), atomic_load(&c->order),
	       atomic_load(&c->refused_connects), w->others, w->complaints, w->not_ready);
	printf("%s 1 - nothing acknowledged is lost, nothing else is there\n", bad[0] ? "not ok" : "ok");
	printf("%s 2 - nobody else was restarted, all were replaced\n", bad[1] ? "not ok" : "ok");
	printf("%s 3 - every point was reached%s\n1..3\n", bad[2] ? "not ok" : "ok", full ? "" : " # SKIP short form");
	return bad[0] || bad[1] || bad[2];
}

int main(int argc, char **argv)
{
	static struct sweep w = { .seed = 2, .segment_mb = 1, .only = "" };
	uint64_t n = argc > 1 ? strtoull(argv[1], NULL, 10) : SHORT_KILLS;
	int64_t began = served_now_ns();
	char path[192];
	int status;

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (argc > 2)
		w.seed = strtoull(argv[2], NULL, 10);
	else if (argc > 1 && getrandom(&w.seed, 4, 0) != 4)
		return 2;
	if (argc > 3)
		w.only = argv[3];
	w.random = w.seed;
	w.began = began;
	w.brief = argc <= 1;
	printf("# killsweep: seed %" PRIu64 "\n", w.seed);
	served_init(&w.s, NULL, WORKERS);
	snprintf(path, sizeof path, "%s/faults", w.s.dir);
	fault_page = fault_page_open(path);
	EG_ASSERT(fault_page != NULL);
	targets_init(&w.targets);
	load_open(&w.load, CLIENTS, w.s.port, w.seed);
	client_init(&w.hand, w.s.port);
	sweep_settings(&w);
	sweep_forget(&w);
	if (start(&w))
		run(&w, n);
	status = report(&w, began, argc > 1 && argc < 4 && n >= 2000);
	load_close(&w.load);
	client_fini(&w.hand);
	if (status != 0)
		printf("# kept as it is: %s\n", w.s.dir);
	served_fini(&w.s, status != 0);
	return status;
}

#else

int main(void)
{
	puts("1..0 # SKIP configured without --enable-faults");
	return 0;
}

#endif
