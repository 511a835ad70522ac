/* Checkpoints that another build wrote: of another layout of shared memory, of the format
 * before, and of one to come. What another layout's checkpoint holds is there again,
 * wherever it lay there, though the log of it was retired. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "common/crc32c.h"
#include "t/unit/wal_dumped.h"
#include "wal/datadir.h"
#include "wal/mend.h"

/* Numbers that no store could have: another layout's are not looked at. */
static void spoil_hints(void)
{
	for (unsigned i = 0; i < dump.n; i++) {
		dump.rows[i].slot = dump.rows[i].slot * 3 + 100000;
		dump.rows[i].generation = 0;
		dump.rows[i].class_ = dump.rows[i].class_ == EG_NONE ? EG_NONE : EG_CLASSES + 5;
		dump.rows[i].node = 9;
	}
}

static void change_header(struct wal_family *f, uint64_t id, uint32_t format)
{
	struct checkpoint_header h;
	char name[32], path[256];
	int fd;

	checkpoint_name(name, id);
	snprintf(path, sizeof path, "%s/checkpoints/%s", f->dir, name);
	fd = open(path, O_RDWR | O_CLOEXEC);
	assert_int_equal(pread(fd, &h, sizeof h, 0), sizeof h);
	h.format = format;
	h.crc = crc32c(0, &h, offsetof(struct checkpoint_header, crc));
	assert_int_equal(pwrite(fd, &h, sizeof h, 0), sizeof h);
	close(fd);
}

static uint64_t checkpoint_of_store(struct wal_family *f)
{
	struct fault fault;
	struct store s;
	uint64_t id;

	assert_int_equal(store_attach(&s, f->heritage.shm_prefix, f->heritage.boot_id, &fault), EG_E_OK);
	id = atomic_load(&s.root->checkpoint_id);
	store_detach(&s);
	return id;
}

/* The log of the first memories is gone: nothing but the checkpoint says that they were. */
static void retire_first(struct wal_family *f)
{
	uint64_t *starts;
	struct datadir d;
	struct fault fault;
	char path[4200];
	unsigned n;

	assert_int_equal(datadir_attach(&d, f->dir, &fault), EG_E_OK);
	assert_int_equal(datadir_segments(&d, &starts, &n, &fault), EG_E_OK);
	assert_true(n > 1);
	for (unsigned i = 0; i < dump.n; i++)
		assert_true(dump.rows[i].lsn >= starts[1]);
	datadir_segment_path(&d, path, starts[0]);
	assert_int_equal(unlink(path), 0);
	free(starts);
	datadir_close(&d);
}

static void test_retired_log(void **state)
{
	struct wal_family f;
	uint64_t digest;
	(void)state;

	aged(&f);
	LOAD_RUN(&f, 2, delete_some, .first = 0, .n = 1500);
	LOAD_RUN(&f, 2, delete_some, .first = 1600, .n = 400);
	LOAD_RUN(&f, 2, load_send, .first = 0, .n = 300, .version = 1);
	digest = store_digest(&f);
	dump_store(&f);
	retire_first(&f);
	spoil_hints();
	dump.layout = 77;
	put_in_force(&f, 1, last_lsn(&f));
	dump.layout = 0;
	(void)family_stop_wal(&f, SIGKILL);
	for (unsigned format = 1; format <= EG_CHECKPOINT_FORMAT; format++) {
		change_header(&f, 1, format);
		assert_int_equal(digest_after_start(&f), digest);
		assert_int_equal(fallbacks(&f), 0);
		assert_int_equal(checkpoint_of_store(&f), 0);  /* the next one is written in full */
		(void)family_stop_wal(&f, SIGKILL);
	}
	/* The store takes changes, and a repair finds nothing amiss. */
	assert_int_equal(digest_after_start(&f), digest);
	LOAD_RUN(&f, 3, load_send, .first = 100, .n = 200, .version = 2);
	LOAD_RUN(&f, 3, load_send, .first = 5000, .n = 500, .version = 1);
	LOAD_RUN(&f, 3, delete_some, .first = 0, .n = 50);
	digest = store_digest(&f);
	(void)family_stop_wal(&f, SIGKILL);
	family_reboot(&f, false);
	family_start_wal(&f);
	assert_int_equal(store_digest(&f), digest);
	(void)family_stop_wal(&f, SIGKILL);
	assert_int_equal(digest_after_start(&f), digest);
	family_close(&f);
}

/* A newer build's checkpoint is not passed over: no start, though the whole log is there. And it is
 * not mended away. */
static void test_newer_format(void **state)
{
	struct wal_family f;
	struct fault fault;
	struct mend m;
	uint64_t digest;
	(void)state;

	aged(&f);
	digest = store_digest(&f);
	dump_store(&f);
	put_in_force(&f, 1, last_lsn(&f));
	(void)family_stop_wal(&f, SIGKILL);
	change_header(&f, 1, EG_CHECKPOINT_FORMAT + 1);
	assert_int_equal(status_of_start(&f), EX_DATAERR);
	assert_int_equal(fallbacks(&f), 0);
	assert_int_equal(mend_run(&m, f.dir, true, &fault), EG_E_LATER);
	assert_non_null(strstr(fault.message, "written by a newer one"));
	mend_free(&m);
	change_header(&f, 1, EG_CHECKPOINT_FORMAT);
	assert_int_equal(digest_after_start(&f), digest);
	family_close(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_retired_log), cmocka_unit_test(test_newer_format) };

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
