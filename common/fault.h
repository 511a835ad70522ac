/* Fault points: places at which a test can make a process die, stop, be slow, or
 * see a call of the I/O layer fail (fault.def is the list).
 *
 * With --enable-faults a point counts its passes in a page that all processes of a
 * family share, and does what is armed there; without it the macros are nothing, and
 * no object file knows this one. A page comes from the file that the environment names in
 * ENGRAM_FAULTS, or from fault_page_new; without a page a point costs one load.
 *
 *	FAULT(SLOT_LIVE);                                   a step was taken
 *	error = FAULT_IO(GROUP_SYNC, io_sync(fd));          0 or an errno
 *	fd = FAULT_FD(SUPERBLOCK_OPEN, io_open(...));       a descriptor or -errno
 *	n = FAULT_READ(GROUP_READ, io_read_at(...));        bytes or -1 with errno
 *
 * Never here: anything that a release build needs.
 */
#ifndef COMMON_FAULT_H
#define COMMON_FAULT_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum fault_action {
	FAULT_KILL = 1,                /* SIGKILL to oneself, before the call */
	FAULT_AFTER = 2,               /* the same, after it */
	FAULT_TORN = 4,                /* the same, when half of a write is done */
	FAULT_STOP = 8,                /* SIGSTOP */
	FAULT_DELAY = 16,              /* 20 ms */
	FAULT_EIO = 32,                /* the call is not made and fails */
	FAULT_ENOSPC = 64,
	FAULT_SHORT = 128,             /* the first write takes half */
};

#ifdef EG_FAULTS

enum fault_point {
#define X(name, where, actions) FAULT_##name,
#include "common/fault.def"
#undef X
	FAULT_POINTS
};

#define FAULT_SLOTS 4u
#define FAULT_KINDS 4u                 /* enum process_kind */
#define FAULT_ANY 0xffu
#define FAULT_MAGIC 0x544c5546u        /* "FULT" */

struct fault_slot {                    /* action is stored last and read first */
	_Atomic uint32_t action;       /* 0: not armed */
	_Atomic uint32_t point, kind, nth, times;   /* from the nth pass on, so often; 0: for ever */
	_Atomic uint32_t passed, fired;
	_Atomic int32_t pid;           /* of the process in which it fired last */
};

struct fault_page {
	uint32_t magic, n_points;
	struct fault_slot slots[FAULT_SLOTS];
	_Atomic uint64_t hits[FAULT_POINTS][FAULT_KINDS];
};

struct fault_info { const char *name, *where; unsigned actions; };

extern struct fault_page *fault_page;              /* NULL: nothing is counted */
extern const struct fault_info fault_infos[FAULT_POINTS];

/* A page in memory for this process and those forked from it. */
struct fault_page *fault_page_new(void);
/* Map a page in a file, made if need be. NULL with errno. */
struct fault_page *fault_page_open(const char *path);
/* Disarm a slot, then arm it anew (actions: one of the point's). */
void fault_disarm(struct fault_page *p, unsigned slot);
void fault_arm(struct fault_page *p, unsigned slot, enum fault_point point, unsigned kind,
               enum fault_action action, uint32_t nth, uint32_t times);
/* Of which kind this process is (enum process_kind), for the counts. */
void fault_kind(unsigned kind);

void fault_pass(enum fault_point point);
/* Before a call: 0 or the errno with which it fails. After it: kills or not. */
int fault_before(enum fault_point point);
void fault_after(void);
/* How much of `left` bytes the next write may take. */
size_t fault_share(size_t left);

static inline int fault_result(int result) { fault_after(); return result; }
static inline ssize_t fault_bytes(ssize_t result) { fault_after(); return result; }
int fault_error(void);                 /* what fault_before has just said */
ssize_t fault_errno(void);             /* the same into errno; -1 */

#define FAULT(name) fault_pass(FAULT_##name)
#define FAULT_IO(name, call) (fault_before(FAULT_##name) ? fault_error() : fault_result(call))
#define FAULT_FD(name, call) (fault_before(FAULT_##name) ? -fault_error() : fault_result(call))
#define FAULT_READ(name, call) (fault_before(FAULT_##name) ? fault_errno() : fault_bytes(call))
#define FAULT_SHARE(left) fault_share(left)
#define FAULT_KIND(kind) fault_kind(kind)

#else

#define FAULT(name) ((void)0)
#define FAULT_IO(name, call) (call)
#define FAULT_FD(name, call) (call)
#define FAULT_READ(name, call) (call)
#define FAULT_SHARE(left) (left)
#define FAULT_KIND(kind) ((void)0)

#endif
#endif
