/* Reading segments, see the header. Never mapped: a bad sector shall be an
 * error of a read, not a signal. */
#include "wal/segment.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/crc32c.h"
#include "common/fault.h"
#include "common/io.h"
#include "wal/ahead.h"

#define EG_WINDOW ((size_t)1 << 20)    /* read at a time; longer when a group is */
#define EG_WINDOW_KEPT ((size_t)4 << 20) /* of each of two: who applies groups may fall behind so far */

void segment_seal_header(struct segment_header *h)
{
	h->crc = crc32c(0, h, offsetof(struct segment_header, crc));
}

void group_seal(struct group_header *g)
{
	g->crc = crc32c(0, (const uint8_t *)g + 8, g->bytes - 8);
}

bool segment_header_valid(const struct segment_header *h)
{
	return h->magic == EG_SEGMENT_MAGIC && h->crc == crc32c(0, h, offsetof(struct segment_header, crc));
}

/* Is most of the file in the page cache? It is mapped for the question alone and never touched. (A read that
 * does not wait would bring in what it asks for.) */
static bool is_cached(const struct segment_reader *s)
{
	const size_t page = (size_t)sysconf(_SC_PAGESIZE), n = ((size_t)s->size + page - 1) / page;
	unsigned char *there = malloc(n + 1);
	void *at = n > 0 ? mmap(NULL, (size_t)s->size, PROT_READ, MAP_SHARED, s->fd, 0) : MAP_FAILED;
	size_t cached = 0;

	EG_ASSERT(there != NULL);
	if (at != MAP_FAILED && mincore(at, (size_t)s->size, there) == 0)
		for (size_t i = 0; i < n; i++)
			cached += there[i] & 1;
	if (at != MAP_FAILED)
		munmap(at, (size_t)s->size);
	free(there);
	return cached > n / 2;
}

static void set_direct(struct segment_reader *s, bool direct)
{
	int flags = fcntl(s->fd, F_GETFL);

	if (flags >= 0 && fcntl(s->fd, F_SETFL, direct ? flags | O_DIRECT : flags & ~O_DIRECT) == 0)
		s->direct = direct;
}

/* Read again: past the cache it is refused, as by a file system that took the flag. */
static bool refused(struct segment_reader *s, ssize_t got)
{
	if (got >= 0 || errno != EINVAL || !s->direct)
		return false;
	set_direct(s, false);
	return true;
}

static ssize_t read_at(struct segment_reader *s, void *to, size_t n, uint64_t at)
{
	ssize_t got = FAULT_READ(GROUP_READ, io_read_at(s->fd, to, n, at));

	if (refused(s, got))
		got = FAULT_READ(GROUP_READ, io_read_at(s->fd, to, n, at));
	return got;
}

/* Room for so many bytes in the window; what is in it stays. No memory says as little about the place as
 * a read that failed. */
static bool reserve(struct segment_reader *s, size_t bytes)
{
	uint8_t *bigger;

	if (bytes <= s->window_cap)
		return true;
	if (s->direct)
		bigger = ahead_buffer(&bytes);
	else
		bigger = aligned_alloc(EG_BLOCK, bytes);
	if (bigger == NULL) {
		s->error = ENOMEM;
		return false;
	}
	if (s->window_bytes > 0)
		memcpy(bigger, s->window, s->window_bytes);
	free(s->window);
	s->window = bigger;
	s->window_cap = bytes;
	return true;
}

/* Either copy will do. */
static enum err read_header(struct segment_reader *s, const char *path, struct fault *f)
{
	struct segment_header copy[2];

	EG_ASSERT(reserve(s, EG_BLOCK));
	for (unsigned i = 0; i < 2; i++) {
		ssize_t got = FAULT_READ(SEGMENT_HEADER_READ, io_read_at(s->fd, s->window, EG_BLOCK, i * EG_BLOCK));

		if (refused(s, got))
			got = FAULT_READ(SEGMENT_HEADER_READ, io_read_at(s->fd, s->window, EG_BLOCK, i * EG_BLOCK));
		if (got < 0)
			s->error = errno;
		if (got < (ssize_t)sizeof copy[i])
			memset(&copy[i], 0, sizeof copy[i]);
		else
			memcpy(&copy[i], s->window, sizeof copy[i]);
	}
	if (segment_header_valid(&copy[0]) || segment_header_valid(&copy[1])) {
		s->header = segment_header_valid(&copy[0]) ? copy[0] : copy[1];
		s->offset = EG_SEGMENT_DATA;
		s->prev_crc = s->header.prev_crc;
		s->error = 0;
		if (s->header.format == EG_SEGMENT_FORMAT)
			return EG_E_OK;
		return err_set(f, EG_E_VALIDATION, NULL, NULL, "%s: format %u, this build reads %u", path,
		               s->header.format, EG_SEGMENT_FORMAT);
	}
	if (s->error != 0)
		return err_set(f, EG_E_INTERNAL, NULL, NULL, "%s: the header cannot be read: %s", path, strerror(s->error));
	return err_set(f, EG_E_VALIDATION, NULL, NULL, "%s: neither copy of the segment header is valid", path);
}

static enum err open_by(struct segment_reader *s, const char *path, bool once, struct fault *f)
{
	struct stat st;
	enum err e;

	memset(s, 0, sizeof *s);
	s->fd = open(path, O_RDONLY | O_CLOEXEC);
	if (s->fd < 0 || fstat(s->fd, &st) != 0) {
		e = err_set(f, EG_E_INTERNAL, NULL, NULL, "%s: %s", path, strerror(errno));
	} else {
		s->size = (uint64_t)st.st_size;
		if (once && !is_cached(s))
			set_direct(s, true);
		e = read_header(s, path, f);
	}
	if (e != EG_E_OK)
		segment_close(s);
	return e;
}

enum err segment_open(struct segment_reader *s, const char *path, struct fault *f)
{
	return open_by(s, path, false, f);
}

enum err segment_open_once(struct segment_reader *s, const char *path, size_t ahead, struct fault *f)
{
	enum err e = open_by(s, path, true, f);

	if (e == EG_E_OK && ahead > 0)
		s->ahead = ahead_open(s->fd, ahead, EG_SEGMENT_DATA);
	return e;
}

void segment_close(struct segment_reader *s)
{
	for (unsigned i = 0; i < 2 && s->moves != NULL; i++)
		s->moves(s->moves_arg);
	ahead_close(s->ahead);
	if (s->fd >= 0)
		close(s->fd);
	free(s->window);
	free(s->other);
	memset(s, 0, sizeof *s);
	s->fd = -1;
}

/* `need` bytes, n at most: what the thread has read, or else by this one. */
static ssize_t read_next(struct segment_reader *s, uint8_t *to, size_t n, size_t need, uint64_t at)
{
	size_t got = s->ahead != NULL ? ahead_take(s->ahead, to, n, at) : 0;
	ssize_t more;

	if (got >= need && got > 0)
		return (ssize_t)got;
	more = read_at(s, to + got, n - got, at + got);
	return more < 0 ? more : (ssize_t)got + more;
}

/* Read on behind the window, to make it `want` bytes long. A place that cannot be read
 * must not cost what lies before it, so then only what is needed is tried. */
static bool read_on(struct segment_reader *s, size_t want, size_t need)
{
	size_t have = s->window_bytes;
	uint64_t at = s->window_at + have;
	ssize_t got = read_next(s, s->window + have, want - have, need - have, at);

	if (got < 0 && want > need)
		got = read_at(s, s->window + have, need - have, at);
	if (got < 0) {
		s->error = errno;
		return false;
	}
	s->window_bytes += (size_t)got;
	/* The next window is read by the kernel while this one is looked at. */
	if (!s->direct)
		(void)posix_fadvise(s->fd, (off_t)(at + (uint64_t)got), EG_WINDOW, POSIX_FADV_WILLNEED);
	return s->window_bytes >= need;
}

bool segment_read_again(struct segment_reader *s, void *to, size_t bytes, uint64_t offset)
{
	ssize_t got = read_at(s, to, bytes, offset);

	if (got == (ssize_t)bytes)
		return true;
	s->error = got < 0 ? errno : EIO;
	return false;
}

/* Let the window begin `gone` bytes later, with room for `bytes`. With a moves function it is the other one
 * from now on: in this one lie groups that somebody keeps. */
static bool move_on(struct segment_reader *s, size_t gone, size_t bytes)
{
	uint8_t *window = s->window;
	size_t cap = s->window_cap, rest = s->window_bytes - gone;

	s->window_at += gone;
	if (s->moves == NULL) {
		s->window_bytes = rest;
		if (gone > 0)
			memmove(window, window + gone, rest);
		return reserve(s, bytes);
	}
	s->moves(s->moves_arg);
	s->window = s->other;
	s->window_cap = s->other_cap;
	s->other = window;
	s->other_cap = cap;
	s->window_bytes = 0;
	if (!reserve(s, bytes))
		return false;
	memcpy(s->window, window + gone, rest);
	s->window_bytes = rest;
	return true;
}

/* Bytes of the file at offset (a multiple of a block), in the window; NULL when they are not to be had. */
static const void *look(struct segment_reader *s, uint64_t offset, size_t bytes)
{
	size_t least = s->moves != NULL ? EG_WINDOW_KEPT : EG_WINDOW, want = bytes > least ? bytes : least;

	if (offset < s->window_at || offset > s->window_at + s->window_bytes) {
		s->window_at = offset;
		s->window_bytes = 0;
	}
	if (offset + bytes > s->window_at + s->window_bytes) {
		want = want > s->size - offset ? s->size - offset : want;
		if (bytes > s->size - offset
		    || !move_on(s, offset - s->window_at, (want + EG_BLOCK - 1) / EG_BLOCK * EG_BLOCK)
		    || !read_on(s, want, bytes))
			return NULL;
	}
	return s->window + (offset - s->window_at);
}

/* Every record whole, its length within the group, LSNs in sequence; and *crc that of all of the
 * group: a record at a time, so that what is read twice comes from the cache. */
static bool records_valid(const struct group_header *g, uint32_t *crc)
{
	size_t at = sizeof *g;

	*crc = crc32c(0, (const uint8_t *)g + 8, sizeof *g - 8);

	for (uint32_t i = 0; i < g->n_records; i++) {
		const struct record *r = (const struct record *)(const void *)((const uint8_t *)g + at);

		if (g->bytes - at < sizeof *r || r->bytes < sizeof *r || r->bytes % 64 != 0
		    || r->bytes > g->bytes - at || r->lsn != g->first_lsn + i)
			return false;
		if (record_size(r->dim, r->n_terms, r->n_tags, r->id_bytes, r->packed_bytes) != r->bytes)
			return false;
		if (r->crc != crc32c(0, (const uint8_t *)r + 8, r->bytes - 8))
			return false;
		*crc = crc32c(*crc, r, r->bytes);
		at += r->bytes;
	}
	*crc = crc32c(*crc, (const uint8_t *)g + at, g->bytes - at);
	return true;
}

const char *group_fault(const struct group_header *g, uint64_t room)
{
	uint32_t crc;

	if (g->bytes < EG_BLOCK || g->bytes % EG_BLOCK != 0 || g->bytes > room)
		return "a group longer than the file";
	if (records_valid(g, &crc))
		return g->crc == crc ? NULL : "a group whose checksum is wrong";
	return g->crc == crc32c(0, (const uint8_t *)g + 8, g->bytes - 8) ? "a group with a malformed record"
	                                                                 : "a group whose checksum is wrong";
}

/* The group at offset, in s->group. Returns false with a reason; *blank says that
 * the first block is all zeros. */
static bool read_group(struct segment_reader *s, uint64_t offset, bool *blank, const char **why)
{
	static const struct group_header zero;
	const struct group_header *h = offset < s->size ? look(s, offset, sizeof *h) : NULL;
	uint32_t bytes;

	*blank = offset >= s->size || (h != NULL && memcmp(h, &zero, sizeof *h) == 0);
	*why = "no group begins here";
	if (h == NULL || h->magic != EG_GROUP_MAGIC)
		return false;
	*why = "a group of another segment or writer";
	if (h->salt != s->header.salt || h->incarnation != s->header.incarnation)
		return false;
	*why = "a group longer than the file";
	bytes = h->bytes;
	if (bytes < EG_BLOCK || bytes % EG_BLOCK != 0 || bytes > s->size - offset)
		return false;
	*why = "a group that is not whole";
	h = look(s, offset, bytes);
	if (h == NULL || h->bytes != bytes)
		return false;
	*why = group_fault(h, bytes);
	s->group = h;
	return *why == NULL;
}

const struct group_header *segment_next(struct segment_reader *s, enum err *why, struct fault *f)
{
	const char *reason = "";
	bool blank = true;

	*why = EG_E_OK;
	if (s->offset >= s->size)
		return NULL;
	if (read_group(s, s->offset, &blank, &reason)) {
		const struct group_header *g = s->group;

		if (g->prev_crc == s->prev_crc) {
			s->prev_crc = g->crc;
			s->offset += g->bytes;
			return g;
		}
		blank = false;
		reason = "a group that does not follow the one before";
	}
	if (s->error != 0)
		*why = err_set(f, EG_E_INTERNAL, NULL, NULL, "offset %llu: cannot be read: %s",
		               (unsigned long long)s->offset, strerror(s->error));
	else if (!blank)
		*why = err_set(f, EG_E_VALIDATION, NULL, NULL, "offset %llu: %s",
		               (unsigned long long)s->offset, reason);
	return NULL;
}

bool segment_seek(struct segment_reader *s, uint64_t from, uint64_t to)
{
	for (uint64_t at = from; at < to && at + EG_BLOCK <= s->size && s->error == 0; at += EG_BLOCK) {
		const char *why;
		bool blank;

		if (!read_group(s, at, &blank, &why))
			continue;
		s->offset = at;
		s->prev_crc = s->group->prev_crc;
		return true;
	}
	return false;
}

bool segment_skip(struct segment_reader *s, uint64_t *first_lsn, uint64_t *last_lsn)
{
	struct group_header h;
	ssize_t got = FAULT_READ(GROUP_HEADER_READ, io_read_at(s->fd, &h, sizeof h, s->offset));

	if (got != (ssize_t)sizeof h || h.magic != EG_GROUP_MAGIC || h.salt != s->header.salt
	    || h.bytes < EG_BLOCK || h.bytes % EG_BLOCK != 0 || h.bytes > s->size - s->offset)
		return false;
	s->offset += h.bytes;
	*first_lsn = h.first_lsn;
	*last_lsn = h.first_lsn + h.n_records - 1;
	return true;
}

uint64_t segment_offset(const struct segment_reader *s)
{
	return s->offset - s->group->bytes;
}

const struct record *group_next(const struct group_header *g, const struct record *before)
{
	const uint8_t *at = before ? (const uint8_t *)before + before->bytes : (const uint8_t *)g + sizeof *g;
	const struct record *r = (const struct record *)(const void *)at;

	if (before == NULL)
		return g->n_records > 0 ? r : NULL;
	return before->lsn + 1 < g->first_lsn + g->n_records ? r : NULL;
}

/* Where data begins at or behind `at`, and in *end where it ends. What was never written is not
 * read: it is all zeros. A file system that does not know says that all is data. */
static uint64_t next_data(const struct segment_reader *s, uint64_t at, uint64_t *end)
{
	off_t data = lseek(s->fd, (off_t)at, SEEK_DATA), hole;

	*end = s->size;
	if (data < 0)
		return errno == ENXIO ? s->size : at;
	hole = lseek(s->fd, data, SEEK_HOLE);
	if (hole > data && (uint64_t)hole < s->size)
		*end = (uint64_t)hole;
	return (uint64_t)data / EG_BLOCK * EG_BLOCK;
}

bool segment_has_witness(struct segment_reader *s, uint64_t lsn)
{
	uint64_t end, at = next_data(s, s->offset + EG_BLOCK, &end);

	while (at + EG_BLOCK <= s->size) {
		const char *why;
		bool blank;

		if (read_group(s, at, &blank, &why)
		    && s->group->durable_lsn >= lsn)
			return true;
		at += EG_BLOCK;
		if (at >= end)
			at = next_data(s, at, &end);
	}
	return false;
}
