/* Kills the processes of a real server at every fault point, singly and in pairs,
 * under load, and holds it to its word after each kill.
 *
 *	killsweep [N [SEED]]            N kills; without arguments a short form, seed 2
 *
 * Clients store, overwrite, batch, delete, make and drop spaces, recall, and keep a
 * journal (journal.h). A point is armed in the page that the server's processes
 * share; what makes them pass it is found by trying (stimuli, below) and then known.
 * After each kill: the right processes have died and no other, all is ready again,
 * and what was touched since the last kill is what the journal says. Every AGE kills
 * all is killed, built from the log alone, twice, and compared as a whole; the next
 * data directory has another mode. Prints TAP and figures.
 */
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "common/err.h"
#include "common/fault.h"
#include "t/sweep/journal.h"
#include "t/sweep/served.h"
#include "t/sweep/targets.h"

#ifdef EG_FAULTS

enum { CLIENTS = 4, WORKERS = 2, AGE = 120, MEMBERS = 32, READY_S = 30, SHORT_KILLS = 12 };

struct sweep {
	struct served s;
	struct load load;
	struct targets targets;
	uint64_t seed, random, kills, pairs, others, complaints, ages, twice, not_ready;
	unsigned age, segment_mb;
	struct member before[MEMBERS];
	unsigned n_before;
	pid_t struck[4];               /* killed by this program itself, to make somebody pass a point */
	unsigned n_struck;
	bool brief;                    /* the short form: where the first try fails it goes on elsewhere */
	bool workers_change, all_change;       /* a reload, or a death of the master */
	char settings[1024];
	int64_t spent_ns[4], began;
};

static uint64_t pick(struct sweep *w, uint64_t n) { return journal_random(&w->random) % n; }

/* ---- fault page */

static struct fault_slot *slot(unsigned i) { return &fault_page->slots[i]; }

static bool fired(unsigned i) { return atomic_load(&slot(i)->fired) > 0; }

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
		a = kills[pick(w, 3)];
	while ((fault_infos[p].actions & a) == 0);
	return a;
}

static void arm(struct sweep *w, unsigned i, const struct target *t, bool first_pass)
{
	static const uint32_t within[] = { 1, 1, 3, 10, 40 };

	fault_arm(fault_page, i, t->point, t->kind, a_kill(w, t->point),
	          first_pass ? 1 : 1 + (uint32_t)pick(w, within[pick(w, 5)]), 1);
}

/* ---- the server's life */

static void settings_for(struct sweep *w)
{
	static const char *const modes[] = { "wal.sync_mode=immediate", "wal.sync_mode=batch",
		"wal.sync_mode=immediate\nwal.use_direct_io=true", "wal.sync_mode=immediate\nwal.apply_threads=3" };

	snprintf(w->settings, sizeof w->settings, "%s\nwal.segment_size_mb=%u\nwal.buffer_size_mb=4\n"
	         "consolidation.interval_seconds=1\nserver.drain_timeout_seconds=5\nthread_pools.recall_workers=2\n"
	         "storage.use_huge_pages=false\nmonitoring.slow_query_threshold_ms=60000\nembedding.dimension=64",
	         modes[w->ages % 4], w->segment_mb);
	w->s.settings = w->settings;
}

static bool start(struct sweep *w)
{
	for (unsigned i = 0; i < 4; i++) {
		served_start(&w->s);
		if (served_ready(&w->s, READY_S)) {
			atomic_store(&w->load.down, false);
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

static void strike(struct sweep *w, enum served_kind kind, int number)
{
	pid_t pid = served_pid(&w->s, kind, kind == SERVED_WORKER ? (unsigned)pick(w, WORKERS) : 0);

	if (pid <= 0)
		return;
	EG_ASSERT(w->n_struck < 4);
	w->struck[w->n_struck++] = pid;
	kill(pid, number);
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

/* ---- stimuli: what makes somebody pass a point */

static bool await_ns(struct sweep *w, int64_t ns)
{
	int64_t deadline = served_now_ns() + ns;

	while (!fired(0) && !fired(1) && served_now_ns() < deadline)
		served_pause_us(100);
	(void)w;
	return fired(0);
}

#define MS INT64_C(1000000)

static void by_load(struct sweep *w) { await_ns(w, 400 * MS); }

static void by_dead_worker(struct sweep *w)
{
	strike(w, SERVED_WORKER, SIGKILL);
	await_ns(w, 800 * MS);
}

static void by_dead_wal(struct sweep *w)
{
	strike(w, SERVED_WAL, SIGKILL);
	await_ns(w, 800 * MS);
}

static void by_left_wal(struct sweep *w)
{
	strike(w, SERVED_WAL, SIGTERM);
	await_ns(w, 800 * MS);
}

static void by_dead_consolidation(struct sweep *w)
{
	strike(w, SERVED_CONSOLIDATION, SIGKILL);
	await_ns(w, 800 * MS);
}

static void by_time(struct sweep *w) { await_ns(w, 3500 * MS); }

static void by_reload(struct sweep *w)
{
	w->workers_change = true;
	kill(w->s.master, SIGHUP);
	await_ns(w, 2500 * MS);
}

static void again(struct sweep *w, bool forget)
{
	w->all_change = true;
	atomic_store(&w->load.down, true);
	served_kill_all(&w->s, forget);
	served_start(&w->s);
	await_ns(w, 2000 * MS);
}

static void by_new_master(struct sweep *w) { again(w, false); }

static void by_log_alone(struct sweep *w) { again(w, true); }

/* Another size: the spares of the old one are thrown away. */
static void by_other_size(struct sweep *w)
{
	w->segment_mb = 3 - w->segment_mb;
	settings_for(w);
	again(w, true);
}

static void by_fault(struct sweep *w, enum fault_point p, enum fault_action a, uint32_t times)
{
	fault_arm(fault_page, 2, p, SERVED_WAL, a, 1, times);
	await_ns(w, 800 * MS);
}

static void by_failed_sync(struct sweep *w) { by_fault(w, FAULT_GROUP_SYNC, FAULT_EIO, 1); }
static void by_full_disk(struct sweep *w) { by_fault(w, FAULT_SPARE_ALLOCATE, FAULT_ENOSPC, 1); }
static void by_failed_header(struct sweep *w) { by_fault(w, FAULT_SEGMENT_SYNC_HEADER, FAULT_EIO, 1); }

/* What a writer leaves in tmp/ that dies there. */
static void by_rest(struct sweep *w)
{
	char path[192];
	FILE *f;

	snprintf(path, sizeof path, "%s/data/tmp/rest", w->s.dir);
	f = fopen(path, "w");
	if (f != NULL)
		fclose(f);
	by_dead_wal(w);
}

/* Short of its end: the next one has a tail to write again, or records to apply. */
static void by_dead_round(struct sweep *w)
{
	static const enum fault_point ends[] = { FAULT_ROUND_LOGGED, FAULT_GROUP_SYNC, FAULT_APPLY_RESERVED, FAULT_APPLY_BODY,
		FAULT_ANSWER_CELL };

	fault_arm(fault_page, 2, ends[pick(w, 5)], SERVED_WAL, FAULT_KILL, 1 + (uint32_t)pick(w, 30), 1);
	await_ns(w, 800 * MS);
}

/* A data directory that is born. */
static void by_first_start(struct sweep *w)
{
	w->all_change = true;
	atomic_store(&w->load.down, true);
	served_kill_all(&w->s, true);
	load_forget(&w->load);
	served_forget(&w->s);
	served_start(&w->s);
	load_run(&w->load);
	await_ns(w, 2000 * MS);
}

static void by_end(struct sweep *w)
{
	w->all_change = true;
	atomic_store(&w->load.down, true);
	kill(w->s.master, SIGTERM);
	await_ns(w, 3000 * MS);
}

static const struct { const char *name; void (*run)(struct sweep *); } stimuli[STIMULI] = {
	[BY_LOAD] = { "load", by_load },
	[BY_DEAD_WORKER] = { "a dead worker", by_dead_worker },
	[BY_DEAD_WAL] = { "a dead wal process", by_dead_wal },
	[BY_LEFT_WAL] = { "a wal process that was asked to leave", by_left_wal },
	[BY_DEAD_ROUND] = { "a wal process that died in a round", by_dead_round },
	[BY_DEAD_CONSOLIDATION] = { "a dead consolidation process", by_dead_consolidation },
	[BY_TIME] = { "time", by_time },
	[BY_RELOAD] = { "a reload", by_reload },
	[BY_FAILED_SYNC] = { "a failed sync", by_failed_sync },
	[BY_FULL_DISK] = { "a full disk", by_full_disk },
	[BY_FAILED_HEADER] = { "a failed header", by_failed_header },
	[BY_REST] = { "a file in tmp/", by_rest },
	[BY_NEW_MASTER] = { "a new master", by_new_master },
	[BY_LOG_ALONE] = { "the log alone", by_log_alone },
	[BY_OTHER_SIZE] = { "another segment size", by_other_size },
	[BY_FIRST_START] = { "the first start", by_first_start },
	[BY_END] = { "an end", by_end },
};

/* ---- one kill */

static void mend(struct sweep *w)
{
	bool up;

	if (fired(0) && atomic_load(&slot(0)->kind) == SERVED_MASTER)
		w->all_change = true;
	if (fired(1) && atomic_load(&slot(1)->kind) == SERVED_MASTER)
		w->all_change = true;
	/* Whoever shall die has died. */
	for (unsigned i = 0; i < 2; i++)
		while (fired(i) && kill(atomic_load(&slot(i)->pid), 0) == 0 && !served_down(&w->s))
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
	atomic_store(&w->load.down, false);
}

static void count(struct sweep *w, struct target *t, struct target *second)
{
	if (fired(0)) {
		w->kills++;
		t->kills++;
	}
	if (fired(1)) {
		w->kills++;
		second->kills++;
	}
	w->pairs += fired(0) && fired(1);
}

static struct target *a_second(struct sweep *w, const struct target *first)
{
	struct target *t;

	do
		t = &w->targets.v[pick(w, w->targets.n)];
	while (!t->known || t == first || t->kind == SERVED_MASTER);
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
	struct target *second = w->kills > 300 && pick(w, 3) == 0 ? a_second(w, t) : NULL;
	int64_t began = served_now_ns();
	bool hit;

	snapshot(w);
	if (t->kind == SERVED_MASTER)
		atomic_store(&w->load.down, true);
	arm(w, 0, t, stimulus != BY_LOAD);
	if (second != NULL)
		arm(w, 1, second, second->stimulus != BY_LOAD);
	load_run(&w->load);
	stimuli[stimulus].run(w);
	w->spent_ns[0] += served_now_ns() - began;
	hit = fired(0);
	if (!hit)
		fault_disarm(fault_page, 0);
	/* A disk that failed once is no longer trusted for a minute by the same writer. */
	if (!hit && atomic_load(&slot(2)->action) != 0 && !served_down(&w->s))
		strike(w, SERVED_WAL, SIGKILL);
	fault_disarm(fault_page, 2);
	settle(w, t);
	hit = fired(0);
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
		atomic_store(&w->load.down, true);
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
	atomic_store(&w->load.down, true);
	served_kill_all(&w->s, true);
	load_forget(&w->load);
	served_forget(&w->s);
	w->ages++;
	w->age = 0;
	settings_for(w);
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

/* With what has worked before; else with everything. */
static void aim(struct sweep *w, struct target *t)
{
	enum stimulus first = t->stimulus;

	for (unsigned i = 0; i < (w->brief ? 1 : STIMULI) && sound(w); i++) {
		enum stimulus by = i == 0 ? first : (enum stimulus)(i - (i <= first));

		if (!try_one(w, t, by))
			continue;
		if (!t->known || t->stimulus != by)
			tell(w, t, stimuli[by].name);
		t->known = true;
		t->stimulus = by;
		w->age++;
		return;
	}
	t->known = false;
	t->tried++;
	tell(w, t, "nothing");
}

/* The short form visits some; the long one each, in another order each time. */
static void run(struct sweep *w, uint64_t n)
{
	unsigned at = (unsigned)pick(w, w->targets.n), stride = 37;

	while (w->targets.n % stride == 0)
		stride += 2;
	for (unsigned i = 0; w->kills < n && sound(w); i++) {
		struct target *t = &w->targets.v[(at + i * stride) % w->targets.n];

		if (t->tried >= 2 || target_elsewhere(t) != NULL)
			continue;
		aim(w, t);
		if (w->age >= AGE)
			next_age(w);
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
			       stimuli[t->stimulus].name);
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
	static struct sweep w = { .seed = 2, .segment_mb = 1 };
	uint64_t n = argc > 1 ? strtoull(argv[1], NULL, 10) : SHORT_KILLS;
	int64_t began = served_now_ns();
	char path[192];
	int status;

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (argc > 2)
		w.seed = strtoull(argv[2], NULL, 10);
	else if (argc > 1 && getrandom(&w.seed, 4, 0) != 4)
		return 2;
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
	load_forget(&w.load);
	settings_for(&w);
	if (start(&w))
		run(&w, n);
	status = report(&w, began, argc > 1 && n >= 2000);
	load_close(&w.load);
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
