/* The tape, see the header. Empty in a release build. */
#include "common/tape.h"

#ifdef EG_FAULTS

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define EG_TAPE_GRAIN 64u

struct tape *tape;

/* Of this process: threads in a call; nobody begins another one. */
static _Atomic uint32_t calls, frozen;

struct tape *tape_new(size_t bytes)
{
	struct tape *t = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (t == MAP_FAILED)
		return NULL;
	t->bytes = bytes;
	tape_rewind(t);
	return t;
}

void tape_free(struct tape *t) { munmap(t, t->bytes); }

void tape_rewind(struct tape *t)
{
	size_t used = atomic_load(&t->used), bytes = t->bytes;

	/* An event counts from its first word on: they are zero where none is. */
	if (used > 0)
		memset(t, 0, used < bytes ? used : bytes);
	t->bytes = bytes;
	atomic_store(&t->clock, 1);
	atomic_store(&t->used, (sizeof *t + EG_TAPE_GRAIN - 1) / EG_TAPE_GRAIN * EG_TAPE_GRAIN);
	atomic_store(&t->full, 0);
}

static uint64_t inode(int fd)
{
	struct stat st;

	return fd > 0 && fstat(fd, &st) == 0 ? st.st_ino : 0;
}

static uint64_t inode_of(int dir_fd, const char *name)
{
	struct stat st;

	return fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 ? st.st_ino : 0;
}

static void set_name(char to[TAPE_NAME], const char *from)
{
	size_t n = from == NULL ? 0 : strlen(from);

	n = n < TAPE_NAME ? n : TAPE_NAME - 1;
	if (n > 0)
		memcpy(to, from, n);
	to[n] = '\0';
}

static struct tape_event *reserve(struct tape *t, size_t length)
{
	size_t bytes = (sizeof(struct tape_event) + length + EG_TAPE_GRAIN - 1) / EG_TAPE_GRAIN * EG_TAPE_GRAIN;
	size_t at = atomic_fetch_add(&t->used, bytes);
	struct tape_event *e = (struct tape_event *)(void *)((uint8_t *)t + at);

	if (at + bytes > t->bytes) {
		atomic_store(&t->full, 1);
		return NULL;
	}
	e->bytes = (uint32_t)bytes;
	e->length = (uint32_t)length;
	return e;
}

struct tape_event *tape_begin(const struct tape_call *c)
{
	int saved = errno;
	struct tape_event *e;

	atomic_fetch_add(&calls, 1);
	if (atomic_load(&frozen)) {
		atomic_fetch_sub(&calls, 1);
		for (;;)
			pause();
	}
	e = reserve(tape, c->length);
	if (e == NULL) {
		atomic_fetch_sub(&calls, 1);
		return NULL;
	}
	e->kind = c->kind;
	e->file = c->name != NULL ? inode_of(c->dir_fd, c->name) : inode(c->fd);
	e->dir = inode(c->dir_fd);
	e->to_dir = inode(c->to_dir_fd);
	e->offset = c->offset;
	set_name(e->name, c->name);
	set_name(e->to_name, c->to_name);
	if (c->length > 0)
		memcpy(e + 1, c->data, c->length);
	e->begin = atomic_fetch_add(&tape->clock, 1);
	errno = saved;
	return e;
}

void tape_end(struct tape_event *e, int error)
{
	e->error = error;
	atomic_store(&e->end, atomic_fetch_add(&tape->clock, 1));
	atomic_fetch_sub(&calls, 1);
}

void tape_freeze(void)
{
	atomic_store(&frozen, 1);
	while (tape != NULL && atomic_load(&calls) > 0)
		sched_yield();
}

void tape_made(struct tape_event *e, int dir_fd)
{
	e->file = inode_of(dir_fd, e->name);
	tape_end(e, 0);
}

bool tape_fails(void)
{
	return tape != NULL && atomic_load(&tape->fail_sync) > 0 && atomic_fetch_sub(&tape->fail_sync, 1) == 1;
}

uint64_t tape_mark(const void *data, uint32_t bytes)
{
	struct tape_event *e = tape_begin(&(struct tape_call){ .kind = TAPE_MARK, .data = data, .length = bytes });

	if (e == NULL)
		return 0;
	tape_end(e, 0);
	return e->begin;
}

const struct tape_event *tape_next(const struct tape *t, const struct tape_event *before)
{
	size_t first = (sizeof *t + EG_TAPE_GRAIN - 1) / EG_TAPE_GRAIN * EG_TAPE_GRAIN;
	const uint8_t *at = before == NULL ? (const uint8_t *)t + first : (const uint8_t *)before + before->bytes;
	const struct tape_event *e = (const struct tape_event *)(const void *)at;
	size_t used = atomic_load(&t->used);

	used = used < t->bytes ? used : t->bytes;
	return at + sizeof *e <= (const uint8_t *)t + used && e->bytes > 0 ? e : NULL;
}

#endif
