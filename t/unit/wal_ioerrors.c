/* The n-th call of the I/O layer fails, n = 1, 2, 3, ... until a scene ends without meeting
 * its fault: once, and from then on; with EIO, with ENOSPC, with short writes, and with the
 * kernel's fsync, which drops what it could not write. After each: what was
 * acknowledged is there while the processes go on and when they begin from the files alone,
 * what was refused for good is not, the service heals when the fault has gone.
 *
 *	wal_ioerrors [N [SEED [SCENE [MODE]]]]     N runs spread over all (0: all), or over those of a scene, by
 *	                                           number, and a mode; without arguments a short form
 *	wal_ioerrors only SCENE CALL MODE [SEED]   one run, by number; its files stay if it is wrong
 *
 * Prints TAP, and a line of figures for each scene.
 */
#include "t/unit/wal_ioerrors.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "common/clock.h"

#define SHORT_FORM 10u
#define RUN_SECONDS 120u
#define WRONG_MAX 20u

struct sweep {
	uint64_t seed, limit;
	uint64_t last[SCENES];         /* calls of a run without a fault */
	uint64_t beyond[SCENES][DISK_MODES];   /* the n that was not met */
	uint64_t total, stride, at;    /* runs that there are; every stride-th is made, at: their number so far */
	int scene, mode;               /* only this one; -1: all */
	unsigned wrong;
	struct scene_counts counts[SCENES];
	uint64_t by_call[DISK_CALLS];
};

static void complain(struct sweep *s, enum scene scene, uint64_t nth, enum disk_mode mode, const char *why)
{
	s->wrong++;
	printf("# wrong: %s, %s, %s: %s\n#   again: wal_ioerrors only %u %" PRIu64 " %u %" PRIu64 "\n", scene_names[scene],
	       disk_mode_names[mode], disk_met()[0] != '\0' ? disk_met() : "no fault met", why, scene, nth, mode, s->seed);
}

/* Without a fault: how many calls there are, and of which kind each is. */
static bool census(struct sweep *s, struct rig *r, enum scene scene)
{
	struct scene_counts ignored = { 0 };
	const char *why = "";

	alarm(RUN_SECONDS);
	if (scene_run(r, 0, MODE_EIO, &ignored, &why) != RUN_UNMET) {
		complain(s, scene, 0, MODE_EIO, why);
		return false;
	}
	s->last[scene] = disk_calls();
	return true;
}

/* Is it its turn? With a limit the runs are spread evenly, from a place that the seed gives. */
static bool chosen(struct sweep *s) { return s->at++ % s->stride == s->seed % s->stride; }

static enum scene_run one(struct sweep *s, struct rig *r, enum scene scene, uint64_t nth, enum disk_mode mode)
{
	int64_t began = clock_mono_ns();
	const char *why = "";
	enum scene_run how;

	alarm(RUN_SECONDS);            /* ends us: a hang is a failure */
	how = scene_run(r, nth, mode, &s->counts[scene], &why);
	fprintf(stderr, "run %u %" PRIu64 " %u: %s, %.3f s\n", scene, nth, mode, disk_met(),
	        (double)(clock_mono_ns() - began) / 1e9);
	if (how == RUN_BAD)
		complain(s, scene, nth, mode, why);
	else if (how == RUN_GOOD)
		s->by_call[disk_met_call()]++;
	return how;
}

/* Every mode that can happen to the nth call. Beyond the census until nothing is met. */
static void sweep_mode(struct sweep *s, struct rig *r, enum scene scene, enum disk_mode mode, const uint8_t *calls)
{
	for (uint64_t nth = 1; s->wrong < WRONG_MAX; nth++) {
		if (nth <= s->last[scene] && !disk_applies(mode, (enum disk_call)calls[nth]))
			continue;
		if (nth <= s->last[scene] && !chosen(s))
			continue;
		if (nth > s->last[scene] && s->stride > 1)
			return;
		if (one(s, r, scene, nth, mode) == RUN_UNMET && nth > s->last[scene]) {
			s->beyond[scene][mode] = nth;
			return;
		}
	}
}

static void copy_census(uint8_t calls[DISK_CENSUS])
{
	for (unsigned i = 0; i < DISK_CENSUS; i++)
		calls[i] = (uint8_t)disk_census(i);
}

static bool within(const struct sweep *s, unsigned scene, unsigned mode)
{
	return (s->scene < 0 || s->scene == (int)scene) && (s->mode < 0 || s->mode == (int)mode);
}

static void count_total(struct sweep *s, unsigned scene, const uint8_t *calls)
{
	for (uint64_t nth = 1; nth <= s->last[scene]; nth++)
		for (unsigned m = 0; m < DISK_MODES; m++)
			s->total += within(s, scene, m) && disk_applies((enum disk_mode)m, (enum disk_call)calls[nth]);
}

static void say(const struct sweep *s, enum scene scene)
{
	const struct scene_counts *c = &s->counts[scene];

	printf("# %s: %" PRIu64 " calls, %" PRIu64 " runs, %" PRIu64 " met their fault; %" PRIu64 " entries, %" PRIu64
	       " refused, %" PRIu64 " unknown; runs read-only %" PRIu64 ", without room %" PRIu64 "; the wal process ended %"
	       PRIu64 " times, did not start %" PRIu64 "; %" PRIu64 " restarts, %" PRIu64 " unsynced writes lost, %" PRIu64
	       " checkpoints, %" PRIu64 " backups; healed within %.0f ms\n", scene_names[scene], s->last[scene], c->runs,
	       c->met, c->entries, c->refused, c->unknown, c->read_only, c->no_room, c->ended, c->not_started, c->restarts,
	       c->pieces, c->checkpoints, c->backups, (double)c->longest_heal_ns / 1e6);
	for (unsigned m = 0; m < DISK_MODES; m++)
		if (s->beyond[scene][m] > 0)
			printf("# %s, %s: without its fault at n = %" PRIu64 "\n", scene_names[scene], disk_mode_names[m],
			       s->beyond[scene][m]);
}

static void sweep(struct sweep *s)
{
	static uint8_t calls[SCENES][DISK_CENSUS];
	struct rig *rigs[SCENES] = { NULL };

	for (unsigned k = 0; k < SCENES; k++) {
		const char *why;

		if (s->scene >= 0 && s->scene != (int)k)
			continue;
		alarm(RUN_SECONDS);
		rigs[k] = scene_open((enum scene)k, s->seed, &why);
		if (rigs[k] == NULL)
			printf("# %s: left out: %s\n", scene_names[k], why);
		if (rigs[k] == NULL || !census(s, rigs[k], (enum scene)k))
			continue;
		EG_ASSERT(s->last[k] < DISK_CENSUS);
		copy_census(calls[k]);
		count_total(s, k, calls[k]);
	}
	s->stride = s->limit == 0 || s->limit >= s->total ? 1 : s->total / s->limit;
	for (unsigned k = 0; k < SCENES; k++) {
		if (rigs[k] == NULL)
			continue;
		for (unsigned m = 0; m < DISK_MODES && s->last[k] > 0; m++)
			if (within(s, k, m))
				sweep_mode(s, rigs[k], (enum scene)k, (enum disk_mode)m, calls[k]);
		scene_close(rigs[k]);
		say(s, (enum scene)k);
	}
}

static int report(struct sweep *s, int64_t began)
{
	uint64_t runs = 0, met = 0;

	for (unsigned k = 0; k < SCENES; k++) {
		runs += s->counts[k].runs;
		met += s->counts[k].met;
	}
	printf("# calls that failed:");
	for (unsigned i = 0; i < DISK_CALLS; i++)
		printf(" %s %" PRIu64 "%s", disk_call_names[i], s->by_call[i], i + 1 < DISK_CALLS ? "," : "\n");
	printf("# ioerrors: seed %" PRIu64 ", %" PRIu64 " of %" PRIu64 " runs, %" PRIu64 " met their fault, %u wrong, %.1f s\n",
	       s->seed, runs, s->total, met, s->wrong, (double)(clock_mono_ns() - began) / 1e9);
	printf("%s 1 - whatever call fails: nothing acknowledged is lost, nothing refused appears, and it heals\n",
	       s->wrong > 0 ? "not ok" : "ok");
	printf("%s 2 - the faults were met\n1..2\n", met * 10 >= runs * 8 && met > 0 ? "ok" : "not ok");
	return s->wrong > 0 || met * 10 < runs * 8;
}

static int only(struct sweep *s, int argc, char **argv)
{
	enum scene scene = (enum scene)(argc > 2 ? strtoul(argv[2], NULL, 10) : 0);
	uint64_t nth = argc > 3 ? strtoull(argv[3], NULL, 10) : 0;
	enum disk_mode mode = (enum disk_mode)(argc > 4 ? strtoul(argv[4], NULL, 10) : 0);
	const char *why;
	struct rig *r;

	if (argc > 5)
		s->seed = strtoull(argv[5], NULL, 10);
	if (scene >= SCENES || mode >= DISK_MODES)
		return 2;
	r = scene_open(scene, s->seed, &why);
	if (r == NULL) {
		printf("# left out: %s\n", why);
		return 1;
	}
	(void)one(s, r, scene, nth, mode);
	printf("# %s: %s\n", scene_names[scene], disk_met());
	s->last[scene] = disk_calls();
	say(s, scene);
	if (s->wrong == 0)
		scene_close(r);
	return s->wrong > 0;
}

int main(int argc, char **argv)
{
	static struct sweep s = { .seed = 2, .limit = SHORT_FORM, .scene = -1, .mode = -1 };
	int64_t began = clock_mono_ns();

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (getenv("ENGRAM_TEST_LOG") == NULL)
		(void)!freopen("/dev/null", "w", stderr);
	if (argc > 1 && strcmp(argv[1], "only") == 0)
		return only(&s, argc, argv);
	if (argc > 1)
		s.limit = strtoull(argv[1], NULL, 10);
	if (argc > 2)
		s.seed = strtoull(argv[2], NULL, 10);
	else if (argc > 1 && getrandom(&s.seed, 4, 0) != 4)
		return 2;
	s.scene = argc > 3 ? atoi(argv[3]) : -1;
	s.mode = argc > 4 ? atoi(argv[4]) : -1;
	sweep(&s);
	return report(&s, began);
}
