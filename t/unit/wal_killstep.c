/* Kills the writer at every instruction of every function that changes the store.
 *
 * The functions are those that a *_write.h declares; the scenes go through all of them,
 * one instruction at a time, and the state of shared memory at each is taken for what a
 * killed writer left: readers must see every memory old or new, the ordinary recovery
 * must accept it, and afterwards nothing is torn, lost or leaked (wal_step_check.c).
 * A state that equals one before in its scene is not checked again.
 *
 *	wal_killstep                    a short form: some scenes, every 8th state
 *	wal_killstep full [SCENE]       everything
 *	wal_killstep stride N [SEED]    everything, every N-th state
 *
 * One thread: what several apply threads do at a time is wal_killsweep's. A kill in the
 * middle of a system call is none here, for the calls are atomic to memory's contents.
 */
#include "t/unit/wal_step.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#if defined(__linux__) && defined(__x86_64__) && !defined(EG_SANITIZE)

static void watch(struct step_tally *t, const struct step_options *o)
{
	unsigned i;

	while ((i = atomic_fetch_add(&t->next_scene, 1)) < n_step_scenes + n_step_graphs) {
		const struct step_scene *scene = i < n_step_graphs ? &step_graphs[i] : &step_scenes[i - n_step_graphs];

		if ((o->brief && !(scene->flags & STEP_BRIEF)) || (o->only != NULL && strcmp(o->only, scene->name) != 0))
			continue;
		step_scene_run(scene, o, t);
	}
}

static void run(struct step_tally *t, const struct step_options *o, unsigned watchers)
{
	for (unsigned i = 0; i < watchers; i++) {
		pid_t pid = fork();

		EG_ASSERT(pid >= 0);
		if (pid == 0) {
			watch(t, o);
			fflush(stdout);
			_exit(0);
		}
	}
	for (unsigned i = 0; i < watchers; i++) {
		int status;

		if (wait(&status) < 0 || !WIFEXITED(status) || WEXITSTATUS(status) != 0)
			atomic_fetch_add(&t->failed, 1);
	}
}

/* How many were not stepped through to their end. */
static unsigned report_functions(const struct step_tally *t, bool brief)
{
	unsigned missing = 0;

	for (unsigned i = 0; i < t->n_functions; i++) {
		const struct step_function *f = &t->functions[i];
		bool done = f->calls > 0 && f->returns == f->calls;

		if (f->entry == 0) {
			if (!brief)
				printf("# %-24s %-22s inline: part of its callers\n", f->name, f->header);
			continue;
		}
		missing += !done && !f->is_inline;
		if (!brief || (!done && f->calls > 0))
			printf("# %-24s %-22s %6llu calls %9llu instructions, %8llu its own%s\n", f->name, f->header,
			       (unsigned long long)f->calls, (unsigned long long)f->steps, (unsigned long long)f->own,
			       f->calls == 0 ? " NO SCENE" : done ? "" : " NOT LEFT");
	}
	return missing;
}

static int report(const struct step_tally *t, const struct step_options *o, double seconds)
{
	unsigned missing = report_functions(t, o->brief), wrong = t->failed + (t->missed != 0);

	printf("# killstep: %u functions of *_write.h, %llu instructions, each a kill point (%llu system calls among them),"
	       " %llu distinct states, %llu checked (stride %u, seed %llu), %.1f s\n", t->n_functions,
	       (unsigned long long)t->steps, (unsigned long long)t->syscalls, (unsigned long long)t->distinct,
	       (unsigned long long)t->points, o->stride, (unsigned long long)o->seed, seconds);
	printf("# %llu of the instructions are iterations of a string instruction: one in 61 of those is looked at\n",
	       (unsigned long long)t->strings);
	printf("# repair had to mend %llu, make anew %llu; corrupt %llu, leaked %llu, changes missed %llu\n",
	       (unsigned long long)t->repaired, (unsigned long long)t->rebuilt, (unsigned long long)t->corrupt,
	       (unsigned long long)t->leaked, (unsigned long long)t->missed);
	printf("%s 1 - every state is repaired, nothing torn, lost or leaked\n", wrong ? "not ok" : "ok");
	if (o->brief || o->only != NULL)
		printf("ok 2 # SKIP all functions are the long form's\n1..2\n");
	else
		printf("%s 2 - every declared function was stepped through, from entry to return\n1..2\n",
		       missing ? "not ok" : "ok");
	return wrong || (missing && !o->brief && o->only == NULL);
}

int main(int argc, char **argv)
{
	struct step_options o = { .stride = 8, .seed = 1, .brief = argc < 2 };
	struct step_tally *t = mmap(NULL, sizeof *t, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	const char *top = getenv("top_srcdir");
	struct timespec from, to;

	EG_ASSERT(t != MAP_FAILED);
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (argc > 1 && strcmp(argv[1], "full") == 0) {
		o.stride = 1;
		o.only = argc > 2 ? argv[2] : NULL;
	} else if (argc > 2 && strcmp(argv[1], "stride") == 0) {
		o.stride = (unsigned)strtoul(argv[2], NULL, 10);
		o.seed = argc > 3 ? strtoull(argv[3], NULL, 10) : 1;
	}
	if (getenv("ENGRAM_TEST_LOG") == NULL)
		(void)!freopen("/dev/null", "w", stderr);
	clock_gettime(CLOCK_MONOTONIC, &from);
	if (!step_functions(t, top != NULL ? top : ".")) {
		printf("Bail out! no functions found below %s\n", top != NULL ? top : ".");
		return 1;
	}
	run(t, &o, o.only != NULL ? 1 : 2);
	clock_gettime(CLOCK_MONOTONIC, &to);
	return report(t, &o, (double)(to.tv_sec - from.tv_sec) + (double)(to.tv_nsec - from.tv_nsec) / 1e9);
}

#else

int main(void)
{
	puts("1..0 # SKIP written for Linux on x86-64, without sanitizers");
	return 0;
}

#endif
