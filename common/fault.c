/* Fault points, see the header. Empty in a release build. */
#include "common/fault.h"

#ifdef EG_FAULTS

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "common/tape.h"

#define EG_DELAY_NS 20000000L

struct fault_page *fault_page;

enum {
	STEP = FAULT_KILL | FAULT_STOP | FAULT_DELAY,
	READ = STEP | FAULT_AFTER | FAULT_EIO,
	CALL = READ | FAULT_ENOSPC,
	WRITE = CALL | FAULT_TORN | FAULT_SHORT,
};

const struct fault_info fault_infos[FAULT_POINTS] = {
#define X(name, where, actions) { #name, where, actions },
#include "common/fault.def"
#undef X
};

static unsigned own_kind;
/* Between fault_before and the end of the call, in this thread. */
static _Thread_local struct { enum fault_action action; int error; bool torn; } now;

void fault_kind(unsigned kind) { own_kind = kind < FAULT_KINDS ? kind : 0; }

int fault_error(void) { return now.error; }

ssize_t fault_errno(void)
{
	errno = now.error;
	return -1;
}

static struct fault_page *map(int fd, int flags)
{
	struct fault_page *p = mmap(NULL, sizeof *p, PROT_READ | PROT_WRITE, MAP_SHARED | flags, fd, 0);

	return p == MAP_FAILED ? NULL : p;
}

struct fault_page *fault_page_new(void)
{
	struct fault_page *p = map(-1, MAP_ANONYMOUS);

	if (p != NULL) {
		p->magic = FAULT_MAGIC;
		p->n_points = FAULT_POINTS;
	}
	return p;
}

struct fault_page *fault_page_open(const char *path)
{
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	struct fault_page *p = NULL;
	struct stat st;

	if (fd < 0)
		return NULL;
	if (fstat(fd, &st) == 0 && (st.st_size != 0 || ftruncate(fd, sizeof *p) == 0))
		p = st.st_size == 0 || st.st_size == sizeof *p ? map(fd, 0) : NULL;
	close(fd);
	if (p == NULL)
		return NULL;
	p->magic = FAULT_MAGIC;
	p->n_points = FAULT_POINTS;
	return p;
}

/* The master inherits its page from whoever started it, and gives it to its children. */
__attribute__((constructor)) static void adopt(void)
{
	const char *path = getenv("ENGRAM_FAULTS");

	if (path != NULL)
		fault_page = fault_page_open(path);
}

void fault_disarm(struct fault_page *p, unsigned slot)
{
	atomic_store(&p->slots[slot].action, 0);
}

void fault_arm(struct fault_page *p, unsigned slot, enum fault_point point, unsigned kind,
               enum fault_action action, uint32_t nth, uint32_t times)
{
	struct fault_slot *s = &p->slots[slot];

	fault_disarm(p, slot);
	atomic_store(&s->point, point);
	atomic_store(&s->kind, kind);
	atomic_store(&s->nth, nth);
	atomic_store(&s->times, times);
	atomic_store(&s->passed, 0);
	atomic_store(&s->fired, 0);
	atomic_store(&s->pid, 0);
	atomic_store(&s->action, action);
}

static void die(void)
{
	tape_freeze();
	kill(getpid(), SIGKILL);
	for (;;)
		pause();
}

/* What this pass has to do; 0: nothing. */
static unsigned meet(enum fault_point point)
{
	unsigned todo = 0;

	if (fault_page == NULL)
		return 0;
	atomic_fetch_add_explicit(&fault_page->hits[point][own_kind], 1, memory_order_relaxed);
	for (unsigned i = 0; i < FAULT_SLOTS; i++) {
		struct fault_slot *s = &fault_page->slots[i];
		unsigned action = atomic_load_explicit(&s->action, memory_order_acquire), kind, pass, nth, times;

		if (action == 0 || atomic_load(&s->point) != point)
			continue;
		kind = atomic_load(&s->kind);
		if (kind != FAULT_ANY && kind != own_kind)
			continue;
		pass = atomic_fetch_add(&s->passed, 1) + 1;
		nth = atomic_load(&s->nth);
		times = atomic_load(&s->times);
		if (pass < nth || (times != 0 && pass >= nth + times) || todo != 0)
			continue;          /* two at once: the lower slot's is done */
		atomic_store(&s->pid, getpid());
		atomic_fetch_add(&s->fired, 1);
		todo = action;
	}
	return todo;
}

static void act(unsigned action)
{
	const struct timespec delay = { 0, EG_DELAY_NS };

	if (action == FAULT_KILL)
		die();
	if (action == FAULT_STOP)
		kill(getpid(), SIGSTOP);
	if (action == FAULT_DELAY)
		nanosleep(&delay, NULL);
}

void fault_pass(enum fault_point point)
{
	int saved = errno;

	act(meet(point));
	errno = saved;
}

int fault_before(enum fault_point point)
{
	int saved = errno;

	now.action = (enum fault_action)meet(point);
	now.torn = false;
	now.error = now.action == FAULT_EIO ? EIO : now.action == FAULT_ENOSPC ? ENOSPC : 0;
	act(now.action);
	errno = saved;
	return now.error;
}

void fault_after(void)
{
	if (now.action == FAULT_AFTER || now.action == FAULT_TORN)
		die();
	now.action = 0;
}

size_t fault_share(size_t left)
{
	bool half = left > 1 && !now.torn && (now.action == FAULT_SHORT || now.action == FAULT_TORN);

	if (now.torn && now.action == FAULT_TORN)
		die();
	now.torn |= half;
	return half ? left / 2 : left;
}

#endif
