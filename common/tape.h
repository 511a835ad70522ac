/* The tape: a recording of everything that changes files, for tests that cut the
 * power at any point of it.
 *
 * With --enable-faults the I/O layer writes each call on the tape that all processes
 * of a test share: what it was about, its data, when it began and when it had ended.
 * Times are counted by one clock of the tape, so of two calls in two threads it is
 * known whether one had ended before the other began, which is all that a sync
 * promises something about. Without a tape a call costs one load; a release build
 * knows nothing of it.
 *
 * Only common/io.c writes calls, only tests write marks and read.
 */
#ifndef COMMON_TAPE_H
#define COMMON_TAPE_H

#ifdef EG_FAULTS

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum tape_kind {
	TAPE_CREATE,               /* a file that was not there */
	TAPE_EMPTY,                /* O_TRUNC of one that was */
	TAPE_WRITE, TAPE_ALLOCATE, TAPE_TRUNCATE, TAPE_SYNC,
	TAPE_RENAME, TAPE_UNLINK, TAPE_MAKE_DIR, TAPE_SYNC_DIR,
	TAPE_MARK,                 /* a test's own: data as it likes */
};

#define TAPE_NAME 64

struct tape_event {
	uint32_t bytes;            /* with the data, a multiple of 64 */
	uint32_t kind;             /* enum tape_kind */
	uint64_t begin;            /* time of the tape */
	_Atomic uint64_t end;      /* 0: its process died in it, or it goes on */
	int32_t error;             /* errno, 0 = it succeeded; valid when it has ended */
	uint32_t length;           /* of the data */
	uint64_t file;             /* inode of what it is about */
	uint64_t dir, to_dir;      /* inodes of folders, as far as names are concerned */
	uint64_t offset;           /* of a write; the length that is set */
	char name[TAPE_NAME], to_name[TAPE_NAME];
};

struct tape {
	size_t bytes;              /* of the whole map */
	_Atomic uint64_t clock;    /* the next time */
	_Atomic size_t used;
	_Atomic uint32_t full;     /* something did not fit: the recording is worth nothing */
	_Atomic int32_t fail_sync; /* set by a test: the so many-th sync of a file from now on fails */
};

extern struct tape *tape;          /* NULL: nothing is recorded */

/* In memory that children share. NULL: there is none. */
struct tape *tape_new(size_t bytes);
void tape_free(struct tape *t);
void tape_rewind(struct tape *t);

/* Events in the order of their beginnings; NULL first, NULL last. */
const struct tape_event *tape_next(const struct tape *t, const struct tape_event *before);
static inline const void *tape_data(const struct tape_event *e) { return e + 1; }
/* A mark; returns its time. */
uint64_t tape_mark(const void *data, uint32_t bytes);

/* For the I/O layer: fds are files, dir_fds folders; 0 is none. */
struct tape_call {
	enum tape_kind kind;
	int fd, dir_fd, to_dir_fd;
	const char *name, *to_name;
	uint64_t offset;
	const void *data;
	size_t length;
};
struct tape_event *tape_begin(const struct tape_call *c);
void tape_end(struct tape_event *e, int error);
/* The file or folder of that name was made: the end of the event. */
void tape_made(struct tape_event *e, int dir_fd);
/* Before a process kills itself: wait until none of its threads is in a call, and let none
 * begin another one. So what the tape says was done was done, and nothing else. */
void tape_freeze(void);
/* Shall this sync fail? */
bool tape_fails(void);

#define TAPE_BEGIN(...) \
	struct tape_event *taped = tape == NULL ? NULL : tape_begin(&(struct tape_call){ __VA_ARGS__ })
#define TAPE_END(error) (taped == NULL ? (void)0 : tape_end(taped, (error)))
#define TAPE_MADE(error, dir_fd) (taped == NULL ? (void)0 : (error) != 0 ? tape_end(taped, (error)) \
	: tape_made(taped, (dir_fd)))
#define TAPE_FAILS() tape_fails()

#else

#define TAPE_BEGIN(...) ((void)0)
#define TAPE_END(error) ((void)0)
#define TAPE_MADE(error, dir_fd) ((void)0)
#define TAPE_FAILS() false

#endif
#endif
