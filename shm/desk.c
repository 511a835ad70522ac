/* The pool of desks: one memfd each, mapped everywhere, writable once.
 *
 *   0        struct desk_header                     one page
 *   4096     struct master_page or struct wal_page  two pages (desks 0 and 1)
 *   12288    counters            EG_COUNTERS_MAX x 8
 *   20480    epoch slots         EG_EPOCHS_MAX x 64
 *   ...      access ring: head (64 bytes), EG_ACCESS_RING x 24
 *   ...      lanes: head (one page), payload ring
 *   ...      desk 1 instead: answers of every lane of every desk
 *
 * The read-only maps are made from descriptors opened O_RDONLY, so mprotect
 * cannot make them writable in a child that has closed the others.
 */
#include "shm/desk.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/fault.h"

#define EG_DESK_MAGIC 0x4b534445u      /* "EDSK" */
#define EG_PAGE 4096u

enum {
	AT_KIND = EG_PAGE,
	AT_COUNTERS = AT_KIND + 2 * EG_PAGE,
	AT_EPOCHS = AT_COUNTERS + EG_COUNTERS_MAX * 8,
	AT_ACCESS = AT_EPOCHS + EG_EPOCHS_MAX * 64,
	AT_LANES = (AT_ACCESS + 64 + EG_ACCESS_RING * (int)sizeof(struct access_event) + EG_PAGE - 1)
	           / EG_PAGE * EG_PAGE,
};
_Static_assert(sizeof(struct desk_header) <= EG_PAGE, "one page");
_Static_assert(sizeof(struct master_page) <= 2 * EG_PAGE, "two pages");
_Static_assert(sizeof(struct wal_page) <= 2 * EG_PAGE, "two pages");
_Static_assert(sizeof(struct epoch_slot) == 64, "a cache line, or slots would share one");

static size_t up_to_page(size_t n) { return (n + EG_PAGE - 1) / EG_PAGE * EG_PAGE; }

static size_t desk_bytes(const struct desks *d, unsigned number)
{
	return number == EG_DESK_WAL ? d->wal_bytes : d->bytes;
}

/* Largest power of two that divides the buffer fairly; 256 KiB .. 256 MiB. */
static size_t lane_size(size_t buffer_bytes, unsigned shares)
{
	size_t size = (size_t)256 << 10;

	while (size * 2 * shares <= buffer_bytes && size < (size_t)256 << 20)
		size *= 2;
	return size;
}

static enum err desk_make(struct desks *d, unsigned number, struct fault *f)
{
	char name[32], path[64];
	int ro;

	snprintf(name, sizeof name, "engram-desk-%u", number);
	d->fd[number] = memfd_create(name, MFD_CLOEXEC);
	if (d->fd[number] < 0 || ftruncate(d->fd[number], (off_t)desk_bytes(d, number)) != 0)
		return err_set(f, EG_E_INTERNAL, NULL, NULL, "desk %u: %s", number, strerror(errno));
	snprintf(path, sizeof path, "/proc/self/fd/%d", d->fd[number]);
	ro = open(path, O_RDONLY | O_CLOEXEC);
	if (ro < 0)
		return err_set(f, EG_E_INTERNAL, NULL, NULL, "desk %u: %s: %s", number, path, strerror(errno));
	d->base[number] = mmap(NULL, desk_bytes(d, number), PROT_READ, MAP_SHARED, ro, 0);
	if (number == EG_DESK_MASTER)
		d->master_ro = ro;
	else
		close(ro);
	if (d->base[number] == MAP_FAILED) {
		d->base[number] = NULL;
		return err_set(f, EG_E_INTERNAL, NULL, NULL, "desk %u: mmap: %s", number, strerror(errno));
	}
	d->bell[number] = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (d->bell[number] < 0)
		return err_set(f, EG_E_INTERNAL, NULL, NULL, "desk %u: eventfd: %s", number, strerror(errno));
	return EG_E_OK;
}

/* Replace the read-only map of a desk by a writable one, at the same address. */
static enum err desk_own(struct desks *d, unsigned number, struct fault *f)
{
	if (mmap(d->base[number], desk_bytes(d, number), PROT_READ | PROT_WRITE,
	         MAP_SHARED | MAP_FIXED, d->fd[number], 0) == MAP_FAILED)
		return err_set(f, EG_E_INTERNAL, NULL, NULL, "desk %u: mmap: %s", number, strerror(errno));
	d->self = (int)number;
	return EG_E_OK;
}

enum err desks_new(struct desks *d, unsigned n, unsigned lanes, unsigned producers,
                   size_t buffer_bytes, struct fault *f)
{
	EG_ASSERT(n > EG_DESK_FIRST && n <= EG_DESKS_MAX && producers > 0);
	memset(d, 0, sizeof *d);
	d->n = n;
	d->self = d->master_ro = -1;
	d->lanes = lanes < 1 ? 1 : lanes > EG_LANES_MAX ? EG_LANES_MAX : lanes;
	d->lane_bytes = lane_size(buffer_bytes, producers * d->lanes);
	d->bytes = AT_LANES + d->lanes * (EG_PAGE + d->lane_bytes);
	d->wal_bytes = AT_LANES + up_to_page((size_t)n * d->lanes * sizeof(struct lane_answers));
	for (unsigned i = 0; i < n; i++)
		d->fd[i] = d->bell[i] = -1;
	for (unsigned i = 0; i < n; i++) {
		enum err e = desk_make(d, i, f);

		if (e != EG_E_OK) {
			desks_free(d);
			return e;
		}
	}
	return desk_own(d, EG_DESK_MASTER, f);
}

void desks_free(struct desks *d)
{
	for (unsigned i = 0; i < d->n; i++) {
		if (d->base[i] != NULL)
			munmap(d->base[i], desk_bytes(d, i));
		if (d->fd[i] >= 0)
			close(d->fd[i]);
		if (d->bell[i] >= 0)
			close(d->bell[i]);
	}
	if (d->n > 0 && d->master_ro >= 0)
		close(d->master_ro);
	d->n = 0;
}

/* Field 22 of /proc/self/stat: with the pid it names a process for good. */
static uint64_t own_start_time(void)
{
	char line[1024], *at;
	uint64_t ticks = 0;
	ssize_t n;
	int fd = open("/proc/self/stat", O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return 0;
	n = read(fd, line, sizeof line - 1);
	close(fd);
	if (n <= 0)
		return 0;
	line[n] = '\0';
	at = strrchr(line, ')');
	if (at != NULL && sscanf(at + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d"
	                         " %*d %*d %*d %*d %lu", &ticks) != 1)
		ticks = 0;
	return ticks;
}

enum err desk_take(struct desks *d, unsigned number, struct fault *f)
{
	struct desk_header *h;
	struct epoch_slot *slots;
	enum err e;

	EG_ASSERT(number < d->n && number != EG_DESK_MASTER);
	/* The master's own map was inherited writable. Taking the right away would not do,
	 * mprotect gives it back: only a map of a read-only descriptor cannot be opened. */
	if (mmap(d->base[EG_DESK_MASTER], d->bytes, PROT_READ, MAP_SHARED | MAP_FIXED, d->master_ro, 0) == MAP_FAILED)
		return err_set(f, EG_E_INTERNAL, NULL, NULL, "desk 0: mmap: %s", strerror(errno));
	e = desk_own(d, number, f);
	if (e != EG_E_OK)
		return e;
	for (unsigned i = 0; i < d->n; i++) {
		close(d->fd[i]);
		d->fd[i] = -1;
	}
	close(d->master_ro);
	d->master_ro = -1;
	h = desk_header(d, number);
	/* Before the names change: the master must not take the predecessor's word for ours. */
	atomic_store(&h->ready, 0);
	h->magic = EG_DESK_MAGIC;
	h->number = number;
	atomic_store(&h->incarnation, atomic_load(&desk_master(d)->seats[number].incarnation));
	atomic_store(&h->start_time, own_start_time());
	atomic_store(&h->pid, (int32_t)getpid());
	atomic_store(&h->sleeping, 0);
	slots = desk_epochs(d, number);
	for (unsigned i = 0; i < EG_EPOCHS_MAX; i++)
		atomic_store(&slots[i].epoch, 0);
	desk_beat(d);
	FAULT(CHILD_SEATED);
	return EG_E_OK;
}

static void *desk_at(const struct desks *d, unsigned number, size_t offset)
{
	EG_ASSERT(number < d->n);
	return d->base[number] + offset;
}

struct desk_header *desk_header(const struct desks *d, unsigned number) { return desk_at(d, number, 0); }
struct master_page *desk_master(const struct desks *d) { return desk_at(d, EG_DESK_MASTER, AT_KIND); }
struct wal_page *desk_wal(const struct desks *d) { return desk_at(d, EG_DESK_WAL, AT_KIND); }
_Atomic uint64_t *desk_counters(const struct desks *d, unsigned number) { return desk_at(d, number, AT_COUNTERS); }
struct epoch_slot *desk_epochs(const struct desks *d, unsigned number) { return desk_at(d, number, AT_EPOCHS); }
_Atomic uint64_t *desk_access_head(const struct desks *d, unsigned number) { return desk_at(d, number, AT_ACCESS); }
struct access_event *desk_access(const struct desks *d, unsigned number) { return desk_at(d, number, AT_ACCESS + 64); }

struct lane_answers *desk_answers(const struct desks *d, unsigned number, unsigned lane)
{
	EG_ASSERT(number < d->n && lane < d->lanes);
	return (struct lane_answers *)desk_at(d, EG_DESK_WAL, AT_LANES) + (size_t)number * d->lanes + lane;
}

_Atomic uint64_t *desk_lane_head(const struct desks *d, unsigned number, unsigned lane)
{
	EG_ASSERT(lane < d->lanes && number >= EG_DESK_FIRST);
	return desk_at(d, number, AT_LANES + lane * (EG_PAGE + d->lane_bytes));
}

uint8_t *desk_lane_ring(const struct desks *d, unsigned number, unsigned lane)
{
	EG_ASSERT(lane < d->lanes && number >= EG_DESK_FIRST);
	return desk_at(d, number, AT_LANES + lane * (EG_PAGE + d->lane_bytes) + EG_PAGE);
}

void desk_beat(const struct desks *d)
{
	atomic_store_explicit(&desk_header(d, (unsigned)d->self)->beat_ns, (uint64_t)clock_mono_ns(),
	                      memory_order_relaxed);
}

void desk_ring_always(const struct desks *d, unsigned number)
{
	uint64_t one = 1;
	ssize_t n = write(d->bell[number], &one, sizeof one);

	/* EAGAIN: the counter is full, so it has been rung. */
	EG_ASSERT(n == (ssize_t)sizeof one || errno == EAGAIN);
}

void desk_ring(const struct desks *d, unsigned number)
{
	atomic_thread_fence(memory_order_seq_cst);
	if (atomic_load_explicit(&desk_header(d, number)->sleeping, memory_order_relaxed))
		desk_ring_always(d, number);
}

bool desk_hush(const struct desks *d)
{
	uint64_t n;

	return read(d->bell[d->self], &n, sizeof n) == (ssize_t)sizeof n;
}

void desk_access_note(const struct desks *d, uint32_t slot, uint32_t generation,
                      enum access_kind kind, uint64_t now_ms)
{
	uint64_t at = atomic_fetch_add_explicit(desk_access_head(d, (unsigned)d->self), 1,
	                                        memory_order_relaxed);
	struct access_event *a = &desk_access(d, (unsigned)d->self)[at % EG_ACCESS_RING];

	atomic_store_explicit(&a->seq, 0, memory_order_relaxed);
	atomic_thread_fence(memory_order_release);
	atomic_store_explicit(&a->ref, (uint64_t)slot << 32 | generation, memory_order_relaxed);
	atomic_store_explicit(&a->what, now_ms << 8 | (uint64_t)kind, memory_order_relaxed);
	atomic_store_explicit(&a->seq, at + 1, memory_order_release);
}
