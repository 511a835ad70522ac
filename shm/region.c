/* Regions, see the headers. */
#include "shm/region.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/fault.h"
#include "common/log.h"
#include "shm/region_write.h"

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif

static uint64_t round_up(uint64_t n, uint64_t to) { return (n + to - 1) / to * to; }

/* Map fd over `reserved` bytes at an address aligned to a huge page. */
static enum err map(struct region *r, int fd, int protection, struct fault *f)
{
	size_t reserved = round_up(r->reserved, EG_REGION_GRAIN), all = reserved + EG_REGION_GRAIN;
	uint8_t *raw = mmap(NULL, all, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	uint8_t *base;

	if (raw == MAP_FAILED)
		return err_set(f, EG_E_INTERNAL, NULL, NULL, "%s: no room for %zu bytes of addresses: %s",
		               r->name, all, strerror(errno));
	base = (uint8_t *)round_up((uint64_t)raw, EG_REGION_GRAIN);
	if (base > raw)
		munmap(raw, (size_t)(base - raw));
	if (base + reserved < raw + all)
		munmap(base + reserved, (size_t)(raw + all - (base + reserved)));
	if (mmap(base, reserved, protection, MAP_SHARED | MAP_FIXED, fd, 0) == MAP_FAILED) {
		munmap(base, reserved);
		return err_set(f, EG_E_INTERNAL, NULL, NULL, "%s: mmap: %s", r->name, strerror(errno));
	}
	r->base = base;
	r->reserved = reserved;
	return EG_E_OK;
}

static enum err open_map(struct region *r, const char *name, size_t reserved, int flags, struct fault *f)
{
	struct stat st;
	enum err e;
	int fd;

	EG_ASSERT(strlen(name) < sizeof r->name);
	snprintf(r->name, sizeof r->name, "%s", name);
	r->reserved = reserved;
	r->writable = (flags & O_ACCMODE) == O_RDWR;
	fd = shm_open(name, flags, 0600);
	if (fd < 0)
		return err_set(f, errno == ENOENT ? EG_E_WRITER : EG_E_INTERNAL, NULL, NULL,
		               "%s: %s", name, strerror(errno));
	/* The root's length is fixed, not published: whoever comes between its creation
	 * and its first page would meet SIGBUS. */
	if ((flags & O_CREAT) == 0 && (fstat(fd, &st) != 0 || (uint64_t)st.st_size < region_grown(r)))
		e = err_set(f, EG_E_WRITER, NULL, NULL, "%s is still being made", name);
	else
		e = map(r, fd, r->writable ? PROT_READ | PROT_WRITE : PROT_READ, f);
	close(fd);
	return e;
}

enum err region_attach(struct region *r, const char *name, size_t reserved,
                       const _Atomic uint64_t *grown, struct fault *f)
{
	memset(r, 0, sizeof *r);
	/* Read through region_grown only: the writer alone may store to it. */
	r->grown = (_Atomic uint64_t *)(uintptr_t)grown;
	return open_map(r, name, reserved, O_RDONLY, f);
}

void region_detach(struct region *r)
{
	if (r->base != NULL)
		munmap(r->base, r->reserved);
	free(r->backed);
	memset(r, 0, sizeof *r);
}

enum err region_create(struct region *r, const char *name, size_t reserved,
                       _Atomic uint64_t *grown, bool huge, struct fault *f)
{
	memset(r, 0, sizeof *r);
	r->grown = grown;
	r->huge = huge;
	return open_map(r, name, reserved, O_RDWR | O_CREAT | O_EXCL, f);
}

enum err region_adopt(struct region *r, const char *name, size_t reserved,
                      _Atomic uint64_t *grown, bool huge, struct fault *f)
{
	memset(r, 0, sizeof *r);
	r->grown = grown;
	r->huge = huge;
	return open_map(r, name, reserved, O_RDWR, f);
}

/* Lengthen the object itself; 0 or an errno. */
static int set_length(const struct region *r, uint64_t bytes)
{
	int fd = shm_open(r->name, O_RDWR, 0600), saved = 0;

	if (fd < 0)
		return errno;
	if (ftruncate(fd, (off_t)bytes) != 0)
		saved = errno;
	close(fd);
	return saved;
}

/* Huge ones in one go: a page in each huge page's place is enough for a collapse, which fills
 * what is missing by itself, and neither makes 512 faults nor copies. The last call makes
 * what is missing yet. */
int region_fill(const struct region *r, uint64_t old, uint64_t want)
{
	for (uint64_t at = old; r->huge && at < want; at += EG_REGION_GRAIN)
		if (madvise(r->base + at, 1, MADV_POPULATE_WRITE) != 0)
			return errno;
	/* Best effort: which pages are huge is read back from smaps, not from here. */
	if (r->huge && madvise(r->base + old, want - old, MADV_COLLAPSE) != 0)
		LOG_DEBUG("%s: no huge pages for %llu bytes: %s", r->name, (unsigned long long)(want - old),
		          strerror(errno));
	return madvise(r->base + old, want - old, MADV_POPULATE_WRITE) != 0 ? errno : 0;
}

/* As it was before. */
static enum err not_grown(struct region *r, uint64_t want, int error, struct fault *f)
{
	uint64_t old = region_grown(r);
	int back = set_length(r, old);

	LOG_WARN("%s: cannot grow from %llu to %llu bytes: %s%s", r->name, (unsigned long long)old,
	         (unsigned long long)want, strerror(error), back ? " (and not shrunk back)" : "");
	return err_set(f, EG_E_NO_STORAGE, NULL, NULL, "no shared memory for %llu bytes more: %s",
	               (unsigned long long)(want - old), strerror(error));
}

enum err region_extend(struct region *r, uint64_t bytes, uint64_t *want, struct fault *f)
{
	int error;

	EG_ASSERT(r->writable);
	*want = round_up(bytes, EG_REGION_GRAIN);
	if (*want <= region_grown(r)) {
		*want = region_grown(r);
		return EG_E_OK;
	}
	if (*want > r->reserved)
		return err_set(f, EG_E_NO_STORAGE, NULL, NULL, "%s: %llu bytes are beyond its reserved %zu",
		               r->name, (unsigned long long)*want, r->reserved);
	error = set_length(r, *want);
	FAULT(REGION_EXTENDED);
	return error == 0 ? EG_E_OK : not_grown(r, *want, error, f);
}

enum err region_reach(struct region *r, uint64_t want, int error, struct fault *f)
{
	if (error != 0)
		return not_grown(r, want, error, f);
	FAULT(REGION_POPULATED);
	if (want > region_grown(r))
		atomic_store_explicit(r->grown, want, memory_order_release);
	FAULT(REGION_GROWN);
	return EG_E_OK;
}

enum err region_grow(struct region *r, uint64_t bytes, struct fault *f)
{
	uint64_t old = region_grown(r), want;
	enum err e;

	if (bytes <= old)
		return EG_E_OK;
	e = region_extend(r, bytes, &want, f);
	return e == EG_E_OK ? region_reach(r, want, region_fill(r, old, want), f) : e;
}

enum err region_stretch(struct region *r, uint64_t bytes, struct fault *f)
{
	uint64_t want;
	enum err e;

	if (bytes <= region_grown(r))
		return EG_E_OK;
	e = region_extend(r, bytes, &want, f);
	if (e == EG_E_OK)
		atomic_store_explicit(r->grown, want, memory_order_release);
	FAULT(REGION_STRETCHED);
	return e;
}

/* Filling a huge page is dear, and asking whether it is filled not for nothing. */
static bool noted(struct region *r, size_t grain, bool note)
{
	if (grain >= r->n_backed && note) {
		size_t n = grain + grain / 2 + 16;

		r->backed = realloc(r->backed, n);
		EG_ASSERT(r->backed != NULL);
		memset(r->backed + r->n_backed, 0, n - r->n_backed);
		r->n_backed = n;
	}
	if (note)
		r->backed[grain] = 1;
	return grain < r->n_backed && r->backed[grain] != 0;
}

enum err region_back(struct region *r, uint64_t offset, size_t bytes, struct fault *f)
{
	uint64_t step = r->huge ? EG_REGION_GRAIN : 4096, end = round_up(offset + bytes, step);
	int error = 0;

	EG_ASSERT(r->writable && offset + bytes <= region_grown(r));
	for (uint64_t at = offset / step * step; at < end && error == 0; at += step) {
		if (r->huge && noted(r, at / step, false))
			continue;
		error = region_fill(r, at, at + step);
		if (error == 0 && r->huge)
			(void)noted(r, at / step, true);
	}
	FAULT(REGION_BACKED);
	if (error == 0)
		return EG_E_OK;
	return err_set(f, EG_E_NO_STORAGE, NULL, NULL, "%s: no pages for %zu bytes at %llu: %s", r->name, bytes,
	               (unsigned long long)offset, strerror(error));
}

unsigned region_unlink_all(const char *prefix)
{
	const char *stem = prefix[0] == '/' ? prefix + 1 : prefix;
	DIR *dir = opendir("/dev/shm");
	struct dirent *entry;
	unsigned n = 0;

	if (dir == NULL)
		return 0;
	while ((entry = readdir(dir)) != NULL) {
		char name[sizeof entry->d_name + 1];

		if (strncmp(entry->d_name, stem, strlen(stem)) != 0)
			continue;
		snprintf(name, sizeof name, "/%s", entry->d_name);
		n += shm_unlink(name) == 0;
	}
	closedir(dir);
	return n;
}
