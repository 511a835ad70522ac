/* Reading checkpoints, see the header; writing is in checkpoint_out.c. */
#include "wal/checkpoint.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/crc32c.h"
#include "common/fault.h"
#include "common/io.h"

#define EG_MANIFEST_MAX (UINT64_C(1) << 30)

unsigned extent_entries(uint32_t kind)
{
	switch (kind) {
#define X(name, number, entries, bytes, text) case number: return entries;
#include "wal/extent.def"
#undef X
	default:
		return 0;
	}
}

unsigned extent_entry_bytes(uint32_t kind)
{
	switch (kind) {
#define X(name, number, entries, bytes, text) case number: return bytes;
#include "wal/extent.def"
#undef X
	default:
		return 0;
	}
}

void checkpoint_name(char out[32], uint64_t id)
{
	snprintf(out, 32, "%016llx.ckpt", (unsigned long long)id);
}

static enum err damaged(struct fault *f, const char *name, const char *why)
{
	return err_set(f, EG_E_VALIDATION, NULL, NULL, "checkpoint %s: %s", name, why);
}

/* ---- header, footer, manifest ------------------------------------------------------ */

static enum err read_header(struct checkpoint *c, int fd, const char *name, const uint8_t uuid[16], struct fault *f)
{
	struct checkpoint_header *h = &c->header;

	if (FAULT_READ(CHECKPOINT_READ_HEADER, io_read_at(fd, h, sizeof *h, 0)) != (ssize_t)sizeof *h
	    || h->magic != EG_CHECKPOINT_MAGIC || h->crc != crc32c(0, h, offsetof(struct checkpoint_header, crc)))
		return damaged(f, name, "the header is damaged");
	if (h->format > EG_CHECKPOINT_FORMAT)
		return err_set(f, EG_E_LATER, NULL, NULL,
		               "checkpoint %s has format %u, this build reads up to %u: it was written by a newer one",
		               name, h->format, EG_CHECKPOINT_FORMAT);
	if (h->format == 0)
		return damaged(f, name, "there is no format 0");
	if (memcmp(h->uuid, uuid, sizeof h->uuid) != 0)
		return damaged(f, name, "it belongs to another data directory");
	if (h->max_lsn < h->start_lsn || h->id == 0)
		return damaged(f, name, "the header contradicts itself");
	return EG_E_OK;
}

/* The last 64 bytes; they say again where the manifest is. */
static enum err read_footer(const struct checkpoint *c, int fd, const char *name, struct checkpoint_footer *t,
                            struct fault *f)
{
	uint64_t bytes = c->header.bytes;
	struct stat st;

	if (fstat(fd, &st) != 0)
		return err_set(f, EG_E_INTERNAL, NULL, NULL, "checkpoint %s: %s", name, strerror(errno));
	if ((uint64_t)st.st_size != bytes || bytes < EG_CHECKPOINT_DATA + sizeof *t)
		return damaged(f, name, "it has another length than its header says");
	if (FAULT_READ(CHECKPOINT_READ_FOOTER, io_read_at(fd, t, sizeof *t, bytes - sizeof *t)) != (ssize_t)sizeof *t
	    || t->magic != EG_FOOTER_MAGIC || t->crc != crc32c(0, (const uint8_t *)t + 8, sizeof *t - 8))
		return damaged(f, name, "the footer is damaged");
	if (t->id != c->header.id || t->bytes != bytes || t->manifest_bytes < sizeof(struct manifest_header)
	    || t->manifest_bytes > EG_MANIFEST_MAX || t->manifest_offset < EG_CHECKPOINT_DATA
	    || t->manifest_bytes + sizeof *t > bytes
	    || t->manifest_offset != bytes - sizeof *t - t->manifest_bytes)
		return damaged(f, name, "the footer contradicts the header");
	return EG_E_OK;
}

static bool manifest_fits(const struct manifest_header *m, const struct checkpoint_header *h, uint64_t bytes)
{
	return m->magic == EG_MANIFEST_MAGIC && m->bytes == bytes && m->id == h->id && m->start_lsn == h->start_lsn
	       && m->max_lsn == h->max_lsn && m->rows == h->rows && m->spaces == h->spaces
	       && bytes == sizeof *m + m->n * sizeof(struct extent_ref)
	       && m->crc == crc32c(0, (const uint8_t *)m + 8, bytes - 8);
}

static enum err read_manifest(struct checkpoint *c, int fd, const char *name, const struct checkpoint_footer *t,
                              struct fault *f)
{
	uint64_t bytes = t->manifest_bytes;
	struct manifest_header *m = malloc(bytes);
	enum err e = EG_E_OK;

	if (m == NULL)
		return err_set(f, EG_E_INTERNAL, NULL, NULL, "checkpoint %s: no memory for its manifest", name);
	if (FAULT_READ(CHECKPOINT_READ_MANIFEST, io_read_at(fd, m, bytes, t->manifest_offset)) != (ssize_t)bytes
	    || !manifest_fits(m, &c->header, bytes) || m->crc != t->manifest_crc)
		e = damaged(f, name, "the manifest is damaged");
	if (e == EG_E_OK) {
		c->n_refs = m->n;
		c->refs = malloc((m->n + 1) * sizeof *c->refs);
		EG_ASSERT(c->refs != NULL);
		memcpy(c->refs, m + 1, m->n * sizeof *c->refs);
		c->place = (struct checkpoint_place){ .id = m->id, .start_lsn = m->start_lsn, .max_lsn = m->max_lsn,
			.manifest_offset = t->manifest_offset, .manifest_bytes = bytes, .manifest_crc = m->crc };
	}
	free(m);
	return e;
}

/* ---- what the manifest names ------------------------------------------------------- */

static struct checkpoint_file *file_of(const struct checkpoint *c, uint64_t id)
{
	uint32_t low = 0, high = c->n_files;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;

		if (c->files[middle].id < id)
			low = middle + 1;
		else
			high = middle;
	}
	return low < c->n_files && c->files[low].id == id ? &c->files[low] : NULL;
}

static int by_id(const void *a, const void *b)
{
	const struct checkpoint_file *x = a, *y = b;

	return (x->id > y->id) - (x->id < y->id);
}

static enum err open_one(struct checkpoint_file *file, int folder_fd, struct fault *f)
{
	char name[32];
	struct stat st;

	checkpoint_name(name, file->id);
	file->fd = FAULT_FD(CHECKPOINT_OPEN, io_open(folder_fd, name, O_RDONLY));
	if (file->fd < 0 || fstat(file->fd, &st) != 0)
		return err_set(f, EG_E_VALIDATION, NULL, NULL, "checkpoint file %s: %s", name,
		               strerror(file->fd < 0 ? -file->fd : errno));
	file->bytes = (uint64_t)st.st_size;
	return EG_E_OK;
}

/* The file of the checkpoint itself is open already. */
static enum err open_files(struct checkpoint *c, int own_fd, int folder_fd, struct fault *f)
{
	enum err e = EG_E_OK;
	uint32_t n = 0;

	c->files = malloc((c->n_refs + 1) * sizeof *c->files);
	EG_ASSERT(c->files != NULL);
	c->files[c->n_files++] = (struct checkpoint_file){ c->header.id, own_fd, c->header.bytes };
	for (uint32_t i = 0; i < c->n_refs; i++)
		if (c->refs[i].file != c->header.id)
			c->files[c->n_files++] = (struct checkpoint_file){ c->refs[i].file, -1, 0 };
	qsort(c->files, c->n_files, sizeof *c->files, by_id);
	for (uint32_t i = 0; i < c->n_files; i++)
		if (n == 0 || c->files[n - 1].id != c->files[i].id)
			c->files[n++] = c->files[i];
	c->n_files = n;
	for (uint32_t i = 0; i < n && e == EG_E_OK; i++)
		if (c->files[i].fd < 0)
			e = open_one(&c->files[i], folder_fd, f);
	return e;
}

static bool ref_makes_sense(const struct checkpoint *c, const struct extent_ref *r, const struct extent_ref *before)
{
	const struct checkpoint_file *file = file_of(c, r->file);
	unsigned entries = extent_entries(r->kind);

	if (entries == 0 || r->first % entries != 0 || r->first > UINT32_MAX || r->n > entries)
		return false;
	if (r->bytes != sizeof(struct extent_header) + (uint64_t)r->n * extent_entry_bytes(r->kind))
		return false;
	if (r->offset < EG_CHECKPOINT_DATA || r->offset % 64 != 0 || r->offset > file->bytes
	    || r->bytes > file->bytes - r->offset)
		return false;
	if (r->file > c->header.id || r->min_lsn > r->max_lsn || r->max_lsn > c->header.max_lsn)
		return false;
	return before == NULL || before->kind < r->kind || (before->kind == r->kind && before->first < r->first);
}

static enum err check_refs(const struct checkpoint *c, const char *name, struct fault *f)
{
	uint64_t rows = 0, spaces = 0;

	for (uint32_t i = 0; i < c->n_refs; i++) {
		const struct extent_ref *r = &c->refs[i];

		if (!ref_makes_sense(c, r, i > 0 ? r - 1 : NULL))
			return damaged(f, name, "the manifest names an extent that cannot be");
		*(r->kind == EG_EXTENT_ROWS ? &rows : &spaces) += r->n;
	}
	if (rows != c->header.rows || spaces != c->header.spaces)
		return damaged(f, name, "the manifest holds another number of rows than its header says");
	return EG_E_OK;
}

enum err checkpoint_open_file(struct checkpoint *c, int folder_fd, const char *name, int shared_folder_fd,
                              const uint8_t uuid[16], struct fault *f)
{
	int fd = FAULT_FD(CHECKPOINT_OPEN, io_open(folder_fd, name, O_RDONLY));
	struct checkpoint_footer footer;
	enum err e;

	memset(c, 0, sizeof *c);
	if (fd < 0)
		return err_set(f, fd == -ENOENT ? EG_E_VALIDATION : EG_E_INTERNAL, NULL, NULL, "checkpoint %s: %s", name,
		               strerror(-fd));
	e = read_header(c, fd, name, uuid, f);
	if (e == EG_E_OK)
		e = read_footer(c, fd, name, &footer, f);
	if (e == EG_E_OK)
		e = read_manifest(c, fd, name, &footer, f);
	if (e != EG_E_OK) {
		close(fd);
		checkpoint_close(c);
		return e;
	}
	e = open_files(c, fd, shared_folder_fd, f);
	if (e == EG_E_OK)
		e = check_refs(c, name, f);
	if (e != EG_E_OK)
		checkpoint_close(c);
	return e;
}

enum err checkpoint_open(struct checkpoint *c, int folder_fd, const uint8_t uuid[16],
                         const struct checkpoint_place *place, struct fault *f)
{
	char name[32];
	enum err e;

	checkpoint_name(name, place->id);
	e = checkpoint_open_file(c, folder_fd, name, folder_fd, uuid, f);
	if (e == EG_E_OK && memcmp(&c->place, place, sizeof *place) != 0) {
		checkpoint_close(c);
		e = damaged(f, name, "it is not the one that the superblock names");
	}
	return e;
}

void checkpoint_close(struct checkpoint *c)
{
	for (uint32_t i = 0; i < c->n_files; i++)
		if (c->files[i].fd >= 0)
			close(c->files[i].fd);
	free(c->files);
	free(c->refs);
	memset(c, 0, sizeof *c);
}

/* ---- extents ----------------------------------------------------------------------- */

static bool rows_valid(const struct extent_ref *r, const struct checkpoint_row *rows)
{
	for (uint32_t i = 0; i < r->n; i++)
		if (rows[i].slot < r->first || rows[i].slot - r->first >= extent_entries(r->kind)
		    || (i > 0 && rows[i].slot <= rows[i - 1].slot) || rows[i].generation > r->generation
		    || rows[i].lsn < r->min_lsn || rows[i].lsn > r->max_lsn)
			return false;
	return true;
}

static bool spaces_valid(const struct extent_ref *r, const struct checkpoint_space *spaces)
{
	for (uint32_t i = 0; i < r->n; i++)
		if (spaces[i].number != r->first + i || spaces[i].id[sizeof spaces[i].id - 1] != '\0')
			return false;
	return true;
}

enum err checkpoint_read(const struct checkpoint *c, const struct extent_ref *ref, void *buf,
                         const void **entries, struct fault *f)
{
	const struct checkpoint_file *file = file_of(c, ref->file);
	const struct extent_header *h = buf;
	char name[32];
	ssize_t got = FAULT_READ(CHECKPOINT_READ, io_read_at(file->fd, buf, ref->bytes, ref->offset));

	checkpoint_name(name, ref->file);
	if (got != (ssize_t)ref->bytes || h->magic != EG_EXTENT_MAGIC || h->crc != ref->crc
	    || h->crc != crc32c(0, (const uint8_t *)h + 8, ref->bytes - 8)
	    || h->file != ref->file || h->kind != ref->kind || h->n != ref->n || h->first != ref->first
	    || h->bytes != ref->bytes || h->generation != ref->generation || h->min_lsn != ref->min_lsn
	    || h->max_lsn != ref->max_lsn)
		return err_set(f, EG_E_VALIDATION, NULL, NULL, "checkpoint %s: the extent at %llu is damaged", name,
		               (unsigned long long)ref->offset);
	*entries = h + 1;
	if (ref->kind == EG_EXTENT_ROWS ? !rows_valid(ref, *entries) : !spaces_valid(ref, *entries))
		return err_set(f, EG_E_VALIDATION, NULL, NULL, "checkpoint %s: the extent at %llu makes no sense", name,
		               (unsigned long long)ref->offset);
	return EG_E_OK;
}

enum err checkpoint_verify(const struct checkpoint *c, bool own, struct fault *f)
{
	void *buf = aligned_alloc(64, EG_EXTENT_BYTES_MAX);
	enum err e = EG_E_OK;

	EG_ASSERT(buf != NULL);
	for (uint32_t i = 0; i < c->n_refs && e == EG_E_OK; i++) {
		const void *entries;

		if (!own || c->refs[i].file == c->header.id)
			e = checkpoint_read(c, &c->refs[i], buf, &entries, f);
	}
	free(buf);
	return e;
}

const struct extent_ref *checkpoint_ref(const struct checkpoint *c, uint32_t kind, uint64_t first)
{
	uint32_t low = 0, high = c->n_refs;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;
		const struct extent_ref *r = &c->refs[middle];

		if (r->kind < kind || (r->kind == kind && r->first < first))
			low = middle + 1;
		else
			high = middle;
	}
	return low < c->n_refs && c->refs[low].kind == kind && c->refs[low].first == first ? &c->refs[low] : NULL;
}
