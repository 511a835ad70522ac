/* Checkpoints as files: what was written is read again; every flipped byte of header,
 * manifest, footer, extents and superblock is noticed; the superblock's two blocks are
 * written in turn, and each stands in for the other. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/crc32c.h"
#include "common/io.h"
#include "shm/layout.h"
#include "shm/space.h"
#include "wal/checkpoint.h"
#include "wal/datadir.h"

#define ROWS 5000u
#define SPACES 1500u

struct room {
	char path[64];
	struct datadir d;
	struct checkpoint_row *rows;
	struct checkpoint_space *spaces;
	struct checkpoint_place place;
	void *buf;
};

static struct checkpoint_header head(const struct room *r, uint64_t id, uint64_t start_lsn)
{
	struct checkpoint_header h = { .timeline = 1, .id = id, .start_lsn = start_lsn, .stores = 1 };

	memcpy(h.uuid, r->d.uuid, sizeof h.uuid);
	return h;
}

static void write_all(struct room *r, uint64_t id, uint64_t start_lsn, uint64_t n_rows, uint64_t n_spaces)
{
	struct checkpoint_header h = head(r, id, start_lsn);
	char name[32];
	struct fault f;

	checkpoint_name(name, id);
	assert_int_equal(checkpoint_write_all(r->d.checkpoints_fd, name, &h, r->rows, n_rows, r->spaces, n_spaces,
	                                      &r->place, &f), EG_E_OK);
}

static int set_up(void **state)
{
	struct room *r = calloc(1, sizeof *r);
	struct fault f;

	snprintf(r->path, sizeof r->path, "%s/engram-test-XXXXXX", getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
	assert_non_null(mkdtemp(r->path));
	assert_int_equal(datadir_open(&r->d, r->path, 1, &f), EG_E_OK);
	r->rows = calloc(ROWS, sizeof *r->rows);
	r->spaces = calloc(SPACES, sizeof *r->spaces);
	r->buf = aligned_alloc(64, EG_EXTENT_BYTES_MAX);
	for (uint32_t i = 0; i < ROWS; i++)
		r->rows[i] = (struct checkpoint_row){ .slot = i * 3, .generation = i % 7, .class_ = EG_NONE, .node = EG_NONE,
			.lsn = 10 + i, .truth = i, .accesses = 2 * i };
	for (uint32_t i = 0; i < SPACES; i++) {
		r->spaces[i] = (struct checkpoint_space){ .number = i, .state = EG_SPACE_LIVE, .lsn = i + 1 };
		snprintf(r->spaces[i].id, sizeof r->spaces[i].id, "space-%u", i);
	}
	*state = r;
	return 0;
}

static int tear_down(void **state)
{
	struct room *r = *state;
	char command[128];

	datadir_close(&r->d);
	snprintf(command, sizeof command, "rm -rf '%s'", r->path);
	assert_int_equal(system(command), 0);
	free(r->rows);
	free(r->spaces);
	free(r->buf);
	free(r);
	return 0;
}

static void flip(int folder_fd, const char *name, uint64_t at)
{
	int fd = openat(folder_fd, name, O_RDWR | O_CLOEXEC);
	uint8_t byte;

	assert_true(fd >= 0);
	assert_int_equal(pread(fd, &byte, 1, (off_t)at), 1);
	byte ^= (uint8_t)(1u << at % 8);
	assert_int_equal(pwrite(fd, &byte, 1, (off_t)at), 1);
	close(fd);
}

static enum err open_it(struct room *r, struct checkpoint *c)
{
	struct fault f;

	return checkpoint_open(c, r->d.checkpoints_fd, r->d.uuid, &r->place, &f);
}

static void what_was_written_is_read(void **state)
{
	struct room *r = *state;
	struct checkpoint c;
	uint64_t rows = 0, spaces = 0;
	struct fault f;

	write_all(r, 7, 300, ROWS, SPACES);
	assert_int_equal(open_it(r, &c), EG_E_OK);
	assert_int_equal(c.header.rows, ROWS);
	assert_int_equal(c.header.start_lsn, 300);
	assert_int_equal(c.header.max_lsn, 10 + ROWS - 1);
	for (uint32_t i = 0; i < c.n_refs; i++) {
		const void *entries;

		assert_ptr_equal(checkpoint_ref(&c, c.refs[i].kind, c.refs[i].first), &c.refs[i]);
		assert_int_equal(checkpoint_read(&c, &c.refs[i], r->buf, &entries, &f), EG_E_OK);
		if (c.refs[i].kind == EG_EXTENT_ROWS) {
			assert_memory_equal(entries, r->rows + rows, c.refs[i].n * sizeof *r->rows);
			rows += c.refs[i].n;
		} else {
			assert_memory_equal(entries, r->spaces + spaces, c.refs[i].n * sizeof *r->spaces);
			spaces += c.refs[i].n;
		}
	}
	assert_int_equal(rows, ROWS);
	assert_int_equal(spaces, SPACES);
	assert_null(checkpoint_ref(&c, EG_EXTENT_ROWS, 2048 * 100));
	checkpoint_close(&c);
}

/* Open it and read all of it. */
static enum err verify(struct room *r)
{
	struct checkpoint c;
	struct fault f;
	enum err e = open_it(r, &c);

	if (e != EG_E_OK)
		return e;
	for (uint32_t i = 0; i < c.n_refs && e == EG_E_OK; i++) {
		const void *entries;

		e = checkpoint_read(&c, &c.refs[i], r->buf, &entries, &f);
	}
	checkpoint_close(&c);
	return e;
}

static void every_flipped_byte_is_noticed(void **state)
{
	struct room *r = *state;
	struct checkpoint c;
	char name[32];
	uint64_t bytes;

	write_all(r, 1, 9, 100, 3);
	checkpoint_name(name, 1);
	assert_int_equal(open_it(r, &c), EG_E_OK);
	bytes = c.header.bytes;
	checkpoint_close(&c);
	assert_int_equal(verify(r), EG_E_OK);
	for (uint64_t at = 0; at < bytes; at++) {
		flip(r->d.checkpoints_fd, name, at);
		if (verify(r) != EG_E_VALIDATION)
			fail_msg("byte %llu of %llu", (unsigned long long)at, (unsigned long long)bytes);
		flip(r->d.checkpoints_fd, name, at);
	}
	assert_int_equal(verify(r), EG_E_OK);
	for (uint64_t cut = 0; cut < bytes; cut += 64) {
		assert_int_equal(truncate((snprintf(r->buf, 200, "%s/checkpoints/%s", r->path, name), r->buf), (off_t)(bytes - 1 - cut)), 0);
		assert_int_equal(verify(r), EG_E_VALIDATION);
	}
}

/* The second checkpoint writes one extent and names the first one's file for the rest. */
static void unchanged_extents_stay_where_they_are(void **state)
{
	struct room *r = *state;
	struct checkpoint_header h = head(r, 2, 6000);
	struct checkpoint old, now;
	struct checkpoint_writer w;
	const void *entries;
	char name[32];
	struct fault f;

	write_all(r, 1, 300, ROWS, SPACES);
	assert_int_equal(open_it(r, &old), EG_E_OK);
	checkpoint_name(name, 2);
	h.base_id = 1;
	assert_int_equal(checkpoint_begin(&w, r->d.checkpoints_fd, name, &h, &f), EG_E_OK);
	for (uint32_t i = 0; i < old.n_refs; i++) {
		if (i != 1) {
			checkpoint_keep(&w, &old.refs[i]);
			continue;
		}
		*(struct checkpoint_row *)checkpoint_entries(&w) = (struct checkpoint_row){ .slot = 2050, .generation = 4, .lsn = 7000 };
		assert_int_equal(checkpoint_add(&w, EG_EXTENT_ROWS, 2048, 1, 9, &f), EG_E_OK);
	}
	assert_int_equal(checkpoint_end(&w, &f), EG_E_OK);
	assert_true(w.written < 8192);
	r->place = w.place;
	checkpoint_free(&w);
	assert_int_equal(open_it(r, &now), EG_E_OK);
	assert_int_equal(now.n_files, 2);
	assert_int_equal(now.header.max_lsn, 7000);
	assert_int_equal(now.header.rows, old.header.rows - old.refs[1].n + 1);
	assert_int_equal(checkpoint_read(&now, &now.refs[1], r->buf, &entries, &f), EG_E_OK);
	assert_int_equal(now.refs[1].generation, 9);
	assert_int_equal(((const struct checkpoint_row *)entries)->slot, 2050);
	assert_int_equal(checkpoint_read(&now, &now.refs[0], r->buf, &entries, &f), EG_E_OK);
	checkpoint_close(&now);
	checkpoint_close(&old);
	assert_int_equal(verify(r), EG_E_OK);
	checkpoint_name(name, 1);
	assert_int_equal(unlinkat(r->d.checkpoints_fd, name, 0), 0);
	assert_int_equal(open_it(r, &now), EG_E_VALIDATION);
}

/* ---- the superblock ---- */

static void put(struct room *r, struct superblock *s, uint64_t id)
{
	struct fault f;

	s->previous = s->newest;
	s->newest = (struct checkpoint_place){ .id = id, .start_lsn = 10 * id };
	assert_int_equal(superblock_write(r->d.fd, s, &f), EG_E_OK);
}

static void blocks_are_written_in_turn(void **state)
{
	struct room *r = *state;
	struct superblocks s;
	struct fault f;
	uint64_t at = r->d.super.now.seq % 2 * EG_SUPERBLOCK_BYTES;

	for (uint64_t id = 1; id <= 5; id++) {
		put(r, &r->d.super.now, id);
		assert_int_equal(superblock_read(r->d.fd, &s, &f), EG_E_OK);
		assert_int_equal(s.now.newest.id, id);
		assert_int_not_equal(s.now.seq % 2 * EG_SUPERBLOCK_BYTES, at);
		at = s.now.seq % 2 * EG_SUPERBLOCK_BYTES;
		assert_int_equal(s.n_places, id < 3 ? id : 3);
		assert_int_equal(s.places[0].id, id);
	}
	/* Any byte of the newer block: the other one serves. Any byte of both: nothing does. */
	for (unsigned i = 0; i < EG_SUPERBLOCK_BYTES; i++) {
		flip(r->d.fd, "SUPERBLOCK", at + i);
		assert_int_equal(superblock_read(r->d.fd, &s, &f), EG_E_OK);
		assert_int_equal(s.now.newest.id, 4);
		assert_true(s.damaged);
		flip(r->d.fd, "SUPERBLOCK", EG_SUPERBLOCK_BYTES - at + i);
		assert_int_equal(superblock_read(r->d.fd, &s, &f), EG_E_VALIDATION);
		flip(r->d.fd, "SUPERBLOCK", EG_SUPERBLOCK_BYTES - at + i);
		flip(r->d.fd, "SUPERBLOCK", at + i);
	}
	assert_int_equal(superblock_read(r->d.fd, &s, &f), EG_E_OK);
	assert_false(s.damaged);
	assert_int_equal(s.now.newest.id, 5);
	/* Opened for writing, a damaged block is made good. */
	flip(r->d.fd, "SUPERBLOCK", at + 100);
	datadir_close(&r->d);
	assert_int_equal(datadir_open(&r->d, r->path, 1, &f), EG_E_OK);
	assert_int_equal(superblock_read(r->d.fd, &s, &f), EG_E_OK);
	assert_false(s.damaged);
	assert_int_equal(s.now.newest.id, 4);
}

static void write_superblock(struct room *r, const void *data, size_t bytes)
{
	int fd = openat(r->d.fd, "SUPERBLOCK", O_RDWR | O_TRUNC | O_CLOEXEC);

	assert_int_equal(pwrite(fd, data, bytes, 0), (ssize_t)bytes);
	close(fd);
}

static void an_older_format_is_renewed_a_newer_one_refused(void **state)
{
	struct room *r = *state;
	struct superblock old = r->d.super.now;
	uint8_t block[EG_SUPERBLOCK_BYTES] = { 0 };
	struct superblocks s;
	struct fault f;

	/* Format 1: one block, 40 bytes of it in use. */
	old.format = 1;
	superblock_seal(&old);
	memcpy(block, &old, 40);
	write_superblock(r, block, sizeof block);
	assert_int_equal(superblock_read(r->d.fd, &s, &f), EG_E_OK);
	assert_int_equal(s.now.format, 1);
	assert_int_equal(s.now.seq, 0);
	assert_false(s.damaged);
	datadir_close(&r->d);
	assert_int_equal(datadir_open(&r->d, r->path, 4, &f), EG_E_OK);
	assert_memory_equal(r->d.uuid, old.uuid, 16);
	assert_int_equal(r->d.stores, 1);
	for (unsigned i = 0; i < 2; i++) {
		struct superblock b;
		int fd = openat(r->d.fd, "SUPERBLOCK", O_RDONLY | O_CLOEXEC);

		assert_int_equal(pread(fd, &b, sizeof b, i * EG_SUPERBLOCK_BYTES), (ssize_t)sizeof b);
		assert_int_equal(b.format, EG_SUPERBLOCK_FORMAT);
		close(fd);
	}
	/* One of the future, whatever follows its first 40 bytes. */
	old.format = EG_SUPERBLOCK_FORMAT + 1;
	superblock_seal(&old);
	old.crc ^= 1;
	write_superblock(r, &old, sizeof old);
	assert_int_equal(superblock_read(r->d.fd, &s, &f), EG_E_VALIDATION);
	assert_non_null(strstr(f.message, "format 3, this build reads up to 2"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(what_was_written_is_read, set_up, tear_down),
		cmocka_unit_test_setup_teardown(every_flipped_byte_is_noticed, set_up, tear_down),
		cmocka_unit_test_setup_teardown(unchanged_extents_stay_where_they_are, set_up, tear_down),
		cmocka_unit_test_setup_teardown(blocks_are_written_in_turn, set_up, tear_down),
		cmocka_unit_test_setup_teardown(an_older_format_is_renewed_a_newer_one_refused, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
