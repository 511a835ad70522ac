/* Stepping: the writer executes one instruction at a time, and whenever what it left
 * in shared memory is something that was not there before in this scene, a fork of the
 * watcher takes it for dead and holds the deep check over it.
 *
 * A scene runs twice. The first run, unstepped, tells which pages it changes; in the
 * second only those are looked at after each instruction. All pages are looked at now
 * and then and at the end: a change elsewhere is counted as missed, which fails.
 * A system call is one instruction here; what it did is seen when it returns. A string
 * instruction (rep movs in memcpy) stops after each of its iterations: these stops are
 * counted, and every STRING_STRIDE-th is looked at besides the first and the last.
 */
#include "t/unit/wal_step.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/hash.h"

#define PAGE 4096u
#define OBJECTS 24u
#define ACTIVE 4096u
#define LOOK_EVERYWHERE 40000u
#define STRING_STRIDE 61u

struct object {                            /* of /dev/shm */
	char name[64], hidden[64];         /* hidden: a second link, in case a check unlinks the first */
	size_t bytes;
	ino_t inode;
	uint8_t *map, *seen;               /* seen: as last looked at everywhere */
	bool known;                        /* still listed */
};

struct page { unsigned name; int object; size_t at; uint64_t hash; };   /* object: -1, not there yet */

struct frame { unsigned function; uint64_t sp; };

struct trace {
	const struct step_scene *scene;
	const struct step_options *o;
	struct step_tally *t;
	struct step_world x;
	pid_t pid;
	struct object objects[OBJECTS];
	unsigned n_objects;
	struct page active[ACTIVE];
	char active_name[OBJECTS][64];     /* learned by the first run: by name, not by number */
	unsigned n_active;
	uint64_t state;                    /* hash of all active pages, lengths, progress */
	uint64_t *distinct;
	size_t n_distinct, cap_distinct;
	struct frame frames[64];
	unsigned depth;
	uint64_t steps, checks, rip_before;
};

/* ---- objects ---- */

static void map_object(struct object *o, size_t bytes)
{
	char path[128];
	int fd;

	if (o->map != NULL)
		munmap(o->map, o->bytes);
	o->seen = realloc(o->seen, bytes + 1);
	EG_ASSERT(o->seen != NULL);
	if (bytes > o->bytes)
		memset(o->seen + o->bytes, 0, bytes - o->bytes);
	o->bytes = bytes;
	o->map = NULL;
	if (bytes == 0)
		return;
	snprintf(path, sizeof path, "/dev/shm/%s", o->name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	EG_ASSERT(fd >= 0);
	o->map = mmap(NULL, bytes, PROT_READ, MAP_SHARED, fd, 0);
	EG_ASSERT(o->map != MAP_FAILED);
	close(fd);
}

static struct object *object(struct trace *t, const char *name, ino_t inode)
{
	struct object *o;
	char path[128], hidden[128];

	for (unsigned i = 0; i < t->n_objects; i++)
		if (strcmp(t->objects[i].name, name) == 0)
			return &t->objects[i];
	EG_ASSERT(t->n_objects < OBJECTS);
	o = &t->objects[t->n_objects++];
	memset(o, 0, sizeof *o);
	snprintf(o->name, sizeof o->name, "%.63s", name);
	snprintf(o->hidden, sizeof o->hidden, "keep-%.55s", name);
	o->inode = inode;
	snprintf(path, sizeof path, "/dev/shm/%s", o->name);
	snprintf(hidden, sizeof hidden, "/dev/shm/%s", o->hidden);
	(void)unlink(hidden);
	EG_ASSERT(link(path, hidden) == 0);
	return o;
}

/* What is there by now; only a system call can have changed it. */
static void list_objects(struct trace *t)
{
	const char *stem = t->x.prefix + 1;
	DIR *dir = opendir("/dev/shm");
	struct dirent *entry;

	EG_ASSERT(dir != NULL);
	while ((entry = readdir(dir)) != NULL) {
		struct object *o;
		struct stat st;

		if (strncmp(entry->d_name, stem, strlen(stem)) != 0
		    || fstatat(dirfd(dir), entry->d_name, &st, 0) != 0)
			continue;
		o = object(t, entry->d_name, st.st_ino);
		if ((size_t)st.st_size != o->bytes)
			map_object(o, (size_t)st.st_size);
	}
	closedir(dir);
	for (unsigned i = 0; i < t->n_active; i++)
		for (unsigned k = 0; k < t->n_objects; k++)
			if (strcmp(t->objects[k].name, t->active_name[t->active[i].name]) == 0)
				t->active[i].object = (int)k;
}

/* A check may have made, removed or lengthened objects: as they were. */
static void restore_objects(struct trace *t)
{
	const char *stem = t->x.prefix + 1;
	DIR *dir = opendir("/dev/shm");
	struct dirent *entry;
	struct stat st;
	char path[128], hidden[128];

	EG_ASSERT(dir != NULL);
	while ((entry = readdir(dir)) != NULL) {
		bool ours = false;

		if (strncmp(entry->d_name, stem, strlen(stem)) != 0)
			continue;
		for (unsigned i = 0; i < t->n_objects; i++)
			ours |= strcmp(t->objects[i].name, entry->d_name) == 0;
		if (!ours)
			(void)unlinkat(dirfd(dir), entry->d_name, 0);
	}
	for (unsigned i = 0; i < t->n_objects; i++) {
		struct object *o = &t->objects[i];

		snprintf(path, sizeof path, "/dev/shm/%s", o->name);
		snprintf(hidden, sizeof hidden, "/dev/shm/%s", o->hidden);
		if (stat(path, &st) != 0 || st.st_ino != o->inode) {
			(void)unlink(path);
			EG_ASSERT(link(hidden, path) == 0 && stat(path, &st) == 0);
		}
		if ((size_t)st.st_size != o->bytes)
			EG_ASSERT(truncate(path, (off_t)o->bytes) == 0);
	}
	closedir(dir);
}

static void forget_objects(struct trace *t)
{
	char hidden[128];

	(void)region_unlink_all(t->x.prefix);
	for (unsigned i = 0; i < t->n_objects; i++) {
		struct object *o = &t->objects[i];

		snprintf(hidden, sizeof hidden, "/dev/shm/%s", o->hidden);
		(void)unlink(hidden);
		if (o->map != NULL)
			munmap(o->map, o->bytes);
		free(o->seen);
	}
	t->n_objects = 0;
}

/* ---- states ---- */

static bool look_active(struct trace *t)
{
	bool changed = false;

	for (unsigned i = 0; i < t->n_active; i++) {
		struct page *p = &t->active[i];
		struct object *o = p->object < 0 ? NULL : &t->objects[p->object];

		if (o == NULL || o->map == NULL || p->at + PAGE > o->bytes
		    || (p->hash != 0 && memcmp(o->map + p->at, o->seen + p->at, PAGE) == 0))
			continue;
		t->state ^= p->hash;
		memcpy(o->seen + p->at, o->map + p->at, PAGE);
		p->hash = hash_mix(hash64(o->seen + p->at, PAGE, p->at) ^ hash_mix(p->name + 1)) | 1;
		t->state ^= p->hash;
		changed = true;
	}
	return changed;
}

static void add_active(struct trace *t, const struct object *o, size_t at)
{
	unsigned n = 0;

	while (n < OBJECTS && *t->active_name[n] != '\0' && strcmp(t->active_name[n], o->name) != 0)
		n++;
	EG_ASSERT(n < OBJECTS && t->n_active < ACTIVE);
	memcpy(t->active_name[n], o->name, sizeof o->name);
	t->active[t->n_active++] = (struct page){ n, -1, at, 0 };
}

/* Everything against what was seen; pages that differ are learned. */
static unsigned look_everywhere(struct trace *t)
{
	unsigned n = 0;

	for (unsigned k = 0; k < t->n_objects; k++) {
		struct object *o = &t->objects[k];

		for (size_t at = 0; o->map != NULL && at + PAGE <= o->bytes; at += PAGE)
			if (memcmp(o->map + at, o->seen + at, PAGE) != 0) {
				add_active(t, o, at);
				memcpy(o->seen + at, o->map + at, PAGE);
				n++;
			}
	}
	return n;
}

static uint64_t state_now(const struct trace *t)
{
	uint64_t h = t->state ^ hash_mix(t->x.s->n_logged * 1009 + t->x.s->n_applied) ^ hash_mix(t->x.s->n_held + 77);

	for (unsigned i = 0; i < t->n_objects; i++)
		h ^= hash_mix(t->objects[i].bytes * 64 + i + 1);
	return h | 1;
}

/* True: not seen before in this scene. */
static bool is_new(struct trace *t, uint64_t h)
{
	size_t at;

	if (t->n_distinct * 2 >= t->cap_distinct) {
		uint64_t *old = t->distinct;
		size_t cap = t->cap_distinct;

		t->cap_distinct = cap ? cap * 2 : 1024;
		t->distinct = calloc(t->cap_distinct, sizeof *t->distinct);
		EG_ASSERT(t->distinct != NULL);
		t->n_distinct = 0;
		for (size_t i = 0; i < cap; i++)
			if (old[i] != 0)
				(void)is_new(t, old[i]);
		free(old);
	}
	for (at = h & (t->cap_distinct - 1); t->distinct[at] != 0; at = (at + 1) & (t->cap_distinct - 1))
		if (t->distinct[at] == h)
			return false;
	t->distinct[at] = h;
	t->n_distinct++;
	return true;
}

/* ---- the check ---- */

static int in_the_fork(struct trace *t, struct step_verdict *v)
{
	const struct step_shared *s = t->x.s;
	struct step_shared *own = calloc(1, sizeof *own);

	EG_ASSERT(own != NULL);
	memcpy(own, s, offsetof(struct step_shared, log) + s->log_bytes);
	t->x.s = own;
	(void)alarm(120);
	step_check(&t->x, t->scene, v);
	return 0;
}

static void check_state(struct trace *t, uint64_t rip)
{
	static struct step_verdict *v;
	int status = 0;
	pid_t pid;

	if (v == NULL)
		v = mmap(NULL, sizeof *v, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	memset(v, 0, sizeof *v);
	fflush(NULL);
	pid = fork();
	EG_ASSERT(pid >= 0);
	if (pid == 0)
		_exit(in_the_fork(t, v));
	EG_ASSERT(waitpid(pid, &status, 0) == pid);
	restore_objects(t);
	t->checks++;
	atomic_fetch_add(&t->t->repaired, v->repaired);
	atomic_fetch_add(&t->t->rebuilt, v->rebuilt);
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
		v->corrupt++;
		if (*v->why == '\0')
			snprintf(v->why, sizeof v->why, "the check ended with status %#x", (unsigned)status);
	}
	atomic_fetch_add(&t->t->corrupt, v->corrupt > 0);
	atomic_fetch_add(&t->t->leaked, v->leaked > 0);
	if (v->corrupt + v->leaked == 0)
		return;
	if (atomic_fetch_add(&t->t->failed, 1) < 20)
		printf("# scene \"%s\", instruction %llu at %#llx in %s: %s\n", t->scene->name,
		       (unsigned long long)t->steps, (unsigned long long)rip,
		       t->depth ? t->t->functions[t->frames[t->depth - 1].function].name : "-", v->why);
}

/* ---- functions ---- */

static unsigned function_at(const struct step_tally *t, uint64_t rip)
{
	unsigned i = 0;

	while (i < t->n_functions && t->functions[i].entry != rip)
		i++;
	return i;
}

/* The frame's own stack pointer pointed at the return address; above it, it has left. */
static void account(struct trace *t, uint64_t rip, uint64_t sp)
{
	struct step_tally *y = t->t;
	unsigned f;

	while (t->depth > 0 && sp > t->frames[t->depth - 1].sp)
		__atomic_fetch_add(&y->functions[t->frames[--t->depth].function].returns, 1, __ATOMIC_RELAXED);
	f = function_at(y, rip);
	if (f < y->n_functions && t->depth < 64) {
		t->frames[t->depth++] = (struct frame){ f, sp };
		__atomic_fetch_add(&y->functions[f].calls, 1, __ATOMIC_RELAXED);
	}
	for (unsigned i = 0; i < t->depth; i++) {
		struct step_function *at = &y->functions[t->frames[i].function];
		bool own = rip - at->entry < at->code_bytes;

		__atomic_fetch_add(&at->steps, 1, __ATOMIC_RELAXED);
		if (own)
			__atomic_fetch_add(&at->own, 1, __ATOMIC_RELAXED);
	}
}

/* ---- one run ---- */

static void stop_here(void) { raise(SIGSTOP); }

static void writer(struct trace *t)
{
	EG_ASSERT(ptrace(PTRACE_TRACEME, 0, NULL, NULL) == 0);
	t->scene->setup(&t->x);
	stop_here();
	t->scene->act(&t->x);
	stop_here();
	_exit(0);
}

/* Until it stops; the signal, or 0 when it has ended. */
static int await(struct trace *t)
{
	int status;

	EG_ASSERT(waitpid(t->pid, &status, 0) == t->pid);
	return WIFSTOPPED(status) ? WSTOPSIG(status) : 0;
}

static bool begin(struct trace *t)
{
	memset(&t->x, 0, offsetof(struct step_world, s));
	memset(t->x.s, 0, offsetof(struct step_shared, log));
	snprintf(t->x.prefix, sizeof t->x.prefix, "/engram-step-%d-", (int)getpid());
	(void)region_unlink_all(t->x.prefix);
	world_desks(&t->x);
	fflush(NULL);
	t->pid = fork();
	EG_ASSERT(t->pid >= 0);
	if (t->pid == 0)
		writer(t);
	return await(t) == SIGSTOP;
}

static void end(struct trace *t)
{
	(void)ptrace(PTRACE_CONT, t->pid, NULL, NULL);
	(void)waitpid(t->pid, NULL, 0);
	forget_objects(t);
	desks_free(&t->x.desks);
}

/* The first run: which pages change. */
static bool learn(struct trace *t)
{
	bool ok = begin(t);

	list_objects(t);
	(void)look_everywhere(t);
	t->n_active = 0;
	memset(t->active_name, 0, sizeof t->active_name);
	if (ok) {
		(void)ptrace(PTRACE_CONT, t->pid, NULL, NULL);
		ok = await(t) == SIGSTOP;
	}
	list_objects(t);
	(void)look_everywhere(t);
	end(t);
	return ok;
}

static void one_point(struct trace *t, const struct user_regs_struct *r, bool in_call)
{
	bool due, in_string = r->rip == t->rip_before;

	t->rip_before = r->rip;
	account(t, r->rip, r->rsp);
	if (in_call)
		list_objects(t);
	(void)look_active(t);
	/* Left out for now, not taken as seen: the instruction's last state is met again after it. */
	if (in_string && atomic_fetch_add(&t->t->strings, 1) % STRING_STRIDE != 0)
		return;
	if (!is_new(t, state_now(t)))
		return;
	due = t->o->stride <= 1 || (t->n_distinct + t->o->seed) % t->o->stride == 0;
	if (due)
		check_state(t, r->rip);
}

/* The second run. False: it ended by something else than its end. */
static bool step(struct trace *t)
{
	struct user_regs_struct r;
	bool ok = begin(t), in_call = true;

	for (unsigned i = 0; i < t->n_active; i++)
		t->active[i].object = -1;
	list_objects(t);
	for (unsigned k = 0; k < t->n_objects; k++)
		if (t->objects[k].map != NULL)
			memcpy(t->objects[k].seen, t->objects[k].map, t->objects[k].bytes);
	while (ok) {
		const uint8_t *code;
		int number;

		EG_ASSERT(ptrace(PTRACE_GETREGS, t->pid, NULL, &r) == 0);
		code = (const uint8_t *)(uintptr_t)r.rip;
		one_point(t, &r, in_call);
		if (++t->steps % LOOK_EVERYWHERE == 0)
			atomic_fetch_add(&t->t->missed, look_everywhere(t));
		/* Our own text and libraries lie where the fork's do. */
		in_call = code[0] == 0x0f && code[1] == 0x05;
		atomic_fetch_add(&t->t->syscalls, in_call);
		if (ptrace(PTRACE_SINGLESTEP, t->pid, NULL, NULL) != 0)
			break;
		number = await(t);
		if (number == SIGTRAP)
			continue;
		ok = number == SIGSTOP;
		break;
	}
	list_objects(t);
	(void)look_active(t);
	atomic_fetch_add(&t->t->missed, look_everywhere(t));
	for (; t->depth > 0; t->depth--)
		__atomic_fetch_add(&t->t->functions[t->frames[t->depth - 1].function].returns, 1, __ATOMIC_RELAXED);
	end(t);
	return ok;
}

void step_scene_run(const struct step_scene *scene, const struct step_options *o, struct step_tally *tally)
{
	struct trace *t = calloc(1, sizeof *t);

	EG_ASSERT(t != NULL);
	t->scene = scene;
	t->o = o;
	t->t = tally;
	t->x.s = mmap(NULL, sizeof *t->x.s, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	EG_ASSERT(t->x.s != MAP_FAILED);
	if (!learn(t) || !step(t)) {
		printf("# scene \"%s\" did not reach its end\n", scene->name);
		atomic_fetch_add(&tally->failed, 1);
	}
	printf("# %-34s %8llu instructions %6zu states %6llu checked\n", scene->name, (unsigned long long)t->steps,
	       t->n_distinct, (unsigned long long)t->checks);
	atomic_fetch_add(&tally->steps, t->steps);
	atomic_fetch_add(&tally->distinct, t->n_distinct);
	atomic_fetch_add(&tally->points, t->checks);
	munmap(t->x.s, sizeof *t->x.s);
	free(t->distinct);
	free(t);
}
