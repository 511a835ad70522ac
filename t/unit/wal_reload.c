/* Loading from a checkpoint: the store that comes of it is the store that was dumped,
 * whatever happened between the rows and whatever was logged later; a damaged
 * checkpoint is passed over for the one before or the whole log; a record that is
 * missing is noticed; a kill at any step costs only the time. The dump here is
 * made by the test from shared memory that nobody writes. */
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
#include <sys/syscall.h>
#include <sysexits.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/fault.h"
#include "t/unit/wal_dumped.h"
#include "wal/datadir.h"
#include "wal/retire.h"
#include "wal/segment.h"

/* A disk that is bad from some place of a file on. In place of the C library's; inherited by the wal process. */
static ino_t bad_inode;
static off_t bad_from;

ssize_t pread(int fd, void *to, size_t bytes, off_t at)
{
	struct stat st;

	if (bad_inode != 0 && at + (off_t)bytes > bad_from && fstat(fd, &st) == 0 && st.st_ino == bad_inode) {
		errno = EIO;
		return -1;
	}
	return syscall(SYS_pread64, fd, to, bytes, at);
}

/* ---- tests ------------------------------------------------------------------------ */

/* Load is what was dumped; once more, after a kill, it is again. Numbers stay. */
static void test_same(void **state)
{
	struct wal_family f;
	uint64_t digest, lsn;
	struct dump *before = malloc(sizeof *before);
	(void)state;

	aged(&f);
	digest = store_digest(&f);
	lsn = last_lsn(&f);
	dump_store(&f);
	*before = dump;
	(void)family_stop_wal(&f, SIGKILL);
	put_in_force(&f, 1, lsn);
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(digest_after_start(&f), digest);
		assert_int_equal(applied(&f), 0);
		dump_store(&f);
		assert_int_equal(dump.n, before->n);
		assert_memory_equal(dump.rows, before->rows, dump.n * sizeof dump.rows[0]);
		(void)family_stop_wal(&f, SIGKILL);
	}
	/* And the store takes changes: free slots, nodes, blocks and id words are where they belong. */
	assert_int_equal(digest_after_start(&f), digest);
	LOAD_RUN(&f, 3, load_send, .first = 100, .n = 300, .version = 3);
	LOAD_RUN(&f, 3, load_send, .first = 5000, .n = 500, .version = 1);
	digest = store_digest(&f);
	(void)family_stop_wal(&f, SIGKILL);
	family_reboot(&f, false);
	family_start_wal(&f);              /* the repair finds nothing amiss */
	assert_int_equal(store_digest(&f), digest);
	(void)family_stop_wal(&f, SIGKILL);
	assert_int_equal(digest_after_start(&f), digest);
	free(before);
	family_close(&f);
}

/* Rows of later than start_lsn, and changes after the dump. */
static void test_rows_above_start(void **state)
{
	struct wal_family f;
	uint64_t digest, start;
	(void)state;

	family_open(&f, dumped_overrides, 2);
	family_start_wal(&f);
	LOAD_RUN(&f, 2, load_send, .first = 0, .n = 800, .version = 1);
	start = last_lsn(&f);
	LOAD_RUN(&f, 2, load_send, .first = 50, .n = 100, .version = 2);
	LOAD_RUN(&f, 2, delete_some, .first = 300, .n = 64);
	dump_store(&f);
	LOAD_RUN(&f, 2, load_send, .first = 50, .n = 50, .version = 3);
	LOAD_RUN(&f, 2, delete_some, .first = 400, .n = 10);
	LOAD_RUN(&f, 2, load_send, .first = 300, .n = 30, .version = 1);
	digest = store_digest(&f);
	put_in_force(&f, 1, start);
	(void)family_stop_wal(&f, SIGKILL);
	assert_int_equal(digest_after_start(&f), digest);
	assert_true(applied(&f) > 0);
	family_close(&f);
}

/* Changes above start_lsn that no row shows, for their chunks had been dumped already, though
 * another row is of later still: replay begins at start_lsn, not behind the highest row. */
static void test_rows_too_old(void **state)
{
	struct wal_family f;
	struct dump *early = malloc(sizeof *early);
	uint64_t digest, start;
	(void)state;

	family_open(&f, dumped_overrides, 2);
	family_start_wal(&f);
	LOAD_RUN(&f, 2, load_send, .first = 0, .n = 200, .version = 1);
	start = last_lsn(&f);
	dump_store(&f);
	*early = dump;
	LOAD_RUN(&f, 2, load_send, .first = 10, .n = 20, .version = 2);
	LOAD_RUN(&f, 2, delete_some, .first = 40, .n = 8);
	LOAD_RUN(&f, 2, load_send, .first = 150, .n = 50, .version = 2);
	digest = store_digest(&f);
	dump_store(&f);
	for (unsigned i = 0; i < early->n; i++)
		for (unsigned k = 0; early->rows[i].slot >= 160 && k < dump.n; k++)
			if (dump.rows[k].slot == early->rows[i].slot)
				early->rows[i] = dump.rows[k];
	dump = *early;
	put_in_force(&f, 1, start);
	(void)family_stop_wal(&f, SIGKILL);
	assert_int_equal(digest_after_start(&f), digest);
	assert_true(applied(&f) > 0);
	free(early);
	family_close(&f);
}

/* A memory deleted and stored again in another slot between two extents has two rows, and
 * a node given away meanwhile has two owners: the older row is dropped, or moved. */
static void test_two_rows(void **state)
{
	struct wal_family f;
	struct checkpoint_row old;
	uint64_t digest, start;
	(void)state;

	family_open(&f, dumped_overrides, 2);
	family_start_wal(&f);
	LOAD_RUN(&f, 2, load_send, .first = 0, .n = 64, .version = 1);
	start = last_lsn(&f);
	dump_store(&f);
	old = dump.rows[3];
	LOAD_RUN(&f, 2, load_send, .first = 0, .n = 64, .version = 2);
	dump_store(&f);
	/* The first version of a memory once more, in a slot behind all others, and in the
	 * node of another one. */
	assert_true(dump.rows[dump.n - 1].slot < 1024);
	old.slot = 1024;
	old.node = dump.rows[7].node;
	old.class_ = dump.rows[7].class_;
	dump.rows[dump.n++] = old;
	digest = store_digest(&f);
	put_in_force(&f, 1, start);
	(void)family_stop_wal(&f, SIGKILL);
	assert_int_equal(digest_after_start(&f), digest);
	(void)family_stop_wal(&f, SIGKILL);
	assert_int_equal(digest_after_start(&f), digest);
	LOAD_RUN(&f, 3, load_send, .first = 0, .n = 64, .version = 3);
	family_close(&f);
}

/* What happened between the rows and later, once more with a checkpoint of another layout. */
static void test_other_layout(void **state)
{
	dump.layout = 77;
	test_rows_above_start(state);
	test_rows_too_old(state);
	test_two_rows(state);
	dump.layout = 0;
}

/* A damaged checkpoint, in header, extent or manifest, is passed over. */
static void test_damaged(void **state)
{
	static const off_t places[] = { 40, 4096 + 64 + 20, 4096 + 700 };
	(void)state;

	for (unsigned i = 0; i < sizeof places / sizeof places[0]; i++) {
		struct wal_family f;
		uint64_t digest, first;

		aged(&f);
		dump_store(&f);
		first = last_lsn(&f);
		put_in_force(&f, 1, first);
		LOAD_RUN(&f, 2, load_send, .first = 3000, .n = 100, .version = 1);
		digest = store_digest(&f);
		dump_store(&f);
		put_in_force(&f, 2, last_lsn(&f));
		(void)family_stop_wal(&f, SIGKILL);
		flip(&f, "checkpoints/0000000000000002.ckpt", places[i]);
		assert_int_equal(digest_after_start(&f), digest);
		assert_int_equal(fallbacks(&f), 1);
		assert_int_equal(applied(&f), 100);
		(void)family_stop_wal(&f, SIGKILL);
		flip(&f, "checkpoints/0000000000000001.ckpt", places[i]);
		assert_int_equal(digest_after_start(&f), digest);
		assert_int_equal(fallbacks(&f), 2);
		assert_true(applied(&f) > first);
		family_close(&f);
	}
}

/* Two checkpoints, and a death before the segments below both had left: the next start finishes
 * that, with nothing lost; after a fallback it does not. */
static void test_retired_at_start(void **state)
{
	int64_t deadline = clock_mono_ms() + 60000;
	struct wal_family f;
	uint64_t digest, first;
	struct datadir d;
	struct fault fault;
	(void)state;

	aged(&f);
	dump_store(&f);
	first = last_lsn(&f);
	put_in_force(&f, 1, first);
	LOAD_RUN(&f, 2, load_send, .first = 3000, .n = 100, .version = 1);
	digest = store_digest(&f);
	dump_store(&f);
	put_in_force(&f, 2, last_lsn(&f));
	(void)family_stop_wal(&f, SIGKILL);
	assert_int_equal(datadir_attach(&d, f.dir, &fault), EG_E_OK);
	assert_true(retire_due(&d, first));
	flip(&f, "checkpoints/0000000000000002.ckpt", 40);
	assert_int_equal(digest_after_start(&f), digest);
	assert_int_equal(fallbacks(&f), 1);
	assert_int_equal(WEXITSTATUS(family_stop_wal(&f, SIGQUIT)), 0);
	assert_true(retire_due(&d, first));
	flip(&f, "checkpoints/0000000000000002.ckpt", 40);
	assert_int_equal(digest_after_start(&f), digest);
	assert_int_equal(fallbacks(&f), 0);
	while (retire_due(&d, first) && clock_mono_ms() < deadline)
		usleep(1000);
	assert_false(retire_due(&d, first));
	(void)family_stop_wal(&f, SIGKILL);
	assert_int_equal(digest_after_start(&f), digest);
	datadir_close(&d);
	family_close(&f);
}


/* A record that a row needs has rotted, or its segment is gone: no start. */
static void test_rot(void **state)
{
	struct wal_family f;
	char path[256], first[32];
	(void)state;

	aged(&f);
	dump_store(&f);
	put_in_force(&f, 1, last_lsn(&f));
	(void)family_stop_wal(&f, SIGKILL);
	datadir_segment_name(first, 1);
	snprintf(path, sizeof path, "wal/%s", first);
	flip(&f, path, 3 * 4096 + 100);
	assert_int_equal(status_of_start(&f), EX_DATAERR);
	flip(&f, path, 3 * 4096 + 100);
	snprintf(path, sizeof path, "%s/wal/%s", f.dir, first);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(status_of_start(&f), EX_DATAERR);
	family_close(&f);
}

/* The same where one thread's piece of a segment ends and the next one's begins: debug builds cut pieces of
 * 256 KiB. Whichever block is damaged, the start is refused; each of them has rows. */
static void test_rot_between_pieces(void **state)
{
	enum { PIECE = 256 << 10, AROUND = 7 };
	struct wal_family f;
	uint64_t digest, used;
	char path[256], first[32];
	struct stat st;
	unsigned tried = 0;
	(void)state;

	family_open(&f, dumped_overrides, 2);
	family_start_wal(&f);
	LOAD_RUN(&f, 2, load_send, .first = 0, .n = 4000, .version = 1);
	digest = store_digest(&f);
	dump_store(&f);
	put_in_force(&f, 1, last_lsn(&f));
	(void)family_stop_wal(&f, SIGKILL);
	assert_int_equal(digest_after_start(&f), digest);
	(void)family_stop_wal(&f, SIGKILL);
	datadir_segment_name(first, 1);
	snprintf(path, sizeof path, "%s/wal/%s", f.dir, first);
	assert_int_equal(stat(path, &st), 0);
	used = (uint64_t)st.st_size;
	snprintf(path, sizeof path, "wal/%s", first);
	for (uint64_t piece = PIECE; piece + PIECE < used; piece += PIECE)
		for (int k = -AROUND; k <= AROUND; k++, tried++) {
			off_t at = (off_t)piece + k * 4096 + 100;

			flip(&f, path, at);
			assert_int_equal(status_of_start(&f), EX_DATAERR);
			flip(&f, path, at);
		}
	assert_true(tried >= 2 * AROUND);
	assert_int_equal(digest_after_start(&f), digest);
	family_close(&f);
}

/* One after the other, each in a group of its own. */
static int send_singly(struct wal_family *f, void *arg)
{
	const struct load *s = arg;
	int status = 0;

	for (unsigned i = 0; i < s->n && status == 0; i++)
		status = load_send(f, &(struct load){ .first = s->first + i, .n = 1, .version = s->version });
	return status;
}

/* Records of a segment far smaller than those of the others: it is not cut into more pieces than it has. */
static void test_small_among_large(void **state)
{
#ifdef EG_FAULTS
	enum { PIECE = 256 << 10 };
	const _Atomic uint64_t *heads;
	struct wal_family f;
	uint64_t digest, *starts, most = 0, before;
	struct datadir d;
	struct fault fault;
	unsigned n;

	fault_page = fault_page_new();
	assert_non_null(fault_page);
	heads = &fault_page->hits[FAULT_SEGMENT_HEADER_READ][EG_PROCESS_WAL];
	family_open(&f, dumped_overrides, 2);
	family_start_wal(&f);
	LOAD_RUN(&f, 2, send_singly, .first = 0, .n = 1500, .version = 1);
	LOAD_RUN(&f, 2, load_send, .first = 1500, .n = 2500, .version = 1);
	digest = store_digest(&f);
	dump_store(&f);
	put_in_force(&f, 1, last_lsn(&f));
	(void)family_stop_wal(&f, SIGKILL);
	assert_int_equal(datadir_attach(&d, f.dir, &fault), EG_E_OK);
	assert_int_equal(datadir_segments(&d, &starts, &n, &fault), EG_E_OK);
	for (unsigned i = 0; i < n; i++) {
		char path[4200];
		struct stat st;

		datadir_segment_path(&d, path, starts[i]);
		assert_int_equal(stat(path, &st), 0);
		most += (uint64_t)st.st_size < 2 * PIECE ? 1 : (uint64_t)st.st_size / PIECE;
	}
	free(starts);
	datadir_close(&d);
	before = atomic_load(heads);
	assert_int_equal(digest_after_start(&f), digest);
	/* Two copies of a head for each piece; the scan looks into two segments, at most. */
	assert_in_range(atomic_load(heads) - before, 2 * n, 2 * (most + 2));
	family_close(&f);
	fault_page = NULL;
#endif
	(void)state;
}

/* The last segment that begins below this LSN: its path, and where its groups end that begin below it. */
static uint64_t used_of_last(struct wal_family *f, uint64_t lsn, char path[4200])
{
	const struct group_header *g;
	struct segment_reader r;
	uint64_t *starts, used = 0;
	struct datadir d;
	struct fault fault;
	enum err why;
	unsigned n;

	assert_int_equal(datadir_attach(&d, f->dir, &fault), EG_E_OK);
	assert_int_equal(datadir_segments(&d, &starts, &n, &fault), EG_E_OK);
	while (n > 1 && starts[n - 1] >= lsn)
		n--;
	datadir_segment_path(&d, path, starts[n - 1]);
	assert_int_equal(segment_open(&r, path, &fault), EG_E_OK);
	while ((g = segment_next(&r, &why, &fault)) != NULL && g->first_lsn < lsn)
		used = r.offset;
	segment_close(&r);
	free(starts);
	datadir_close(&d);
	return used;
}

/* What lies behind the last row of a segment is not needed: that it cannot be read hinders no start, as when the
 * segment was given up for that. What lies before it is: the start ends, and is none for rot. */
static void test_unreadable_behind_rows(void **state)
{
	static const uint8_t torn[4096] = { 1, 2, 3 };
	struct wal_family f;
	uint64_t digest, used, start, *starts;
	char path[4200];
	struct datadir d;
	struct fault fault;
	struct stat st;
	unsigned n;
	int fd;
	(void)state;

	family_open(&f, dumped_overrides, 2);
	family_start_wal(&f);
	LOAD_RUN(&f, 2, send_singly, .first = 0, .n = 1500, .version = 1);
	(void)family_stop_wal(&f, SIGQUIT);
	family_reboot(&f, false);
	family_start_wal(&f);
	LOAD_RUN(&f, 2, load_send, .first = 1500, .n = 1000, .version = 1);
	(void)family_stop_wal(&f, SIGQUIT);
	/* As if it had been given up: not cut, and with something at its end. */
	used = used_of_last(&f, UINT64_MAX, path);
	fd = open(path, O_WRONLY);
	assert_true(fd >= 0 && pwrite(fd, torn, sizeof torn, (off_t)used) == sizeof torn
	            && ftruncate(fd, 1 << 20) == 0 && fstat(fd, &st) == 0);
	close(fd);
	assert_true(used < (512 << 10));
	family_reboot(&f, false);
	family_start_wal(&f);
	LOAD_RUN(&f, 2, load_send, .first = 2500, .n = 10, .version = 1);
	digest = store_digest(&f);
	dump_store(&f);
	put_in_force(&f, 1, last_lsn(&f));
	(void)family_stop_wal(&f, SIGKILL);
	assert_int_equal(datadir_attach(&d, f.dir, &fault), EG_E_OK);
	assert_int_equal(datadir_segments(&d, &starts, &n, &fault), EG_E_OK);
	start = starts[n - 1];             /* what that one begins with is needed no more */
	free(starts);
	datadir_close(&d);
	used = used_of_last(&f, start, path);
	bad_inode = st.st_ino;
	bad_from = (off_t)used;
	assert_int_equal(digest_after_start(&f), digest);
	(void)family_stop_wal(&f, SIGKILL);
	for (bad_from -= 4096; bad_from > (off_t)used - 100000; bad_from -= 32768)
		assert_int_equal(status_of_start(&f), EX_TEMPFAIL);
	/* Also where one piece was read to its end, and of the next one nothing. */
	assert_true(used > (256 << 10) + 65536);
	for (bad_from = 256 << 10; bad_from < (256 << 10) + 32768; bad_from += 4096)
		assert_int_equal(status_of_start(&f), EX_TEMPFAIL);
	bad_inode = 0;
	assert_int_equal(digest_after_start(&f), digest);
	family_close(&f);
}

/* Segments that no row needs and that end below the redo point may be gone. */
static void test_removed_segments(void **state)
{
	struct wal_family f;
	uint64_t digest, *starts;
	struct datadir d;
	struct fault fault;
	unsigned n, removed = 0;
	(void)state;

	aged(&f);
	LOAD_RUN(&f, 2, delete_some, .first = 0, .n = 1500);
	digest = store_digest(&f);
	dump_store(&f);
	put_in_force(&f, 1, last_lsn(&f));
	(void)family_stop_wal(&f, SIGKILL);
	assert_int_equal(datadir_attach(&d, f.dir, &fault), EG_E_OK);
	assert_int_equal(datadir_segments(&d, &starts, &n, &fault), EG_E_OK);
	for (unsigned i = 0; i + 1 < n; i++) {
		bool needed = false;
		char path[4200];

		for (unsigned k = 0; k < dump.n; k++)
			needed = needed || (dump.rows[k].lsn >= starts[i] && dump.rows[k].lsn < starts[i + 1]);
		datadir_segment_path(&d, path, starts[i]);
		removed += !needed && unlink(path) == 0;
	}
	assert_true(removed > 0);
	free(starts);
	datadir_close(&d);
	assert_int_equal(digest_after_start(&f), digest);
	LOAD_RUN(&f, 3, load_send, .first = 0, .n = 100, .version = 1);
	digest = store_digest(&f);
	(void)family_stop_wal(&f, SIGKILL);
	assert_int_equal(digest_after_start(&f), digest);
	family_close(&f);
}

/* A kill at each step of a load leaves nothing that disturbs the next one. */
static void test_killed(void **state)
{
#ifdef EG_FAULTS
	static const enum fault_point points[] = { FAULT_LOAD_SPACES, FAULT_LOAD_ROWS, FAULT_LOAD_FRAME, FAULT_APPLY_LOADED,
		FAULT_LOAD_GROUP, FAULT_LOAD_SEGMENTS, FAULT_LOAD_SHARD, FAULT_LOAD_IDS, FAULT_LOAD_SLOT_LISTS,
		FAULT_LOAD_NODE_LISTS, FAULT_LOAD_DONE, FAULT_LOAD_FALLBACK, FAULT_RECOVER_REPLAYED, FAULT_RECOVER_OPENED };
	struct wal_family f;
	uint64_t digest;

	fault_page = fault_page_new();
	assert_non_null(fault_page);
	aged(&f);
	dump_store(&f);
	put_in_force(&f, 1, last_lsn(&f));
	LOAD_RUN(&f, 2, load_send, .first = 3000, .n = 20, .version = 1);
	digest = store_digest(&f);
	put_in_force(&f, 2, last_lsn(&f));
	(void)family_stop_wal(&f, SIGKILL);
	flip(&f, "checkpoints/0000000000000002.ckpt", 50);   /* so that there is a fallback, too */
	for (unsigned i = 0; i < sizeof points / sizeof points[0]; i++) {
		family_reboot(&f, true);
		fault_arm(fault_page, 0, points[i], EG_PROCESS_WAL, FAULT_KILL, 1, 1);
		family_start_wal(&f);
		if (f.wal > 0)
			fail_msg("point %s was not passed", fault_infos[points[i]].name);
		fault_disarm(fault_page, 0);
		family_reboot(&f, false);
		family_start_wal(&f);
		assert_true(f.wal > 0);
		assert_int_equal(store_digest(&f), digest);
		(void)family_stop_wal(&f, SIGKILL);
	}
	family_close(&f);
	fault_page = NULL;
#endif
	(void)state;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_same), cmocka_unit_test(test_rows_above_start),
		cmocka_unit_test(test_rows_too_old), cmocka_unit_test(test_two_rows), cmocka_unit_test(test_other_layout),
		cmocka_unit_test(test_damaged),
		cmocka_unit_test(test_retired_at_start), cmocka_unit_test(test_rot), cmocka_unit_test(test_rot_between_pieces),
		cmocka_unit_test(test_small_among_large),
		cmocka_unit_test(test_unreadable_behind_rows), cmocka_unit_test(test_removed_segments),
		cmocka_unit_test(test_killed),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
