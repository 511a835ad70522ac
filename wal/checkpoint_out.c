/* Writing a checkpoint's file, see checkpoint.h. */
#include "wal/checkpoint.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/crc32c.h"
#include "common/fault.h"
#include "common/io.h"
#include "shm/store.h"

static enum err failed(struct fault *f, const char *what, int error)
{
	enum err e = error == ENOSPC || error == EDQUOT ? EG_E_NO_STORAGE : EG_E_INTERNAL;

	return err_set(f, e, NULL, NULL, "checkpoint: %s: %s", what, strerror(error));
}

enum err checkpoint_begin(struct checkpoint_writer *w, int tmp_fd, const char *name,
                          const struct checkpoint_header *head, struct fault *f)
{
	memset(w, 0, sizeof *w);
	w->header = *head;
	w->header.magic = EG_CHECKPOINT_MAGIC;
	w->header.format = EG_CHECKPOINT_FORMAT;
	if (head->layout == 0)
		w->header.layout = store_layout();
	w->header.max_lsn = head->start_lsn;
	w->header.rows = w->header.spaces = 0;
	w->offset = EG_CHECKPOINT_DATA;
	w->buf = aligned_alloc(64, EG_EXTENT_BYTES_MAX);
	EG_ASSERT(w->buf != NULL);
	w->fd = FAULT_FD(CHECKPOINT_CREATE, io_open(tmp_fd, name, O_RDWR | O_CREAT | O_EXCL));
	return w->fd >= 0 ? EG_E_OK : failed(f, "create", -w->fd);
}

void checkpoint_free(struct checkpoint_writer *w)
{
	if (w->fd >= 0)
		close(w->fd);
	free(w->buf);
	free(w->refs);
	memset(w, 0, sizeof *w);
	w->fd = -1;
}

void *checkpoint_entries(struct checkpoint_writer *w)
{
	return w->buf + sizeof(struct extent_header);
}

static void add_ref(struct checkpoint_writer *w, const struct extent_ref *ref)
{
	if (w->n_refs == w->cap_refs) {
		w->cap_refs = w->cap_refs ? w->cap_refs * 2 : 64;
		w->refs = realloc(w->refs, w->cap_refs * sizeof *w->refs);
		EG_ASSERT(w->refs != NULL);
	}
	w->refs[w->n_refs++] = *ref;
	if (ref->max_lsn > w->header.max_lsn)
		w->header.max_lsn = ref->max_lsn;
	*(ref->kind == EG_EXTENT_ROWS ? &w->header.rows : &w->header.spaces) += ref->n;
}

void checkpoint_keep(struct checkpoint_writer *w, const struct extent_ref *ref)
{
	add_ref(w, ref);
}

/* The span of the entries' LSNs. */
static void span(struct extent_header *h)
{
	const struct checkpoint_row *rows = (const void *)(h + 1);
	const struct checkpoint_space *spaces = (const void *)(h + 1);

	for (uint32_t i = 0; i < h->n; i++) {
		uint64_t lsn = h->kind == EG_EXTENT_ROWS ? rows[i].lsn : spaces[i].lsn;

		h->min_lsn = i == 0 || lsn < h->min_lsn ? lsn : h->min_lsn;
		h->max_lsn = lsn > h->max_lsn ? lsn : h->max_lsn;
	}
}

enum err checkpoint_add(struct checkpoint_writer *w, enum extent_kind kind, uint64_t first, uint32_t n,
                        uint32_t generation, struct fault *f)
{
	struct extent_header *h = (struct extent_header *)(void *)w->buf;
	struct extent_ref ref;
	int error;

	EG_ASSERT(n <= extent_entries(kind) && first % extent_entries(kind) == 0);
	if (n == 0 && generation == 0)
		return EG_E_OK;
	*h = (struct extent_header){ .magic = EG_EXTENT_MAGIC, .file = w->header.id, .kind = kind, .n = n, .first = first,
		.bytes = (uint32_t)sizeof *h + n * extent_entry_bytes(kind), .generation = generation };
	span(h);
	h->crc = crc32c(0, (const uint8_t *)h + 8, h->bytes - 8);
	ref = (struct extent_ref){ .kind = kind, .n = n, .first = first, .file = w->header.id, .offset = w->offset,
		.bytes = h->bytes, .crc = h->crc, .generation = generation, .min_lsn = h->min_lsn, .max_lsn = h->max_lsn };
	error = FAULT_IO(CHECKPOINT_WRITE, io_write_at(w->fd, h, h->bytes, w->offset));
	if (error != 0)
		return failed(f, "write", error);
	w->offset += h->bytes;
	w->written += h->bytes;
	add_ref(w, &ref);
	return EG_E_OK;
}

/* Manifest and footer are one write. */
static int write_manifest(struct checkpoint_writer *w)
{
	size_t refs = w->n_refs * sizeof *w->refs, bytes = sizeof(struct manifest_header) + refs;
	size_t all = bytes + sizeof(struct checkpoint_footer);
	struct checkpoint_header *c = &w->header;
	struct manifest_header *m = calloc(1, all);
	struct checkpoint_footer *t;
	int error;

	if (m == NULL)
		return ENOMEM;
	t = (struct checkpoint_footer *)(void *)((uint8_t *)m + bytes);
	*m = (struct manifest_header){ .magic = EG_MANIFEST_MAGIC, .id = c->id, .bytes = bytes, .n = w->n_refs,
		.start_lsn = c->start_lsn, .max_lsn = c->max_lsn, .rows = c->rows, .spaces = c->spaces };
	if (refs > 0)
		memcpy(m + 1, w->refs, refs);
	m->crc = crc32c(0, (const uint8_t *)m + 8, bytes - 8);
	*t = (struct checkpoint_footer){ .magic = EG_FOOTER_MAGIC, .id = c->id, .manifest_offset = w->offset,
		.manifest_bytes = bytes, .manifest_crc = m->crc, .bytes = w->offset + all };
	t->crc = crc32c(0, (const uint8_t *)t + 8, sizeof *t - 8);
	w->place = (struct checkpoint_place){ .id = c->id, .start_lsn = c->start_lsn, .max_lsn = c->max_lsn,
		.manifest_offset = w->offset, .manifest_bytes = bytes, .manifest_crc = m->crc };
	error = FAULT_IO(CHECKPOINT_WRITE_MANIFEST, io_write_at(w->fd, m, all, w->offset));
	free(m);
	c->bytes = w->offset + all;
	w->written += all;
	return error;
}

enum err checkpoint_end(struct checkpoint_writer *w, struct fault *f)
{
	int error = write_manifest(w);

	if (error == 0) {
		w->header.crc = crc32c(0, &w->header, offsetof(struct checkpoint_header, crc));
		error = FAULT_IO(CHECKPOINT_WRITE_HEADER, io_write_at(w->fd, &w->header, sizeof w->header, 0));
		w->written += sizeof w->header;
	}
	if (error == 0)
		error = FAULT_IO(CHECKPOINT_SYNC, io_sync(w->fd));
	return error == 0 ? EG_E_OK : failed(f, "write", error);
}

static enum err write_rows(struct checkpoint_writer *w, const struct checkpoint_row *rows, uint64_t n, struct fault *f)
{
	unsigned each = extent_entries(EG_EXTENT_ROWS);
	enum err e = EG_E_OK;

	for (uint64_t at = 0; at < n && e == EG_E_OK;) {
		uint64_t first = rows[at].slot / each * each;
		struct checkpoint_row *to = checkpoint_entries(w);
		uint32_t k = 0, generation = 0;

		for (; at < n && rows[at].slot - first < each; at++) {
			to[k++] = rows[at];
			generation = rows[at].generation > generation ? rows[at].generation : generation;
		}
		e = checkpoint_add(w, EG_EXTENT_ROWS, first, k, generation, f);
	}
	return e;
}

static enum err write_spaces(struct checkpoint_writer *w, const struct checkpoint_space *spaces, uint64_t n,
                             struct fault *f)
{
	unsigned each = extent_entries(EG_EXTENT_SPACES);
	enum err e = EG_E_OK;

	for (uint64_t at = 0; at < n && e == EG_E_OK; at += each) {
		uint32_t k = n - at < each ? (uint32_t)(n - at) : each;

		memcpy(checkpoint_entries(w), spaces + at, k * sizeof *spaces);
		e = checkpoint_add(w, EG_EXTENT_SPACES, at, k, 0, f);
	}
	return e;
}

enum err checkpoint_write_all(int folder_fd, const char *name, const struct checkpoint_header *head,
                              const struct checkpoint_row *rows, uint64_t n_rows,
                              const struct checkpoint_space *spaces, uint64_t n_spaces,
                              struct checkpoint_place *place, struct fault *f)
{
	struct checkpoint_writer w;
	enum err e = checkpoint_begin(&w, folder_fd, name, head, f);

	if (e == EG_E_OK)
		e = write_rows(&w, rows, n_rows, f);
	if (e == EG_E_OK)
		e = write_spaces(&w, spaces, n_spaces, f);
	if (e == EG_E_OK)
		e = checkpoint_end(&w, f);
	*place = w.place;
	checkpoint_free(&w);
	return e;
}
