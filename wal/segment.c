/* Reading segments, see the header. Never mapped: a bad sector shall be an
 * error of a read, not a signal. */
#include "wal/segment.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/crc32c.h"
#include "common/fault.h"
#include "common/io.h"

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

enum err segment_open(struct segment_reader *s, const char *path, struct fault *f)
{
	struct segment_header copy[2];
	struct stat st;
	enum err e = EG_E_OK;

	memset(s, 0, sizeof *s);
	s->fd = open(path, O_RDONLY | O_CLOEXEC);
	if (s->fd < 0 || fstat(s->fd, &st) != 0) {
		e = err_set(f, EG_E_INTERNAL, NULL, NULL, "%s: %s", path, strerror(errno));
		goto fail;
	}
	s->size = (uint64_t)st.st_size;
	for (unsigned i = 0; i < 2; i++)
		if (FAULT_READ(SEGMENT_HEADER_READ, io_read_at(s->fd, &copy[i], sizeof copy[i], i * EG_BLOCK))
		    != sizeof copy[i])
			memset(&copy[i], 0, sizeof copy[i]);
	if (segment_header_valid(&copy[0]) || segment_header_valid(&copy[1])) {
		s->header = segment_header_valid(&copy[0]) ? copy[0] : copy[1];
		s->offset = EG_SEGMENT_DATA;
		s->prev_crc = s->header.prev_crc;
		if (s->header.format == EG_SEGMENT_FORMAT)
			return EG_E_OK;
		e = err_set(f, EG_E_VALIDATION, NULL, NULL, "%s: format %u, this build reads %u", path,
		            s->header.format, EG_SEGMENT_FORMAT);
	} else {
		e = err_set(f, EG_E_VALIDATION, NULL, NULL, "%s: neither copy of the segment header is valid", path);
	}
fail:
	if (s->fd >= 0)
		close(s->fd);
	s->fd = -1;
	return e;
}

void segment_close(struct segment_reader *s)
{
	if (s->fd >= 0)
		close(s->fd);
	free(s->group);
	memset(s, 0, sizeof *s);
	s->fd = -1;
}

static bool reserve(struct segment_reader *s, size_t bytes)
{
	uint8_t *bigger;

	if (bytes <= s->cap)
		return true;
	bigger = aligned_alloc(64, bytes);
	if (bigger == NULL)
		return false;
	if (s->cap > 0)
		memcpy(bigger, s->group, sizeof(struct group_header));
	free(s->group);
	s->group = bigger;
	s->cap = bytes;
	return true;
}

/* Every record whole, its length within the group, LSNs in sequence. */
static bool records_valid(const struct group_header *g)
{
	size_t at = sizeof *g;

	for (uint32_t i = 0; i < g->n_records; i++) {
		const struct record *r = (const struct record *)(const void *)((const uint8_t *)g + at);

		if (g->bytes - at < sizeof *r || r->bytes < sizeof *r || r->bytes % 64 != 0
		    || r->bytes > g->bytes - at || r->lsn != g->first_lsn + i)
			return false;
		if (record_size(r->dim, r->n_terms, r->n_tags, r->id_bytes, r->packed_bytes) != r->bytes)
			return false;
		if (r->crc != crc32c(0, (const uint8_t *)r + 8, r->bytes - 8))
			return false;
		at += r->bytes;
	}
	return true;
}

const char *group_fault(const struct group_header *g, uint64_t room)
{
	if (g->bytes < EG_BLOCK || g->bytes % EG_BLOCK != 0 || g->bytes > room)
		return "a group longer than the file";
	if (g->crc != crc32c(0, (const uint8_t *)g + 8, g->bytes - 8))
		return "a group whose checksum is wrong";
	return records_valid(g) ? NULL : "a group with a malformed record";
}

/* Read the group at offset into s->group. Returns false with a reason; *blank
 * says that the first block is all zeros. */
static bool read_group(struct segment_reader *s, uint64_t offset, bool *blank, const char **why)
{
	struct group_header h;
	ssize_t got = FAULT_READ(GROUP_HEADER_READ, io_read_at(s->fd, &h, sizeof h, offset));
	static const struct group_header zero;

	*blank = got == 0 || (got == sizeof h && memcmp(&h, &zero, sizeof h) == 0);
	*why = "no group begins here";
	if (got != sizeof h || h.magic != EG_GROUP_MAGIC)
		return false;
	*why = "a group of another segment or writer";
	if (h.salt != s->header.salt || h.incarnation != s->header.incarnation)
		return false;
	*why = "a group longer than the file";
	if (h.bytes < EG_BLOCK || h.bytes % EG_BLOCK != 0 || h.bytes > s->size - offset || !reserve(s, h.bytes))
		return false;
	*why = "a group that is not whole";
	if (FAULT_READ(GROUP_READ, io_read_at(s->fd, s->group, h.bytes, offset)) != (ssize_t)h.bytes)
		return false;
	*why = group_fault((const struct group_header *)(const void *)s->group, h.bytes);
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
		const struct group_header *g = (const struct group_header *)(const void *)s->group;

		if (g->prev_crc == s->prev_crc) {
			s->prev_crc = g->crc;
			s->offset += g->bytes;
			return g;
		}
		blank = false;
		reason = "a group that does not follow the one before";
	}
	if (!blank)
		*why = err_set(f, EG_E_VALIDATION, NULL, NULL, "offset %llu: %s",
		               (unsigned long long)s->offset, reason);
	return NULL;
}

uint64_t segment_offset(const struct segment_reader *s)
{
	return s->offset - ((const struct group_header *)(const void *)s->group)->bytes;
}

const struct record *group_next(const struct group_header *g, const struct record *before)
{
	const uint8_t *at = before ? (const uint8_t *)before + before->bytes : (const uint8_t *)g + sizeof *g;
	const struct record *r = (const struct record *)(const void *)at;

	if (before == NULL)
		return g->n_records > 0 ? r : NULL;
	return before->lsn + 1 < g->first_lsn + g->n_records ? r : NULL;
}

bool segment_has_witness(struct segment_reader *s, uint64_t lsn)
{
	for (uint64_t at = s->offset + EG_BLOCK; at + EG_BLOCK <= s->size; at += EG_BLOCK) {
		const char *why;
		bool blank;

		if (read_group(s, at, &blank, &why)
		    && ((const struct group_header *)(const void *)s->group)->durable_lsn >= lsn)
			return true;
	}
	return false;
}
