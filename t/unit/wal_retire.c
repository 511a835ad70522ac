/* What a checkpoint makes needless, and what not: segments go by the older of the two
 * checkpoints that a start may load, for the newer one may be damaged. Only their names and
 * how they end matter here, so they are heads alone. */
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

#include "common/io.h"
#include "shm/layout.h"
#include "shm/space.h"
#include "t/unit/wal_head.h"
#include "wal/retire.h"
#include "wal/segment.h"

#define SEGMENTS 5u                    /* from LSN 1, 101, 201, 301, 401 */

struct room { char path[64]; struct datadir d; struct checkpoint made[2]; };

static int set_up(void **state)
{
	struct room *r = calloc(1, sizeof *r);
	struct fault f;

	snprintf(r->path, sizeof r->path, "%s/engram-test-XXXXXX", getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
	assert_non_null(mkdtemp(r->path));
	assert_int_equal(datadir_open(&r->d, r->path, 1, &f), EG_E_OK);
	for (unsigned i = 0; i < SEGMENTS; i++)
		head_make(&r->d, 1 + 100 * i, NULL, 0);
	*state = r;
	return 0;
}

static int tear_down(void **state)
{
	struct room *r = *state;
	char command[128];

	for (unsigned i = 0; i < 2; i++)
		checkpoint_close(&r->made[i]);
	datadir_close(&r->d);
	snprintf(command, sizeof command, "rm -rf '%s'", r->path);
	assert_int_equal(system(command), 0);
	free(r);
	return 0;
}

/* One memory of that LSN lives. */
static void make(struct room *r, unsigned number, uint64_t start_lsn, uint64_t row_lsn)
{
	struct checkpoint_header h = { .timeline = 1, .id = number + 1, .start_lsn = start_lsn, .stores = 1 };
	struct checkpoint_row row = { .slot = 3, .class_ = EG_NONE, .node = EG_NONE, .lsn = row_lsn };
	struct checkpoint_space space = { .state = EG_SPACE_LIVE, .lsn = 1, .id = "space" };
	struct checkpoint_place place;
	char name[32];
	struct fault f;

	memcpy(h.uuid, r->d.uuid, sizeof h.uuid);
	checkpoint_name(name, h.id);
	assert_int_equal(checkpoint_write_all(r->d.checkpoints_fd, name, &h, &row, 1, &space, 1, &place, &f), EG_E_OK);
	assert_int_equal(checkpoint_open(&r->made[number], r->d.checkpoints_fd, r->d.uuid, &place, &f), EG_E_OK);
}

/* One letter a segment: in wal/, in warm/, gone. */
static void expect(const struct room *r, const char *want)
{
	char got[SEGMENTS + 1] = "", name[32];

	for (unsigned i = 0; i < SEGMENTS; i++) {
		datadir_segment_name(name, 1 + 100 * i);
		got[i] = faccessat(r->d.wal_fd, name, F_OK, 0) == 0 ? 'l' : faccessat(r->d.warm_fd, name, F_OK, 0) == 0 ? 'w' : '-';
	}
	assert_string_equal(got, want);
}

static void test_older_one_counts(void **state)
{
	struct room *r = *state;
	struct retired_files files;
	struct fault f;

	make(r, 0, 210, 150);
	make(r, 1, 350, 150);
	assert_int_equal(retire_files(&r->d, &r->made[1], &r->made[0], &files, &f), EG_E_OK);
	expect(r, "-wlll");
	assert_int_equal(files.removed, 1);
	assert_int_equal(files.moved, 1);
	assert_int_equal(files.left_wal, 2);
	/* Again: nothing more. */
	assert_int_equal(retire_files(&r->d, &r->made[1], &r->made[0], &files, &f), EG_E_OK);
	expect(r, "-wlll");
	assert_int_equal(files.removed + files.moved, 0);
}

/* The last record below the redo point, and the first above it, decide about a segment. */
static void test_borders(void **state)
{
	struct room *r = *state;
	struct retired_files files;
	struct fault f;

	make(r, 0, 199, 150);
	make(r, 1, 200, 150);
	assert_int_equal(retire_files(&r->d, &r->made[1], &r->made[0], &files, &f), EG_E_OK);
	expect(r, "-llll");                /* LSN 200 is to be replayed from the older one */
	assert_int_equal(retire_files(&r->d, &r->made[1], &r->made[1], &files, &f), EG_E_OK);
	expect(r, "-wlll");
}

/* A row of the older one alone keeps its segment, too. */
static void test_rows_of_the_older(void **state)
{
	struct room *r = *state;
	struct retired_files files;
	struct fault f;

	make(r, 0, 320, 50);
	make(r, 1, 399, 250);
	assert_int_equal(retire_files(&r->d, &r->made[1], &r->made[0], &files, &f), EG_E_OK);
	expect(r, "w-wll");
}

static void test_one_alone(void **state)
{
	struct room *r = *state;
	struct retired_files files;
	struct fault f;

	make(r, 0, 399, 350);
	assert_int_equal(retire_files(&r->d, &r->made[0], NULL, &files, &f), EG_E_OK);
	expect(r, "lllll");
	make(r, 1, 399, 350);
	assert_int_equal(retire_files(&r->d, &r->made[1], &r->made[0], &files, &f), EG_E_OK);
	expect(r, "---ll");
}

/* What is behind the end of one that stays is superseded by the next one, which stays too. */
static void end_of_the_first(struct room *r, uint64_t first_lsn, uint32_t n_records, const char *want)
{
	union { struct group_header g; uint8_t block[EG_BLOCK]; } u = { .g = { .magic = EG_GROUP_MAGIC, .bytes = EG_BLOCK,
		.salt = HEAD_SALT, .first_lsn = first_lsn, .n_records = n_records } };
	struct retired_files files;
	struct fault f;

	head_make(&r->d, 1, &u, sizeof u);
	assert_int_equal(retire_files(&r->d, &r->made[1], &r->made[0], &files, &f), EG_E_OK);
	expect(r, want);
}

static void test_superseded_end(void **state)
{
	struct room *r = *state;

	make(r, 0, 399, 50);
	make(r, 1, 399, 50);
	end_of_the_first(r, 101, 2, "ww-ll");     /* written again in the second */
	end_of_the_first(r, 90, 20, "ww-ll");
	end_of_the_first(r, 101, 0, "w--ll");     /* a witness */
}

static void test_torn_end(void **state)
{
	static const uint8_t torn[EG_BLOCK] = { 1, 2, 3 };
	struct room *r = *state;
	struct retired_files files;
	struct fault f;

	make(r, 0, 399, 50);
	make(r, 1, 399, 50);
	head_make(&r->d, 1, torn, sizeof torn);
	assert_int_equal(retire_files(&r->d, &r->made[1], &r->made[0], &files, &f), EG_E_OK);
	expect(r, "ww-ll");
	head_make(&r->d, 1, NULL, 0);                /* without it, it is dead */
	assert_int_equal(retire_files(&r->d, &r->made[1], &r->made[0], &files, &f), EG_E_OK);
	expect(r, "w--ll");
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		T(test_older_one_counts), T(test_borders), T(test_rows_of_the_older), T(test_one_alone),
		T(test_superseded_end), T(test_torn_end),
	};

	if (getenv("ENGRAM_TEST_LOG") == NULL)
		(void)!freopen("/dev/null", "w", stderr);
	return cmocka_run_group_tests_name("wal retire", tests, NULL, NULL);
}
