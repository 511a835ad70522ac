/* Reading the log: a tail cut at every sector is torn and its whole groups are
 * kept; a flipped bit is met; damage before something durable is refused with
 * the LSN range; a later segment supersedes an older one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/crc32c.h"
#include "common/io.h"
#include "wal/append.h"
#include "wal/scan.h"
#include "wal/submit.h"

#define GROUPS 6u
#define EACH 5u                    /* records of a group */
#define SEGMENT (UINT64_C(1) << 20)

/* In place of aligned_alloc (the linker's --wrap): windows are refused. */
static bool no_windows;
void *__real_aligned_alloc(size_t alignment, size_t bytes);
void *__wrap_aligned_alloc(size_t alignment, size_t bytes);
void *__wrap_aligned_alloc(size_t alignment, size_t bytes)
{
	return no_windows && bytes >= SEGMENT / 2 ? NULL : __real_aligned_alloc(alignment, bytes);
}

struct log {
	char dir[64];
	struct datadir d;
	struct append a;
	uint8_t *buf;
	uint64_t ends[GROUPS + 1];     /* offsets: begin of each group, end of the last */
};

static void begin(struct log *l, uint64_t start)
{
	struct fault f;

	l->a.dir = &l->d;
	l->a.main.fd = -1;
	l->a.incarnation++;
	l->a.next_lsn = start;
	assert_int_equal(append_segment(&l->a, start, &f), EG_E_OK);
}

static void group(struct log *l, unsigned n, uint64_t version)
{
	struct fault f;

	append_begin(&l->a, l->buf, 1 << 18);
	for (unsigned i = 0; i < n; i++) {
		struct record r = { .type = EG_RECORD_PUT, .version = version, .packed_bytes = 900 }, *to;

		r.bytes = (uint32_t)record_size(0, 0, 0, 0, r.packed_bytes);
		assert_int_equal(append_record(&l->a, &r, &to, &f), EG_E_OK);
		memset(to + 1, (int)(to->lsn % 251), to->bytes - sizeof *to);
		append_done(&l->a, to);
	}
	assert_int_equal(append_write(&l->a, &f), EG_E_OK);
	assert_int_equal(append_sync(&l->a, &f), EG_E_OK);
}

static int log_make(void **state)
{
	struct log *l = calloc(1, sizeof *l);
	struct fault f;

	snprintf(l->dir, sizeof l->dir, "%s/engram-test-XXXXXX", getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
	assert_non_null(mkdtemp(l->dir));
	assert_int_equal(datadir_open(&l->d, l->dir, 1, &f), EG_E_OK);
	l->buf = aligned_alloc(4096, 1 << 18);
	sink_init(&l->a.main, "the log", &l->d, false);
	assert_int_equal(spares_open(&l->a.main.spares, &l->d, SEGMENT, &f), EG_E_OK);
	begin(l, 1);
	for (unsigned i = 0; i < GROUPS; i++) {
		l->ends[i] = l->a.offset;
		group(l, EACH, 1);
	}
	l->ends[GROUPS] = l->a.offset;
	*state = l;
	return 0;
}

static int log_remove(void **state)
{
	struct log *l = *state;
	char command[128];

	append_close(&l->a);
	datadir_close(&l->d);
	snprintf(command, sizeof command, "rm -r %s", l->dir);
	assert_int_equal(system(command), 0);
	free(l->buf);
	free(l);
	return 0;
}

/* ---- scanning -------------------------------------------------------------------- */

struct seen { uint64_t n, last, versions[64 + 1]; };

static enum err see(void *arg, const struct record *r, const struct segment_header *h, struct fault *f)
{
	struct seen *s = arg;

	(void)h;
	(void)f;
	assert_int_equal(r->lsn, s->last + 1);
	s->n++;
	s->last = r->lsn;
	s->versions[r->lsn] = r->version;
	return EG_E_OK;
}

static enum err scan_all(struct log *l, struct seen *seen, struct scan *s, struct fault *f)
{
	enum err e;

	memset(seen, 0, sizeof *seen);
	memset(s, 0, sizeof *s);
	e = scan_log(&l->d, 1, see, seen, s, f);
	scan_free(s);
	return e;
}

static int open_first(struct log *l)
{
	int fd = io_open(l->d.wal_fd, "0000000000000001.log", O_RDWR);

	assert_true(fd >= 0);
	return fd;
}

static void test_whole(void **state)
{
	struct log *l = *state;
	struct seen seen;
	struct scan s;
	struct fault f;

	assert_int_equal(scan_all(l, &seen, &s, &f), EG_E_OK);
	assert_int_equal(seen.n, GROUPS * EACH);
	assert_true(s.blank);
	assert_int_equal(s.last_used, l->ends[GROUPS]);
	/* The last group has no witness, those before have. */
	assert_int_equal(s.durable_lsn, (GROUPS - 1) * EACH);
}

/* The last group is lost from any sector on, by truncation or as zeros. */
static void test_torn_tail(void **state)
{
	struct log *l = *state;
	uint64_t from = l->ends[GROUPS - 1], end = l->ends[GROUPS];
	uint8_t *copy = malloc(end - from), *zeros = calloc(1, end - from);
	int fd = open_first(l);
	struct seen seen;
	struct scan s;
	struct fault f;

	assert_int_equal(io_read_at(fd, copy, end - from, from), (ssize_t)(end - from));
	for (uint64_t cut = from; cut < end; cut += 512) {
		/* Cut within the padding, the group is whole on disk but for zeros. */
		bool whole = true;

		for (uint64_t i = cut - from; i < end - from; i++)
			whole = whole && copy[i] == 0;
		assert_int_equal(io_write_at(fd, zeros, end - cut, cut), 0);
		assert_int_equal(scan_all(l, &seen, &s, &f), EG_E_OK);
		assert_int_equal(seen.last, (whole ? GROUPS : GROUPS - 1) * EACH);
		assert_int_equal(s.blank, cut == from || whole);
		assert_int_equal(ftruncate(fd, (off_t)cut), 0);
		assert_int_equal(scan_all(l, &seen, &s, &f), EG_E_OK);
		assert_int_equal(seen.last, (GROUPS - 1) * EACH);
		assert_int_equal(ftruncate(fd, (off_t)SEGMENT), 0);
		assert_int_equal(io_write_at(fd, copy, end - from, from), 0);
	}
	/* A hole in the middle of it is the same. */
	assert_int_equal(io_write_at(fd, zeros, 512, from + 4096), 0);
	assert_int_equal(scan_all(l, &seen, &s, &f), EG_E_OK);
	assert_int_equal(seen.last, (GROUPS - 1) * EACH);
	close(fd);
	free(copy);
	free(zeros);
}

/* Every kind of byte: of a group's header, of a record, of a payload, of the zeros.
 * Group k's damage is refused, for group k + 1 says that it was durable; the
 * last one's is a torn tail. */
static void test_bit_flips(void **state)
{
	struct log *l = *state;
	const uint64_t within[] = { 0, 4, 9, 17, 21, 25, 33, 37, 41, 64, 68, 73, 80, 112, 117, 200, 1100 };
	int fd = open_first(l);
	struct seen seen;
	struct scan s;
	struct fault f;

	for (unsigned g = 0; g < GROUPS; g++)
		for (unsigned i = 0; i <= sizeof within / sizeof within[0]; i++) {
			uint64_t at = i == sizeof within / sizeof within[0] ? l->ends[g + 1] - 1 : l->ends[g] + within[i];
			char range[64];
			uint8_t byte;
			enum err e;

			assert_int_equal(io_read_at(fd, &byte, 1, at), 1);
			byte ^= 0x10;
			assert_int_equal(io_write_at(fd, &byte, 1, at), 0);
			e = scan_all(l, &seen, &s, &f);
			assert_int_equal(e, g + 1 < GROUPS ? EG_E_VALIDATION : EG_E_OK);
			assert_int_equal(seen.last, g * EACH);
			snprintf(range, sizeof range, "LSN %u and later were durable", g * EACH + 1);
			if (g + 1 < GROUPS)
				assert_non_null(strstr(f.message, range));
			byte ^= 0x10;
			assert_int_equal(io_write_at(fd, &byte, 1, at), 0);
		}
	close(fd);
}

static void test_headers(void **state)
{
	struct log *l = *state;
	int fd = open_first(l);
	const uint8_t junk[64] = { 1 };
	struct seen seen;
	struct scan s;
	struct fault f;

	assert_int_equal(io_write_at(fd, junk, sizeof junk, 0), 0);
	assert_int_equal(scan_all(l, &seen, &s, &f), EG_E_OK);     /* the second copy stands */
	assert_int_equal(seen.n, GROUPS * EACH);
	assert_int_equal(io_write_at(fd, junk, sizeof junk, EG_BLOCK), 0);
	assert_int_equal(scan_all(l, &seen, &s, &f), EG_E_VALIDATION);
	close(fd);
}

/* Damage before a later segment is refused with what is missing; so is a gap. */
static void test_next_segment(void **state)
{
	struct log *l = *state;
	int fd = open_first(l);
	uint8_t byte = 0xff;
	struct seen seen;
	struct scan s;
	struct fault f;

	begin(l, GROUPS * EACH + 1);
	group(l, EACH, 1);
	assert_int_equal(scan_all(l, &seen, &s, &f), EG_E_OK);
	assert_int_equal(seen.n, (GROUPS + 1) * EACH);
	assert_int_equal(io_write_at(fd, &byte, 1, l->ends[GROUPS - 1] + 100), 0);
	assert_int_equal(scan_all(l, &seen, &s, &f), EG_E_VALIDATION);
	assert_non_null(strstr(f.message, "LSN 26 to 30 are missing"));
	close(fd);
	assert_int_equal(io_unlink(l->d.wal_fd, "0000000000000001.log"), 0);
	assert_int_equal(scan_all(l, &seen, &s, &f), EG_E_VALIDATION);
	assert_non_null(strstr(f.message, "begins at LSN 31, but 1 is needed"));
}

/* A segment that starts within another one replaces what follows there, though it
 * is valid; and a bad place beyond its start is nobody's business any more. */
static void test_superseded(void **state)
{
	struct log *l = *state;
	int fd = open_first(l);
	uint8_t byte = 0xff;
	struct seen seen;
	struct scan s;
	struct fault f;

	begin(l, 13);                      /* in the middle of the third group */
	group(l, 4, 2);
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(scan_all(l, &seen, &s, &f), EG_E_OK);
		assert_int_equal(seen.last, 16);
		assert_int_equal(seen.versions[12], 1);
		assert_int_equal(seen.versions[13], 2);
		assert_int_equal(s.segments, 2);
		assert_int_equal(s.incarnation, 2);
		assert_int_equal(io_write_at(fd, &byte, 1, l->ends[3] + 100), 0);
	}
	close(fd);
}

/* What an earlier life of the same LSNs left in the file is not taken for a group of
 * this one, though it is whole, of the same writer, and follows in the chain. */
static void test_salt(void **state)
{
	struct log *l = *state;
	uint64_t first = GROUPS * EACH + 1;
	uint32_t chain = l->a.prev_crc;
	struct group_header *old = malloc(1 << 16);
	struct seen seen;
	struct scan s;
	struct fault f;
	uint64_t at;
	size_t bytes;
	int fd;

	begin(l, first);
	group(l, EACH, 1);
	at = l->a.offset;
	group(l, EACH, 2);
	bytes = l->a.offset - at;
	assert_int_equal(io_read_at(l->a.main.fd, old, bytes, at), (ssize_t)bytes);
	/* Once more from there, by a writer that took nothing of it over. */
	l->a.prev_crc = chain;
	l->a.incarnation--;
	begin(l, first);
	group(l, EACH, 1);
	assert_int_equal(l->a.offset, at);
	old->prev_crc = l->a.prev_crc;
	group_seal(old);
	fd = io_open(l->d.wal_fd, "000000000000001f.log", O_RDWR);
	assert_true(fd >= 0);
	assert_int_equal(io_write_at(fd, old, bytes, at), 0);
	assert_int_equal(scan_all(l, &seen, &s, &f), EG_E_OK);
	assert_int_equal(seen.last, (GROUPS + 1) * EACH);
	close(fd);
	free(old);
}

/* What was laid out and taken back leaves no trace: the chain goes on. */
static void test_cancel(void **state)
{
	struct log *l = *state;
	struct record r = { .type = EG_RECORD_PUT, .bytes = 128 }, *to;
	uint64_t lsn = l->a.next_lsn;
	struct seen seen;
	struct scan s;
	struct fault f;

	append_begin(&l->a, l->buf, 1 << 18);
	assert_int_equal(append_record(&l->a, &r, &to, &f), EG_E_OK);
	append_done(&l->a, to);
	close(l->a.main.fd);
	l->a.main.fd = -1;                      /* the write fails, its group was sealed */
	l->a.rescued_ns = clock_mono_ns(); /* not for the first time */
	assert_int_not_equal(append_write(&l->a, &f), EG_E_OK);
	append_cancel(&l->a);
	assert_int_equal(l->a.next_lsn, lsn);
	assert_int_equal(l->a.copy.bytes, 0);
	l->a.main.fd = open_first(l);
	group(l, EACH, 1);
	assert_int_equal(scan_all(l, &seen, &s, &f), EG_E_OK);
	assert_int_equal(seen.n, (GROUPS + 1) * EACH);
}

/* Without memory to read into nobody knows what is there: no torn tail, that a start would cut, and no end. */
static void test_no_memory(void **state)
{
	struct log *l = *state;
	uint8_t *all = malloc(SEGMENT);
	struct segment_reader r;
	int fd = open_first(l);
	char path[128];
	struct seen seen;
	struct scan s;
	struct fault f;

	/* In the page cache, so that there is a small window for the header, and a larger one is asked for later. */
	assert_int_equal(io_read_at(fd, all, SEGMENT, 0), (ssize_t)SEGMENT);
	close(fd);
	free(all);
	snprintf(path, sizeof path, "%s/wal/%016llx.log", l->dir, 1ull);
	no_windows = true;
	assert_int_equal(scan_all(l, &seen, &s, &f), EG_E_INTERNAL);
	assert_non_null(strstr(f.message, strerror(ENOMEM)));
	assert_int_equal(segment_open(&r, path, &f), EG_E_OK);
	assert_false(segment_seek(&r, EG_SEGMENT_DATA, SEGMENT));
	assert_int_equal(r.error, ENOMEM);
	r.error = 0;
	assert_false(segment_has_witness(&r, 1));
	assert_int_equal(r.error, ENOMEM);
	segment_close(&r);
	no_windows = false;
	assert_int_equal(scan_all(l, &seen, &s, &f), EG_E_OK);
	assert_int_equal(seen.n, GROUPS * EACH);
}

/* ---- ways to read ---------------------------------------------------------------- */

enum way { PLAIN, ONCE, AHEAD, KEPT };

/* Groups that are kept, with what they said: those since the last call of moves, and those before it. */
#define KEPT_MOST 64u
struct kept { struct { const struct group_header *g; uint32_t crc; } of[KEPT_MOST]; unsigned n; };
struct keeper { struct kept now, before; unsigned calls, seen; };

static void moves(void *arg)
{
	struct keeper *k = arg;

	for (unsigned i = 0; i < k->before.n; i++)
		assert_int_equal(crc32c(0, k->before.of[i].g, k->before.of[i].g->bytes), k->before.of[i].crc);
	k->seen += k->before.n;
	k->before = k->now;
	k->now.n = 0;
	k->calls++;
}

/* How many groups, their CRCs folded, and how it ends. */
struct read { unsigned n; uint32_t crc; enum err why; };

static struct read read_all(const char *path, enum way way)
{
	const struct group_header *g;
	struct keeper k = { .calls = 0 };
	struct read r = { 0 };
	struct segment_reader s;
	struct fault f;

	if (way == PLAIN)
		assert_int_equal(segment_open(&s, path, &f), EG_E_OK);
	else
		assert_int_equal(segment_open_once(&s, path, way == ONCE ? 0 : 2 * SEGMENT, &f), EG_E_OK);
	s.moves = way == KEPT ? moves : NULL;
	s.moves_arg = &k;
	while ((g = segment_next(&s, &r.why, &f)) != NULL) {
		r.crc = crc32c(r.crc, g, g->bytes);
		assert_true(k.now.n < KEPT_MOST);
		if (way == KEPT) {
			k.now.of[k.now.n].g = g;
			k.now.of[k.now.n++].crc = crc32c(0, g, g->bytes);
		}
		r.n++;
	}
	segment_close(&s);
	assert_int_equal(k.seen, way == KEPT ? r.n : 0);
	assert_true(way != KEPT || k.calls > 3);
	return r;
}

static bool drop_cache(const char *path)
{
	struct segment_reader s;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct fault f;
	bool direct;

	assert_true(fd >= 0 && fsync(fd) == 0 && posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED) == 0);
	close(fd);
	assert_int_equal(segment_open_once(&s, path, 0, &f), EG_E_OK);
	direct = s.direct;
	segment_close(&s);
	return direct;
}

static void same_by_all_ways(const char *path, unsigned n, enum err why)
{
	struct read plain = read_all(path, PLAIN);
	bool direct = false;

	assert_int_equal(plain.n, n);
	assert_int_equal(plain.why, why);
	for (enum way way = ONCE; way <= KEPT; way++)
		for (unsigned cold = 0; cold < 2; cold++) {
			struct read r;

			if (cold)
				direct |= drop_cache(path);
			r = read_all(path, way);
			assert_int_equal(r.n, n);
			assert_int_equal(r.why, why);
			assert_int_equal(r.crc, plain.crc);
		}
	print_message("# %s\n", direct ? "past the page cache, too" : "all of it through the page cache");
}

/* More than a window; what is read past the page cache and by a thread is the same. */
static void test_ways(void **state)
{
	enum { LARGE = 60, MANY = 200 };
	struct log *l = *state;
	char path[128];
	struct fault f;

	spares_close(&l->a.main.spares);
	assert_int_equal(spares_open(&l->a.main.spares, &l->d, 16 * SEGMENT, &f), EG_E_OK);
	begin(l, l->a.next_lsn);
	snprintf(path, sizeof path, "%s/wal/%016llx.log", l->dir, (unsigned long long)l->a.next_lsn);
	for (unsigned i = 0; i < LARGE; i++)
		group(l, i % 3 == 0 ? 1 : MANY, 1);
	same_by_all_ways(path, LARGE, EG_E_OK);
	/* An end that is no multiple of a block: the last group is not whole. */
	assert_int_equal(truncate(path, (off_t)l->a.offset - 5000), 0);
	same_by_all_ways(path, LARGE - 1, EG_E_VALIDATION);
	assert_int_equal(truncate(path, (off_t)l->a.offset), 0);
	same_by_all_ways(path, LARGE - 1, EG_E_VALIDATION);
}

/* From any block on, the next whole group is found, if one begins before the end that was given; the chain
 * goes on from there. What is damaged is passed over. */
static void test_seek(void **state)
{
	struct log *l = *state;
	int fd = open_first(l);
	char path[128];
	uint8_t byte;

	snprintf(path, sizeof path, "%s/wal/%016llx.log", l->dir, 1ull);
	assert_int_equal(io_read_at(fd, &byte, 1, l->ends[2] + 200), 1);
	for (unsigned damaged = 0; damaged < 2; damaged++) {
		for (uint64_t from = EG_SEGMENT_DATA; from < l->ends[GROUPS] + 2 * EG_BLOCK; from += EG_BLOCK) {
			struct segment_reader s;
			struct fault f;
			enum err why;
			unsigned g = 0;

			while (g < GROUPS && (l->ends[g] < from || (damaged && g == 2)))
				g++;
			assert_int_equal(segment_open(&s, path, &f), EG_E_OK);
			assert_int_equal(segment_seek(&s, from, l->ends[g]), false);
			assert_int_equal(s.error, 0);
			assert_int_equal(segment_seek(&s, from, SEGMENT), g < GROUPS);
			if (g < GROUPS) {
				assert_int_equal(s.offset, l->ends[g]);
				assert_int_equal(segment_next(&s, &why, &f)->first_lsn, g * EACH + 1);
				assert_int_equal(s.offset, l->ends[g + 1]);
			}
			segment_close(&s);
		}
		byte ^= 4;
		assert_int_equal(io_write_at(fd, &byte, 1, l->ends[2] + 200), 0);
	}
	close(fd);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, log_make, log_remove)
	const struct CMUnitTest tests[] = {
		T(test_whole), T(test_torn_tail), T(test_bit_flips), T(test_headers),
		T(test_next_segment), T(test_superseded), T(test_salt), T(test_cancel), T(test_no_memory), T(test_ways), T(test_seek),
	};

	if (getenv("ENGRAM_TEST_LOG") == NULL)
		(void)!freopen("/dev/null", "w", stderr);
	return cmocka_run_group_tests_name("wal segment", tests, NULL, NULL);
}
