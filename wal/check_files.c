/* Checking what is not the log, see check.h: the superblock, spare segments, and
 * files that are not ours. */
#include <dirent.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/crc32c.h"
#include "common/fault.h"
#include "common/io.h"
#include "wal/check.h"
#include "wal/manifest.h"

/* ---- the superblock ------------------------------------------------------------ */

/* Format 1 was block A alone, and zeros behind its head. */
static bool block_valid(const struct superblock *b)
{
	if (b->magic != EG_SUPERBLOCK_MAGIC || b->head_crc != crc32c(0, b, offsetof(struct superblock, head_crc)))
		return false;
	if (b->format == 1)
		return salvage_blank((const uint8_t *)&b->seq, sizeof *b - offsetof(struct superblock, seq));
	return b->format > EG_SUPERBLOCK_FORMAT || b->crc == crc32c(0, b, offsetof(struct superblock, crc));
}

static void take_identity(struct check *c, unsigned file, const struct superblock *b)
{
	if (b->format > EG_SUPERBLOCK_FORMAT)
		check_say(c, file, CHECK_WRONG, 0, 0, 0, "format %u, this build reads %u", b->format, EG_SUPERBLOCK_FORMAT);
	if (c->uuid_known && memcmp(c->uuid, b->uuid, sizeof c->uuid) != 0)
		check_say(c, file, CHECK_WRONG, 0, 0, 0, "its two blocks name different data directories");
	memcpy(c->uuid, b->uuid, sizeof c->uuid);
	c->timeline = b->timeline;
	c->stores = b->stores;
	c->uuid_known = true;
}

void check_superblock(struct check *c, const struct datadir *d)
{
	struct superblock blocks[3] = { 0 };
	int fd = FAULT_FD(CHECK_OPEN, io_open(d->fd, "SUPERBLOCK", O_RDONLY));
	ssize_t got = fd < 0 ? -1 : FAULT_READ(CHECK_READ, io_read_at(fd, blocks, sizeof blocks, 0));
	unsigned file = check_add_file(c, CHECK_SUPERBLOCK, "SUPERBLOCK", got > 0 ? (uint64_t)got : 0);
	uint32_t format = 0;

	if (fd >= 0)
		close(fd);
	for (unsigned i = 0; i < 2; i++) {
		if (got >= (ssize_t)((i + 1) * sizeof blocks[0]) && block_valid(&blocks[i])) {
			take_identity(c, file, &blocks[i]);
			format = blocks[i].format;
		} else if (i == 0 || got > (ssize_t)sizeof blocks[0] || format != 1) {
			check_say(c, file, CHECK_WRONG, i * sizeof blocks[0], 0, 0, "block %c is %s", 'A' + (int)i,
			          got <= 0 ? "missing" : "damaged");
		}
	}
	if (got > (ssize_t)(2 * sizeof blocks[0]))
		check_say(c, file, CHECK_WRONG, 2 * sizeof blocks[0], 0, 0, "more than two blocks");
}

/* ---- spare segments ------------------------------------------------------------ */

/* Blank, but for headers that a killed writer may have put there. */
static void check_spare(struct check *c, const struct datadir *d, const char *name)
{
	struct salvage s;
	struct fault f;
	char path[80];
	unsigned file;

	snprintf(path, sizeof path, "spare/%.60s", name);
	if (salvage_open(&s, d->spare_fd, name, &f) != EG_E_OK) {
		file = check_add_file(c, CHECK_SPARE, path, 0);
		check_say(c, file, CHECK_WRONG, 0, 0, 0, "%.120s", f.message);
		return;
	}
	file = check_add_file(c, CHECK_SPARE, path, s.size);
	if (s.unreadable > 0)
		check_say(c, file, CHECK_WRONG, s.unreadable_at, 0, 0, "%llu bytes cannot be read",
		          (unsigned long long)s.unreadable);
	for (unsigned i = 0; i < 2 && s.size >= EG_SEGMENT_DATA; i++)
		if (!s.copy_valid[i] && !salvage_blank(s.image + i * EG_BLOCK, EG_BLOCK))
			check_say(c, file, CHECK_WRONG, i * EG_BLOCK, 0, 0,
			          "a spare segment's block is neither blank nor a header");
	if (s.n > 0 || s.junk < s.size)
		check_say(c, file, CHECK_WRONG, s.n > 0 ? s.pieces[0].offset : s.junk, 0, 0,
		          "a spare segment is not blank");
	salvage_free(&s);
}

/* ---- strangers --------------------------------------------------------------- */

static void check_stranger(struct check *c, const struct datadir *d, const char *name)
{
	static const char *const known[] = { "SUPERBLOCK", "LOCK", "wal", "warm", "spare", "tmp", "checkpoints",
		"quarantine", "LOSS", "STALE", "AHEAD", "backup", EG_BACKUP_MANIFEST, NULL };
	struct stat st;
	unsigned k = 0;

	while (known[k] != NULL && strcmp(name, known[k]) != 0)
		k++;
	if (known[k] != NULL || fstatat(d->fd, name, &st, AT_SYMLINK_NOFOLLOW) != 0)
		return;
	check_say(c, check_add_file(c, CHECK_OTHER, name, S_ISREG(st.st_mode) ? (uint64_t)st.st_size : 0),
	          CHECK_NOTE, 0, 0, 0, "not one of the data directory's files");
}

static void check_name_in_wal(struct check *c, const struct datadir *d, const char *name)
{
	unsigned long long lsn;
	char right[32], path[80];

	(void)d;
	if (sscanf(name, "%16llx.log", &lsn) == 1) {
		datadir_segment_name(right, lsn);
		if (strcmp(right, name) == 0)
			return;
	}
	snprintf(path, sizeof path, "%.70s", name);
	check_say(c, check_add_file(c, CHECK_OTHER, path, 0), CHECK_NOTE, 0, 0, 0, "not a segment's name");
}

static void each_in(struct check *c, const struct datadir *d, const char *folder,
                    void (*fn)(struct check *, const struct datadir *, const char *))
{
	int fd = FAULT_FD(CHECK_LIST, io_open(d->fd, folder, O_RDONLY | O_DIRECTORY));
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;

	while (dir != NULL && (entry = readdir(dir)) != NULL)
		if (entry->d_name[0] != '.')
			fn(c, d, entry->d_name);
	if (dir != NULL)
		closedir(dir);
}

/* A backup says itself what its files must be. */
static void check_backup_manifest(struct check *c, const struct datadir *d)
{
	struct manifest m;
	struct fault f;
	enum err e = manifest_read(&m, d->fd, &f);
	unsigned file;

	if (e == EG_E_NOT_FOUND)
		return;
	file = check_add_file(c, CHECK_OTHER, EG_BACKUP_MANIFEST, 0);
	if (e != EG_E_OK) {
		check_say(c, file, CHECK_WRONG, 0, 0, 0, "%.120s", f.message);
		return;
	}
	for (unsigned i = 0; i < m.n; i++)
		if (manifest_verify(&m.files[i], d->fd, &f) != EG_E_OK)
			check_say(c, file, CHECK_WRONG, 0, 0, 0, "%.120s", f.message);
	if (c->last_lsn != m.lsn)
		check_say(c, file, CHECK_WRONG, 0, 0, 0, "the log ends with LSN %llu, MANIFEST says %llu",
		          (unsigned long long)c->last_lsn, (unsigned long long)m.lsn);
	manifest_free(&m);
}

void check_other_files(struct check *c, const struct datadir *d)
{
	check_backup_manifest(c, d);
	if (d->spare_fd >= 0)
		each_in(c, d, "spare", check_spare);
	each_in(c, d, "wal", check_name_in_wal);
	each_in(c, d, "warm", check_name_in_wal);
	each_in(c, d, ".", check_stranger);
}
