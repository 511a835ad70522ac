/* The MANIFEST of a backup, see the header. */
#include "wal/manifest.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/buf.h"
#include "common/clock.h"
#include "common/crc32c.h"
#include "common/fault.h"
#include "common/io.h"

enum { BYTES_MAX = 64 << 20, STEP = 1 << 20 };

bool manifest_name_valid(const char *name)
{
	size_t n = strlen(name);

	if (n == 0 || n > EG_BACKUP_NAME || !isalnum((unsigned char)name[0]))
		return false;
	for (size_t i = 0; i < n; i++)
		if (!isalnum((unsigned char)name[i]) && strchr("._-", name[i]) == NULL)
			return false;
	return true;
}

void manifest_add(struct manifest *m, const char *name, uint64_t bytes, uint32_t crc, uint64_t salt)
{
	struct manifest_file *row;

	if (m->n == m->cap) {
		m->cap = m->cap ? m->cap * 2 : 64;
		m->files = realloc(m->files, m->cap * sizeof *m->files);
		EG_ASSERT(m->files != NULL);
	}
	row = &m->files[m->n++];
	*row = (struct manifest_file){ .bytes = bytes, .crc = crc, .salt = salt };
	snprintf(row->name, sizeof row->name, "%s", name);
}

static const char *last_part(const char *name)
{
	const char *slash = strrchr(name, '/');

	return slash != NULL ? slash + 1 : name;
}

const struct manifest_file *manifest_find(const struct manifest *m, const char *name)
{
	for (unsigned i = 0; i < m->n; i++)
		if (strcmp(last_part(m->files[i].name), name) == 0)
			return &m->files[i];
	return NULL;
}

void manifest_free(struct manifest *m)
{
	free(m->files);
	memset(m, 0, sizeof *m);
}

static void print(const struct manifest *m, struct buf *b)
{
	char when[EG_CLOCK_TEXT];

	clock_format(m->created_us, when);
	buf_printf(b, "engram-backup %u\nuuid ", EG_BACKUP_FORMAT);
	for (unsigned i = 0; i < sizeof m->uuid; i++)
		buf_printf(b, "%02x", m->uuid[i]);
	buf_printf(b, "\ntimeline %u\nlsn %" PRIu64 "\ncreated %s\nbase %s\n", m->timeline, m->lsn, when,
	           *m->base ? m->base : "-");
	for (unsigned i = 0; i < m->n; i++)
		buf_printf(b, "file %s %" PRIu64 " %08x %" PRIu64 "\n", m->files[i].name, m->files[i].bytes, m->files[i].crc,
		           m->files[i].salt);
	buf_printf(b, "crc %08x\n", crc32c(0, b->data, b->len));
}

int manifest_write(const struct manifest *m, int dir_fd)
{
	struct buf b;
	int fd, error;

	buf_init(&b, BYTES_MAX);
	print(m, &b);
	fd = FAULT_FD(BACKUP_MANIFEST, io_open(dir_fd, EG_BACKUP_MANIFEST, O_WRONLY | O_CREAT | O_TRUNC));
	error = fd < 0 ? -fd : b.failed ? ENOMEM : FAULT_IO(BACKUP_MANIFEST_WRITE, io_write_at(fd, b.data, b.len, 0));
	if (error == 0)
		error = FAULT_IO(BACKUP_MANIFEST_SYNC, io_sync(fd));
	if (fd >= 0)
		close(fd);
	buf_free(&b);
	return error;
}

/* ---- reading ------------------------------------------------------------------------- */

static enum err bad(struct fault *f, const char *what)
{
	return err_set(f, EG_E_VALIDATION, NULL, NULL, "MANIFEST is damaged: %s", what);
}

static bool parse_uuid(const char *text, uint8_t uuid[16])
{
	for (unsigned i = 0; i < 16; i++) {
		unsigned byte;

		if (sscanf(text + 2 * i, "%2x", &byte) != 1)
			return false;
		uuid[i] = (uint8_t)byte;
	}
	return text[32] == 0;
}

/* One line, without its end. False: it makes no sense. */
static bool parse_line(struct manifest *m, const char *line)
{
	char name[64], when[40], more;
	uint64_t bytes, salt;
	uint32_t crc;

	if (strncmp(line, "uuid ", 5) == 0)
		return strlen(line) == 37 && parse_uuid(line + 5, m->uuid);
	if (sscanf(line, "timeline %u%c", &m->timeline, &more) == 1)
		return true;
	if (sscanf(line, "lsn %" SCNu64 "%c", &m->lsn, &more) == 1)
		return true;
	if (sscanf(line, "created %39s%c", when, &more) == 1)
		return clock_parse(when, strlen(when), &m->created_us) == EG_E_OK;
	if (sscanf(line, "base %60s%c", m->base, &more) == 1) {
		if (strcmp(m->base, "-") == 0)
			m->base[0] = 0;
		return *m->base == 0 || manifest_name_valid(m->base);
	}
	if (sscanf(line, "file %63s %" SCNu64 " %8" SCNx32 " %" SCNu64 "%c", name, &bytes, &crc, &salt, &more) == 4) {
		/* Names come from here into paths: none leaves its folder. */
		if (strstr(name, "..") != NULL || name[0] == '/' || (strcmp(name, "SUPERBLOCK") != 0 && strchr(name, '/') == NULL))
			return false;
		manifest_add(m, name, bytes, crc, salt);
		return true;
	}
	return false;
}

/* The text is NUL-ended. */
static enum err parse(struct manifest *m, char *text, size_t bytes, struct fault *f)
{
	char *end = bytes > 13 ? text + bytes - 13 : text, *save = NULL, *line;
	unsigned format;
	uint32_t crc;

	if (sscanf(text, "engram-backup %u", &format) != 1)
		return bad(f, "it does not begin as one");
	if (format > EG_BACKUP_FORMAT)
		return err_set(f, EG_E_VALIDATION, NULL, NULL,
		               "MANIFEST has format %u, this build reads up to %u: it was written by a newer one", format,
		               EG_BACKUP_FORMAT);
	if (sscanf(end, "crc %8" SCNx32 "\n", &crc) != 1 || crc != crc32c(0, text, (size_t)(end - text)))
		return bad(f, "its CRC does not fit");
	*end = 0;
	line = strtok_r(text, "\n", &save);
	while ((line = strtok_r(NULL, "\n", &save)) != NULL)
		if (!parse_line(m, line))
			return bad(f, line);
	return m->n > 0 ? EG_E_OK : bad(f, "it names no file");
}

enum err manifest_read(struct manifest *m, int dir_fd, struct fault *f)
{
	struct stat st;
	char *text = NULL;
	enum err e = EG_E_OK;
	int fd = FAULT_FD(BACKUP_MANIFEST_OPEN, io_open(dir_fd, EG_BACKUP_MANIFEST, O_RDONLY));

	memset(m, 0, sizeof *m);
	if (fd == -ENOENT)
		return err_set(f, EG_E_NOT_FOUND, NULL, NULL, "there is no MANIFEST");
	if (fd < 0)
		return err_set(f, EG_E_INTERNAL, NULL, NULL, "MANIFEST: %s", strerror(-fd));
	if (fstat(fd, &st) != 0 || st.st_size > BYTES_MAX)
		e = bad(f, "it is too long");
	else if ((text = calloc(1, (size_t)st.st_size + 1)) == NULL)
		e = err_set(f, EG_E_INTERNAL, NULL, NULL, "MANIFEST: no memory");
	else if (FAULT_READ(BACKUP_MANIFEST_READ, io_read_at(fd, text, (size_t)st.st_size, 0)) != st.st_size)
		e = err_set(f, EG_E_INTERNAL, NULL, NULL, "MANIFEST cannot be read");
	if (e == EG_E_OK)
		e = parse(m, text, (size_t)st.st_size, f);
	close(fd);
	free(text);
	if (e != EG_E_OK)
		manifest_free(m);
	return e;
}

enum err manifest_verify(const struct manifest_file *row, int dir_fd, struct fault *f)
{
	int fd = FAULT_FD(BACKUP_VERIFY_OPEN, io_open(dir_fd, row->name, O_RDONLY | O_NOFOLLOW));
	uint8_t *buf = malloc(STEP);
	uint64_t at = 0;
	uint32_t crc = 0;
	ssize_t got = 0;

	EG_ASSERT(buf != NULL);
	while (fd >= 0 && (got = FAULT_READ(BACKUP_VERIFY_READ, io_read_at(fd, buf, STEP, at))) > 0) {
		crc = crc32c(crc, buf, (size_t)got);
		at += (uint64_t)got;
	}
	if (fd >= 0)
		close(fd);
	free(buf);
	if (fd < 0 || got < 0)
		return err_set(f, fd == -ENOENT ? EG_E_VALIDATION : EG_E_INTERNAL, NULL, NULL, "%s: %s", row->name,
		               strerror(fd < 0 ? -fd : errno));
	if (at != row->bytes)
		return err_set(f, EG_E_VALIDATION, NULL, NULL, "%s has %" PRIu64 " bytes, MANIFEST says %" PRIu64, row->name, at,
		               row->bytes);
	if (crc != row->crc)
		return err_set(f, EG_E_VALIDATION, NULL, NULL, "%s is damaged: its CRC is not MANIFEST's", row->name);
	return EG_E_OK;
}
