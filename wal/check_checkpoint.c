/* Checking checkpoints, see check.h: each file from its header to its footer, piece
 * by piece; then those that the superblock names, as the loader reads them. */
#include <dirent.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/crc32c.h"
#include "common/fault.h"
#include "common/io.h"
#include "shm/space.h"
#include "wal/check.h"
#include "wal/checkpoint.h"

/* ---- a file, byte by byte --------------------------------------------------------- */

struct image { uint8_t *at; uint64_t bytes; };

static bool read_image(int dir_fd, const char *name, struct image *image)
{
	int fd = FAULT_FD(CHECK_OPEN, io_open(dir_fd, name, O_RDONLY));
	struct stat st;
	bool ok = fd >= 0 && fstat(fd, &st) == 0;

	memset(image, 0, sizeof *image);
	if (ok) {
		image->bytes = (uint64_t)st.st_size;
		image->at = calloc(1, image->bytes + EG_CHECKPOINT_DATA);
		ok = image->at != NULL
		     && FAULT_READ(CHECK_READ, io_read_at(fd, image->at, image->bytes, 0)) == (ssize_t)image->bytes;
	}
	if (fd >= 0)
		close(fd);
	return ok;
}

/* Length of the piece (extent or manifest) at offset when it is whole, else 0. */
static uint64_t piece_at(const struct image *image, uint64_t offset, uint64_t limit, bool *manifest)
{
	const uint8_t *at = image->at + offset;
	const struct extent_header *x = (const struct extent_header *)(const void *)at;
	const struct manifest_header *m = (const struct manifest_header *)(const void *)at;
	uint64_t bytes;

	*manifest = m->magic == EG_MANIFEST_MAGIC;
	if (!*manifest && x->magic != EG_EXTENT_MAGIC)
		return 0;
	bytes = *manifest ? m->bytes : x->bytes;
	if (bytes < sizeof *x || bytes % 64 != 0 || bytes > limit - offset)
		return 0;
	return x->crc == crc32c(0, at + 8, bytes - 8) ? bytes : 0;
}

static void check_pieces(struct check *c, unsigned file, const struct image *image)
{
	uint64_t limit = image->bytes - sizeof(struct checkpoint_footer), at = EG_CHECKPOINT_DATA;
	bool manifest = false;

	while (at < limit && !manifest) {
		uint64_t bytes = piece_at(image, at, limit, &manifest);

		if (bytes == 0) {
			check_say(c, file, CHECK_WRONG, at, 0, 0, "no whole extent or manifest here");
			return;
		}
		c->files[file].groups++;
		at += bytes;
	}
	if (at != limit || !manifest)
		check_say(c, file, CHECK_WRONG, at, 0, 0, "the manifest is not what stands before the footer");
}

static void check_checkpoint_file(struct check *c, const struct datadir *d, const char *name)
{
	const struct checkpoint_header *h;
	const struct checkpoint_footer *t;
	struct image image;
	char path[80];
	unsigned file;
	bool ok = read_image(d->checkpoints_fd, name, &image);

	snprintf(path, sizeof path, "checkpoints/%.60s", name);
	file = check_add_file(c, CHECK_CHECKPOINT, path, image.bytes);
	h = (const struct checkpoint_header *)(const void *)image.at;
	if (!ok || image.bytes < sizeof *h + sizeof *t || image.bytes % 64 != 0) {
		check_say(c, file, CHECK_WRONG, 0, 0, 0, "%s", ok ? "it is cut off" : "it cannot be read");
	} else {
		t = (const struct checkpoint_footer *)(const void *)(image.at + image.bytes - sizeof *t);
		if (h->magic != EG_CHECKPOINT_MAGIC || h->crc != crc32c(0, h, offsetof(struct checkpoint_header, crc)))
			check_say(c, file, CHECK_WRONG, 0, 0, 0, "the header is damaged");
		else if (h->bytes != image.bytes)
			check_say(c, file, CHECK_WRONG, 0, 0, 0, "it has another length than its header says");
		if (t->magic != EG_FOOTER_MAGIC || t->crc != crc32c(0, (const uint8_t *)t + 8, sizeof *t - 8))
			check_say(c, file, CHECK_WRONG, image.bytes - sizeof *t, 0, 0, "the footer is damaged");
		check_pieces(c, file, &image);
	}
	free(image.at);
}

/* ---- rows ------------------------------------------------------------------------ */

static void add_row(struct check *c, unsigned file, uint64_t lsn)
{
	if (c->n_rows == c->cap_rows) {
		c->cap_rows = c->cap_rows ? c->cap_rows * 2 : 4096;
		c->rows = realloc(c->rows, c->cap_rows * sizeof *c->rows);
		EG_ASSERT(c->rows != NULL);
	}
	c->rows[c->n_rows++] = (struct check_row){ .lsn = lsn, .file = file };
}

static int by_lsn(const void *a, const void *b)
{
	const struct check_row *x = a, *y = b;

	return (x->lsn > y->lsn) - (x->lsn < y->lsn);
}

/* The first row whose LSN is not below lsn. */
static uint64_t lower(const struct check *c, uint64_t lsn)
{
	uint64_t low = 0, high = c->n_rows;

	while (low < high) {
		uint64_t middle = low + (high - low) / 2;

		if (c->rows[middle].lsn < lsn)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

uint64_t check_rows_within(const struct check *c, uint64_t first_lsn, uint64_t last_lsn)
{
	return (last_lsn == UINT64_MAX ? c->n_rows : lower(c, last_lsn + 1)) - lower(c, first_lsn);
}

void check_row_found(struct check *c, uint64_t lsn)
{
	for (uint64_t i = lower(c, lsn); i < c->n_rows && c->rows[i].lsn == lsn; i++)
		c->rows[i].found = true;
}

/* Their records were told to be lost. */
void check_rows_told(struct check *c, uint64_t first_lsn, uint64_t last_lsn)
{
	for (uint64_t i = lower(c, first_lsn); i < c->n_rows && c->rows[i].lsn <= last_lsn; i++)
		c->rows[i].found = true;
}

void check_rows(struct check *c)
{
	for (uint64_t i = 0; i < c->n_rows; i++)
		if (!c->rows[i].found)
			check_say(c, c->rows[i].file, CHECK_LOST, 0, c->rows[i].lsn, c->rows[i].lsn,
			          "a row whose record is not in the log");
}

/* ---- what the superblock names --------------------------------------------------- */

static unsigned file_of(struct check *c, uint64_t id)
{
	char name[32], path[80];

	checkpoint_name(name, id);
	snprintf(path, sizeof path, "checkpoints/%s", name);
	for (unsigned i = 0; i < c->n_files; i++)
		if (strcmp(c->files[i].name, path) == 0)
			return i;
	return check_add_file(c, CHECK_CHECKPOINT, path, 0);
}

static void take_extent(struct check *c, unsigned file, const struct extent_ref *ref, const void *entries)
{
	const struct checkpoint_row *rows = entries;
	const struct checkpoint_space *spaces = entries;

	c->files[file].records += ref->n;
	for (uint32_t i = 0; i < ref->n; i++)
		if (ref->kind == EG_EXTENT_ROWS)
			add_row(c, file, rows[i].lsn);
		else if (spaces[i].state != EG_SPACE_NONE)
			check_space_name(c, spaces[i].number, spaces[i].id);
}

/* Is the checkpoint at that place one from which a store can be loaded? */
static bool check_place(struct check *c, const struct datadir *d, const struct checkpoint_place *place)
{
	unsigned file = file_of(c, place->id);
	struct checkpoint ckpt;
	struct fault f;
	enum err e = checkpoint_open(&ckpt, d->checkpoints_fd, c->uuid, place, &f);
	uint8_t *buf;

	if (e != EG_E_OK) {
		check_say(c, file, CHECK_WRONG, 0, 0, 0, "%.120s", f.message);
		return false;
	}
	buf = aligned_alloc(64, EG_EXTENT_BYTES_MAX);
	EG_ASSERT(buf != NULL);
	c->files[file].first_lsn = place->start_lsn;
	c->files[file].last_lsn = place->max_lsn;
	for (uint32_t i = 0; i < ckpt.n_refs; i++) {
		const void *entries;
		enum err one = checkpoint_read(&ckpt, &ckpt.refs[i], buf, &entries, &f);

		if (one == EG_E_OK)
			take_extent(c, file, &ckpt.refs[i], entries);
		else
			check_say(c, file_of(c, ckpt.refs[i].file), CHECK_WRONG, ckpt.refs[i].offset, 0, 0, "%.120s", f.message);
		e = e == EG_E_OK ? one : e;
	}
	free(buf);
	checkpoint_close(&ckpt);
	return e == EG_E_OK;
}

static void check_places(struct check *c, const struct datadir *d)
{
	struct superblocks super;
	struct fault f;
	unsigned usable = 0;

	if (superblock_read(d->fd, &super, &f) != EG_E_OK)
		return;                    /* said already */
	/* Of the other block nothing is kept, and it may name one whose installing failed. */
	const struct checkpoint_place *const places[EG_CHECKPOINTS_KEPT] = { &super.now.newest, &super.now.previous };

	for (unsigned i = 0; i < EG_CHECKPOINTS_KEPT; i++) {
		if (places[i]->id == 0 || !check_place(c, d, places[i]))
			continue;
		if (usable++ == 0 || places[i]->start_lsn < c->start_lsn)
			c->start_lsn = places[i]->start_lsn;
	}
	if (c->n_rows > 0)
		qsort(c->rows, c->n_rows, sizeof *c->rows, by_lsn);
}

void check_checkpoints(struct check *c, const struct datadir *d)
{
	int fd = FAULT_FD(CHECK_LIST, io_open(d->fd, "checkpoints", O_RDONLY | O_DIRECTORY));
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;

	while (dir != NULL && (entry = readdir(dir)) != NULL)
		if (entry->d_name[0] != '.')
			check_checkpoint_file(c, d, entry->d_name);
	if (dir != NULL)
		closedir(dir);
	check_places(c, d);
}
