/* A disk that loses power, see the header. */
#include "t/unit/wal_powerloss_disk.h"

#ifdef EG_FAULTS

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/err.h"
#include "common/hash.h"

#define BLOCK 4096u
#define DIRS_MAX 16u

enum { ALL, NONE, RANDOM, PREFIX };    /* what becomes of the uncertain */
enum { ZEROS, STALE };

static const struct { unsigned piece, data, names, sizes, lost; } kinds[DISK_N] = {
#define X(name, piece, data, names, sizes, lost, text) { piece, data, names, sizes, lost },
	DISK_KINDS
#undef X
};
const char *const disk_kind_names[DISK_N] = {
#define X(name, piece, data, names, sizes, lost, text) #name,
	DISK_KINDS
#undef X
};

struct op { const struct tape_event *e; uint32_t file; };      /* file: index, or folder */
struct file {
	uint64_t inode;
	bool folder;
	uint8_t *base;                 /* what it held at the beginning, durable */
	size_t base_bytes;
	uint32_t *ops, n, cap;         /* of its content */
	uint64_t longest;              /* that it ever may be */
};
struct name { uint32_t dir, file; char text[TAPE_NAME]; };     /* dir: a file that is a folder; 0 is the root */

struct disk {
	struct op *ops;                /* about names, and the syncs of folders */
	uint32_t n, cap;
	struct file *files;
	uint32_t n_files, cap_files;
	struct name *base;             /* names at the beginning */
	uint32_t n_base, cap_base;
	const struct tape_event **writes;      /* whose bytes may be met as stale ones */
	uint32_t n_writes, cap_writes;
	uint64_t end;
};

#define GROW(at, n, cap) \
	do { \
		if ((n) == (cap)) { \
			(cap) = (cap) ? (cap) * 2 : 64; \
			(at) = realloc((at), (cap) * sizeof *(at)); \
			EG_ASSERT((at) != NULL); \
		} \
	} while (0)

static uint64_t dice(uint64_t *state)
{
	*state += UINT64_C(0x9e3779b97f4a7c15);
	return hash64(state, sizeof *state, 11);
}

/* ---- understanding a tape ---------------------------------------------------------- */

static uint32_t add_file(struct disk *d, uint64_t inode, bool folder)
{
	GROW(d->files, d->n_files, d->cap_files);
	d->files[d->n_files] = (struct file){ .inode = inode, .folder = folder };
	return d->n_files++;
}

/* An inode's number may be given again: the newest counts. */
static uint32_t find_file(const struct disk *d, uint64_t inode)
{
	for (uint32_t i = d->n_files; i-- > 0;)
		if (d->files[i].inode == inode)
			return i;
	return UINT32_MAX;
}

static void add_base(struct disk *d, uint32_t dir, uint32_t file, const char *name)
{
	GROW(d->base, d->n_base, d->cap_base);
	d->base[d->n_base] = (struct name){ .dir = dir, .file = file };
	snprintf(d->base[d->n_base++].text, TAPE_NAME, "%.63s", name);
}

static void read_base(struct disk *d, uint32_t dir, const char *path)
{
	DIR *entries = opendir(path);
	struct dirent *entry;

	while (entries != NULL && (entry = readdir(entries)) != NULL) {
		char inner[512];
		struct stat st;
		uint32_t file;
		int fd;

		if (entry->d_name[0] == '.')
			continue;
		snprintf(inner, sizeof inner, "%s/%s", path, entry->d_name);
		EG_ASSERT(stat(inner, &st) == 0);
		file = add_file(d, st.st_ino, S_ISDIR(st.st_mode));
		add_base(d, dir, file, entry->d_name);
		if (S_ISDIR(st.st_mode)) {
			read_base(d, file, inner);
			continue;
		}
		d->files[file].base_bytes = (size_t)st.st_size;
		d->files[file].longest = (uint64_t)st.st_size;
		d->files[file].base = malloc((size_t)st.st_size + 1);
		fd = open(inner, O_RDONLY | O_CLOEXEC);
		EG_ASSERT(fd >= 0 && d->files[file].base != NULL);
		EG_ASSERT(read(fd, d->files[file].base, (size_t)st.st_size) == st.st_size);
		close(fd);
	}
	if (entries != NULL)
		closedir(entries);
}

static void add_op(struct disk *d, const struct tape_event *e, uint32_t file)
{
	GROW(d->ops, d->n, d->cap);
	d->ops[d->n++] = (struct op){ e, file };
}

static void add_to_file(struct disk *d, const struct tape_event *e, uint32_t file)
{
	struct file *f = &d->files[file];
	uint64_t end = e->kind == TAPE_WRITE ? e->offset + e->length : e->kind == TAPE_SYNC ? 0 : e->offset;

	add_op(d, e, file);
	GROW(f->ops, f->n, f->cap);
	f->ops[f->n++] = d->n - 1;
	f->longest = end > f->longest ? end : f->longest;
	if (e->kind != TAPE_WRITE)
		return;
	GROW(d->writes, d->n_writes, d->cap_writes);
	d->writes[d->n_writes++] = e;
}

static bool understand(struct disk *d, const struct tape_event *e, const char **why)
{
	bool over = atomic_load(&e->end) != 0, good = over && e->error == 0;
	uint32_t file = e->file == 0 ? UINT32_MAX : find_file(d, e->file);

	if (e->kind == TAPE_MARK || (over && !good && e->kind != TAPE_SYNC && e->kind != TAPE_WRITE))
		return true;
	*why = "a folder that nobody made";
	if ((e->dir != 0 && find_file(d, e->dir) == UINT32_MAX) || (e->to_dir != 0 && find_file(d, e->to_dir) == UINT32_MAX))
		return e->kind == TAPE_SYNC_DIR && e->dir == 0;
	if (e->kind == TAPE_CREATE || e->kind == TAPE_MAKE_DIR) {
		if (e->file != 0)
			add_op(d, e, add_file(d, e->file, e->kind == TAPE_MAKE_DIR));
		return true;           /* killed in it: whatever was made is met again or not */
	}
	if (e->kind == TAPE_SYNC_DIR) {
		add_op(d, e, UINT32_MAX);
		return true;
	}
	*why = "a file that nobody made";
	if (file == UINT32_MAX)
		return false;
	if (e->kind == TAPE_RENAME || e->kind == TAPE_UNLINK)
		add_op(d, e, file);
	else
		add_to_file(d, e, file);
	return true;
}

struct disk *disk_new(const struct tape *t, uint64_t root_inode, const char *base, const char **why)
{
	struct disk *d = calloc(1, sizeof *d);

	EG_ASSERT(d != NULL);
	(void)add_file(d, root_inode, true);
	if (base != NULL)
		read_base(d, 0, base);
	return disk_onto(d, t, why);
}

struct disk *disk_onto(struct disk *d, const struct tape *t, const char **why)
{
	const struct tape_event *e = NULL;

	d->end = atomic_load(&t->clock);
	while ((e = tape_next(t, e)) != NULL)
		if (!understand(d, e, why)) {
			disk_free(d);
			return NULL;
		}
	return d;
}

void disk_free(struct disk *d)
{
	for (uint32_t i = 0; i < d->n_files; i++) {
		free(d->files[i].base);
		free(d->files[i].ops);
	}
	free(d->files);
	free(d->ops);
	free(d->base);
	free(d->writes);
	free(d);
}

uint64_t disk_end(const struct disk *d) { return d->end; }

uint64_t disk_rare(const struct disk *d, uint64_t n)
{
	uint32_t rare = 0;

	for (unsigned pass = 0; pass < 2; pass++) {
		uint64_t at = pass == 1 && rare > 0 ? n % rare : UINT64_MAX;

		rare = 0;
		for (uint32_t i = 0; i < d->n; i++) {
			const struct tape_event *e = d->ops[i].e;

			if (e->kind == TAPE_WRITE || (e->kind == TAPE_SYNC && e->error == 0))
				continue;
			if (rare++ == at)
				return n / 16 % 2 ? e->begin : atomic_load(&e->end) ? atomic_load(&e->end) : e->begin;
		}
	}
	return 0;
}

/* ---- what is certain ------------------------------------------------------------------ */

static bool over(const struct tape_event *e, uint64_t time)
{
	uint64_t end = atomic_load(&e->end);

	return end != 0 && end <= time;
}

/* A sync of the file that began after e had ended and was over in time; not if one
 * failed before that may have been about e too. */
static bool synced(const struct disk *d, const struct file *f, const struct tape_event *e, uint64_t time)
{
	if (!over(e, time))
		return false;
	for (uint32_t i = 0; i < f->n; i++) {
		const struct tape_event *s = d->ops[f->ops[i]].e;

		if (s->kind != TAPE_SYNC || s->begin > time)
			continue;
		if (s->error != 0 && over(s, time) && atomic_load(&s->end) > e->begin)
			return false;
		if (s->error == 0 && over(s, time) && s->begin > atomic_load(&e->end))
			return true;
	}
	return false;
}

static bool name_synced(const struct disk *d, uint32_t at, uint64_t time)
{
	const struct tape_event *e = d->ops[at].e;
	uint64_t dir = e->kind == TAPE_RENAME ? e->to_dir : e->dir;

	if (!over(e, time))
		return false;
	for (uint32_t i = at + 1; i < d->n; i++) {
		const struct tape_event *s = d->ops[i].e;

		if (s->kind == TAPE_SYNC_DIR && s->dir == dir && s->error == 0 && over(s, time)
		    && s->begin > atomic_load(&e->end))
			return true;
	}
	return false;
}

/* ---- names ------------------------------------------------------------------------------ */

struct names { struct name *at; uint32_t n, cap; };

static void link_name(struct names *names, uint32_t dir, const char *text, uint32_t file)
{
	for (uint32_t i = 0; i < names->n; i++)
		if (names->at[i].dir == dir && strcmp(names->at[i].text, text) == 0) {
			names->at[i].file = file;
			return;
		}
	GROW(names->at, names->n, names->cap);
	names->at[names->n] = (struct name){ .dir = dir, .file = file };
	snprintf(names->at[names->n++].text, TAPE_NAME, "%s", text);
}

/* Only while the name is that file's: a later step may have given it to another one. */
static void unlink_name(struct names *names, uint32_t dir, const char *text, uint32_t file)
{
	for (uint32_t i = 0; i < names->n; i++)
		if (names->at[i].dir == dir && names->at[i].file == file && strcmp(names->at[i].text, text) == 0)
			names->at[i--] = names->at[--names->n];
}

static void name_step(const struct disk *d, struct names *names, const struct op *op)
{
	const struct tape_event *e = op->e;

	if (e->kind == TAPE_RENAME) {
		unlink_name(names, find_file(d, e->dir), e->name, op->file);
		link_name(names, find_file(d, e->to_dir), e->to_name, op->file);
	} else if (e->kind == TAPE_UNLINK) {
		unlink_name(names, find_file(d, e->dir), e->name, op->file);
	} else {
		link_name(names, find_file(d, e->dir), e->name, op->file);
	}
}

static bool about_names(const struct tape_event *e)
{
	return e->kind == TAPE_CREATE || e->kind == TAPE_MAKE_DIR || e->kind == TAPE_RENAME || e->kind == TAPE_UNLINK;
}

/* Does an uncertain thing happen? cut: of those in order, the first that does not. */
static bool happens(unsigned how, uint64_t *random, uint64_t begin, uint64_t cut)
{
	return how == ALL || (how == RANDOM && dice(random) % 2 != 0) || (how == PREFIX && begin < cut);
}

static void make_names(const struct disk *d, struct names *names, uint64_t time, enum disk_kind kind,
                       uint64_t *random, uint64_t cut)
{
	for (uint32_t i = 0; i < d->n_base; i++)
		link_name(names, d->base[i].dir, d->base[i].text, d->base[i].file);
	for (uint32_t i = 0; i < d->n; i++) {
		const struct tape_event *e = d->ops[i].e;

		if (!about_names(e) || e->begin > time)
			continue;
		if (name_synced(d, i, time) || happens(kinds[kind].names, random, e->begin, cut))
			name_step(d, names, &d->ops[i]);
	}
}

/* ---- content ------------------------------------------------------------------------------ */

static void fill_stale(const struct disk *d, const struct file *f, uint8_t *to, size_t n, uint64_t *random)
{
	const struct tape_event *w = d->n_writes > 0 ? d->writes[dice(random) % d->n_writes] : NULL;
	uint64_t how = dice(random) % 4;

	if (how == 0)
		return;                    /* what the place held before */
	if (how == 1 || w == NULL || w->file == f->inode || w->length < n) {
		for (size_t i = 0; i < n; i++)
			to[i] = (uint8_t)dice(random);
		return;
	}
	memcpy(to, (const uint8_t *)tape_data(w) + dice(random) % (w->length / n) * n, n);
}

/* A write of which nothing is certain. */
static void write_pieces(const struct disk *d, const struct file *f, const struct tape_event *e, uint64_t time,
                         enum disk_kind kind, uint8_t *to, uint64_t *random)
{
	size_t piece = kinds[kind].piece != 0 ? kinds[kind].piece : e->length, begun = e->length;
	unsigned how = kinds[kind].data;

	if (!over(e, time) && how == ALL) {        /* under way: some of it, in order */
		piece = 512;
		begun = dice(random) % (e->length / 512 + 1) * 512;
	}
	/* Half of the images drop little, so that a hole is followed by much. */
	for (size_t at = 0; at < e->length; at += piece) {
		size_t n = e->length - at < piece ? e->length - at : piece;

		if (how == ALL ? at < begun : how == RANDOM && dice(random) % 4 != 0)
			memcpy(to + e->offset + at, (const uint8_t *)tape_data(e) + at, n);
		else if (kinds[kind].lost == STALE && dice(random) % 2)
			fill_stale(d, f, to + e->offset + at, n, random);
	}
}

static uint64_t set_length(uint8_t *to, uint64_t longest, uint64_t now, uint64_t length)
{
	if (length < now)
		memset(to + length, 0, longest - length);
	return length;
}

/* Returns the length. */
static uint64_t make_content(const struct disk *d, const struct file *f, uint64_t time, enum disk_kind kind,
                             uint8_t *to, uint64_t *random, uint64_t cut)
{
	uint64_t length = f->base_bytes;

	if (f->base_bytes > 0)
		memcpy(to, f->base, f->base_bytes);
	for (uint32_t i = 0; i < f->n; i++) {
		const struct tape_event *e = d->ops[f->ops[i]].e;
		bool certain, grows = e->kind == TAPE_WRITE || e->kind == TAPE_ALLOCATE;
		uint64_t end = e->kind == TAPE_WRITE ? e->offset + e->length : e->offset;

		if (e->kind == TAPE_SYNC || e->begin > time)
			continue;
		certain = synced(d, f, e, time);
		if (e->kind == TAPE_WRITE && certain)
			memcpy(to + e->offset, tape_data(e), e->length);
		else if (e->kind == TAPE_WRITE)
			write_pieces(d, f, e, time, kind, to, random);
		if (grows && end <= length)
			continue;
		if (certain || happens(kinds[kind].sizes, random, e->begin, cut))
			length = grows ? end : set_length(to, f->longest, length, end);
	}
	return length;
}

static void save(int fd, const uint8_t *from, uint64_t length)
{
	static const uint8_t zeros[BLOCK];

	EG_ASSERT(ftruncate(fd, (off_t)length) == 0);
	for (uint64_t at = 0; at < length;) {
		uint64_t end = at;

		while (end < length && memcmp(from + end, zeros, length - end < BLOCK ? length - end : BLOCK) != 0)
			end += BLOCK;
		end = end < length ? end : length;
		if (end > at)
			EG_ASSERT(pwrite(fd, from + at, end - at, (off_t)at) == (ssize_t)(end - at));
		at = end > at ? end : at + BLOCK;
	}
}

/* ---- an image ------------------------------------------------------------------------------- */

/* Where a folder is now: false when some folder above it is not there. */
static bool path_of(const struct names *names, uint32_t dir, char *out, size_t size)
{
	if (dir == 0)
		return true;
	for (uint32_t i = 0; i < names->n; i++)
		if (names->at[i].file == dir && path_of(names, names->at[i].dir, out, size)) {
			size_t n = strlen(out);

			snprintf(out + n, size - n, "/%s", names->at[i].text);
			return true;
		}
	return false;
}

typedef bool use_fn(void *arg, const char *path, const uint8_t *content, uint64_t length);

static bool each_file(const struct disk *d, uint64_t time, enum disk_kind kind, uint64_t seed, use_fn *fn, void *arg)
{
	uint64_t random = seed, cut = 1 + dice(&random) % (time + 1);
	struct names names = { 0 };
	bool good = true;

	make_names(d, &names, time, kind, &random, cut);
	for (unsigned folders = 2; folders-- > 0;)         /* folders first */
		for (uint32_t i = 0; i < names.n && good; i++) {
			const struct file *f = &d->files[names.at[i].file];
			char path[512] = "";
			static uint8_t *to;
			static size_t room;
			uint64_t length;

			if (f->folder != (folders == 1) || !path_of(&names, names.at[i].dir, path, sizeof path))
				continue;
			snprintf(path + strlen(path), sizeof path - strlen(path), "/%s", names.at[i].text);
			if (f->longest + BLOCK > room) {
				room = f->longest + BLOCK;
				free(to);
				to = malloc(room);
				EG_ASSERT(to != NULL);
			}
			memset(to, 0, f->longest + BLOCK);
			length = f->folder ? 0 : make_content(d, f, time, kind, to, &random, cut);
			good = fn(arg, path, f->folder ? NULL : to, length);
		}
	free(names.at);
	return good;
}

static bool put(void *arg, const char *path, const uint8_t *content, uint64_t length)
{
	char full[1024];
	int fd;

	snprintf(full, sizeof full, "%s%s", (const char *)arg, path);
	if (content == NULL) {
		EG_ASSERT(mkdir(full, 0700) == 0);
		return true;
	}
	fd = open(full, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	EG_ASSERT(fd >= 0);
	save(fd, content, length);
	close(fd);
	return true;
}

void disk_build(const struct disk *d, uint64_t time, enum disk_kind kind, uint64_t seed, const char *at)
{
	(void)each_file(d, time, kind, seed, put, (void *)(uintptr_t)at);
}

/* ---- nothing was lost -------------------------------------------------------------------------- */

struct compare { const char *at; char *text; size_t size; unsigned files; };

static bool same(void *arg, const char *path, const uint8_t *content, uint64_t length)
{
	struct compare *c = arg;
	char full[1024];
	struct stat st;
	uint8_t *there;
	bool equal;
	int fd;

	snprintf(full, sizeof full, "%s%s", c->at, path);
	c->files++;
	if (content == NULL)
		return stat(full, &st) == 0 && S_ISDIR(st.st_mode);
	fd = open(full, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) != 0) {
		snprintf(c->text, c->size, "%.100s: %s", path, strerror(errno));
		return false;
	}
	there = malloc((size_t)st.st_size + 1);
	EG_ASSERT(there != NULL);
	equal = (uint64_t)st.st_size == length && read(fd, there, (size_t)length) == (ssize_t)length
	        && memcmp(there, content, (size_t)length) == 0;
	if (!equal)
		snprintf(c->text, c->size, "%.100s: %llu bytes on the tape, %llu there, or other ones", path,
		         (unsigned long long)length, (unsigned long long)st.st_size);
	free(there);
	close(fd);
	return equal;
}

static unsigned count(const char *path)
{
	DIR *entries = opendir(path);
	struct dirent *entry;
	unsigned n = 0;

	while (entries != NULL && (entry = readdir(entries)) != NULL) {
		char inner[512];

		if (entry->d_name[0] == '.')
			continue;
		snprintf(inner, sizeof inner, "%s/%s", path, entry->d_name);
		n += 1 + count(inner);
	}
	if (entries != NULL)
		closedir(entries);
	return n;
}

bool disk_same(const struct disk *d, const char *at, char *text, size_t size)
{
	struct compare c = { .at = at, .text = text, .size = size };
	unsigned there = count(at);

	if (!each_file(d, d->end, DISK_PREFIX, 1, same, &c))
		return false;
	if (there != c.files)
		snprintf(text, size, "%u files and folders on the tape, %u there", c.files, there);
	return there == c.files;
}

#endif
