/* Reading a segment in spite of damage, see the header. */
#include "wal/salvage.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/crc32c.h"
#include "common/fault.h"
#include "common/io.h"

bool salvage_blank(const uint8_t *at, size_t bytes)
{
	return bytes == 0 || (at[0] == 0 && memcmp(at, at + 1, bytes - 1) == 0);
}

/* Block by block where the whole cannot be read: a bad sector costs its block. */
static void read_blocks(struct salvage *s, int fd)
{
	for (uint64_t at = 0; at < s->size; at += EG_BLOCK) {
		size_t want = s->size - at < EG_BLOCK ? (size_t)(s->size - at) : EG_BLOCK;

		if (FAULT_READ(SALVAGE_READ_BLOCK, io_read_at(fd, s->image + at, want, at)) == (ssize_t)want)
			continue;
		memset(s->image + at, 0, want);
		if (s->unreadable == 0)
			s->unreadable_at = at;
		s->unreadable += want;
	}
}

static enum err read_image(struct salvage *s, int dir_fd, const char *name, struct fault *f)
{
	int fd = FAULT_FD(SALVAGE_OPEN, io_open(dir_fd, name, O_RDONLY));
	struct stat st;

	if (fd < 0 || fstat(fd, &st) != 0) {
		if (fd >= 0)
			close(fd);
		return err_set(f, EG_E_INTERNAL, NULL, NULL, "%s: %s", name, strerror(fd < 0 ? -fd : errno));
	}
	s->size = (uint64_t)st.st_size;
	s->image = aligned_alloc(EG_BLOCK, (s->size / EG_BLOCK + 3) * EG_BLOCK);
	if (s->image == NULL) {
		close(fd);
		return err_set(f, EG_E_INTERNAL, NULL, NULL, "%s: no memory for its %llu bytes", name,
		               (unsigned long long)s->size);
	}
	memset(s->image + s->size, 0, (s->size / EG_BLOCK + 3) * EG_BLOCK - s->size);
	if (FAULT_READ(SALVAGE_READ, io_read_at(fd, s->image, s->size, 0)) != (ssize_t)s->size)
		read_blocks(s, fd);
	close(fd);
	return EG_E_OK;
}

static void read_headers(struct salvage *s)
{
	for (unsigned i = 2; i-- > 0;) {
		const uint8_t *at = s->image + i * EG_BLOCK;
		struct segment_header h;

		memcpy(&h, at, sizeof h);
		if (s->size < (i + 1) * EG_BLOCK || !segment_header_valid(&h))
			continue;
		s->copy_valid[i] = salvage_blank(at + sizeof h, EG_BLOCK - sizeof h);
		s->header = h;
		s->header_known = true;
	}
	/* Two valid copies that differ: neither is to be trusted alone. */
	if (s->copy_valid[0] && s->copy_valid[1]
	    && memcmp(s->image, s->image + EG_BLOCK, sizeof s->header) != 0)
		s->copy_valid[1] = false;
}

/* Neither copy is valid: the first group found tells the salt and incarnation, by
 * which the others are known; the rest of the header is the caller's to fill in. */
static void adopt_identity(struct salvage *s, const struct group_header *g)
{
	if (s->header_known)
		return;
	s->header.salt = g->salt;
	s->header.incarnation = g->incarnation;
	s->header.start_lsn = g->first_lsn;
	s->header.prev_crc = g->prev_crc;
	s->header_known = true;
}

static bool records_padded(const struct group_header *g)
{
	const uint8_t *end = (const uint8_t *)(g + 1);

	for (const struct record *r = NULL; (r = group_next(g, r)) != NULL;) {
		const uint8_t *packed_end = record_packed(r) + r->packed_bytes;
		const uint8_t *floats = (const uint8_t *)(record_vector(r) + r->dim);

		end = (const uint8_t *)r + r->bytes;
		if (!salvage_blank(packed_end, (size_t)(end - packed_end))
		    || !salvage_blank(floats, record_vector_bytes(r->dim) - r->dim * sizeof(float)))
			return false;
	}
	return g->pad[0] == 0 && g->pad[1] == 0
	       && salvage_blank(end, (size_t)((const uint8_t *)g + g->bytes - end));
}

/* A whole group of this segment at offset? */
static const struct group_header *group_at(struct salvage *s, uint64_t offset)
{
	const struct group_header *g = (const struct group_header *)(const void *)(s->image + offset);

	if (g->magic != EG_GROUP_MAGIC || (s->header_known && (g->salt != s->header.salt
	    || g->incarnation != s->header.incarnation)))
		return NULL;
	return group_fault(g, s->size - offset) == NULL ? g : NULL;
}

static bool add_piece(struct salvage *s, const struct group_header *g, uint64_t offset)
{
	struct piece *p;

	if (s->n == s->cap) {
		size_t cap = s->cap ? s->cap * 2 : 64;
		struct piece *more = realloc(s->pieces, cap * sizeof *more);

		if (more == NULL)
			return false;
		s->pieces = more;
		s->cap = cap;
	}
	p = &s->pieces[s->n];
	*p = (struct piece){ .offset = offset, .first_lsn = g->first_lsn, .durable_lsn = g->durable_lsn,
		.bytes = g->bytes, .n_records = g->n_records, .crc = g->crc };
	p->padded = records_padded(g);
	p->chained = offset == s->end
	             && g->prev_crc == (s->n > 0 ? s->pieces[s->n - 1].crc : s->header.prev_crc);
	s->n++;
	s->end = offset + g->bytes;
	return true;
}

static enum err find_pieces(struct salvage *s, const char *name, struct fault *f)
{
	s->end = EG_SEGMENT_DATA;
	for (uint64_t at = EG_SEGMENT_DATA; at + EG_BLOCK <= s->size;) {
		const struct group_header *g = group_at(s, at);

		if (g == NULL) {
			at += EG_BLOCK;
			continue;
		}
		adopt_identity(s, g);
		if (!add_piece(s, g, at))
			return err_set(f, EG_E_INTERNAL, NULL, NULL, "%s: no memory", name);
		at += g->bytes;
	}
	for (s->junk = s->end; s->junk < s->size && s->image[s->junk] == 0;)
		s->junk++;
	if (s->junk > s->size)
		s->junk = s->size;
	return EG_E_OK;
}

enum err salvage_open(struct salvage *s, int dir_fd, const char *name, struct fault *f)
{
	enum err e;

	memset(s, 0, sizeof *s);
	e = read_image(s, dir_fd, name, f);
	if (e == EG_E_OK) {
		read_headers(s);
		e = find_pieces(s, name, f);
	}
	if (e != EG_E_OK)
		salvage_free(s);
	return e;
}

void salvage_free(struct salvage *s)
{
	free(s->image);
	free(s->pieces);
	memset(s, 0, sizeof *s);
}

bool salvage_torn(const struct salvage *s, size_t next_piece, uint64_t lsn)
{
	for (size_t i = next_piece; i < s->n; i++)
		if (s->pieces[i].durable_lsn >= lsn)
			return false;
	return true;
}
