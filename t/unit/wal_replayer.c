/* Applying beside the scan: all of it, in order, up to the first record that cannot be applied and no
 * further, whatever lies in which window; and what it took of the processor is the thread's that applied. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "shm/slot.h"
#include "t/unit/shm_bench.h"
#include "wal/replayer.h"
#include "wal/submit.h"

#define IDS 40u
#define EACH 50u                   /* records of a window */
#define WINDOWS 40u
#define RECORD_ROOM 512u

/* Two windows, used in turns, as the scan uses them. */
struct windows { _Alignas(64) uint8_t of[2][EACH][RECORD_ROOM]; };

struct scene {
	struct shm_bench *b;
	struct replay p;
	struct replayer beside;
	struct windows *in;
};

static void name_of(char name[16], uint64_t lsn) { name[snprintf(name, 15, "m%llu", (unsigned long long)(lsn % IDS))] = '\0'; }

/* A version of one of the memories; each says which LSN it is of. */
static struct record *put(struct scene *s, uint8_t *at, uint64_t lsn)
{
	struct record *r = (struct record *)(void *)at;
	char name[16];

	name_of(name, lsn);
	memset(at, 0, RECORD_ROOM);
	r->type = EG_RECORD_PUT;
	r->lsn = r->version = lsn;
	r->dim = EG_BENCH_DIM;
	r->id_bytes = (uint16_t)strlen(name);
	r->bytes = (uint32_t)record_size(r->dim, 0, 0, r->id_bytes, 0);
	assert_true(r->bytes <= RECORD_ROOM);
	r->key = record_key("first", 5, name, strlen(name));
	r->shard = (uint8_t)(r->key % EG_SHARDS);
	memcpy((float *)(uintptr_t)record_vector(r), s->b->vector, sizeof s->b->vector);
	memcpy((char *)(uintptr_t)record_id(r), name, strlen(name));
	return r;
}

static void begin(struct scene *s, void **state)
{
	static struct windows in;

	memset(s, 0, sizeof *s);
	s->b = *state;
	s->in = &in;
	s->p = (struct replay){ .w = &s->b->w };
	replayer_open(&s->beside, &s->p);
	assert_true(s->beside.running);
}

/* From this LSN on, `windows` full of records; the one at `bad` is of an unknown type. How the first record
 * ended that was not taken. */
static enum err feed(struct scene *s, uint64_t lsn, unsigned windows, uint64_t bad, struct fault *f)
{
	static const struct segment_header header;
	enum err e = EG_E_OK;

	for (unsigned w = 0; w < windows && e == EG_E_OK; w++) {
		for (unsigned i = 0; i < EACH && e == EG_E_OK; i++, lsn++) {
			struct record *r = put(s, s->in->of[w % 2][i], lsn);

			if (lsn == bad)
				r->type = 200;
			e = replayer_record(&s->beside, r, &header, f);
		}
		replayer_moves(&s->beside);
	}
	return e;
}

/* Each memory is of the last LSN up to this one that was its own. */
static void is_at(struct scene *s, uint64_t last)
{
	const struct space *sp = space_get(&s->b->w.store, 0);

	for (uint64_t lsn = last; lsn > last - IDS; lsn--) {
		struct engram e;
		char name[16];

		name_of(name, lsn);
		assert_true(slot_find(&s->b->w.store, sp, name, strlen(name), &e));
		assert_int_equal(e.body->record.lsn, lsn);
		assert_int_equal(e.body->record.version, lsn);
	}
}

static void test_all(void **state)
{
	struct scene s;
	struct fault f;

	begin(&s, state);
	assert_int_equal(feed(&s, 2, WINDOWS, 0, &f), EG_E_OK);
	assert_int_equal(replayer_close(&s.beside, EG_E_OK, &f), EG_E_OK);
	assert_int_equal(s.p.applied, WINDOWS * EACH);
	is_at(&s, WINDOWS * EACH + 1);
}

/* What lies behind a record that cannot be applied is not applied, though it was handed over; the failure
 * is told, whatever the scan says. */
static void test_failure(void **state)
{
	struct scene s;
	struct fault f;

	for (uint64_t bad = 2 + 2 * EACH; bad < 2 + 4 * EACH; bad += 7) {
		enum err scanned;

		bench_close(state);
		bench_open(state);
		begin(&s, state);
		scanned = feed(&s, 2, WINDOWS, bad, &f);
		assert_int_equal(scanned, EG_E_VALIDATION);
		memset(&f, 0, sizeof f);
		assert_int_equal(replayer_close(&s.beside, bad % 2 ? scanned : EG_E_OK, &f), EG_E_VALIDATION);
		assert_non_null(strstr(f.message, "unknown to this build"));
		assert_int_equal(s.p.applied, bad - 2);
		is_at(&s, bad - 1);
	}
}

/* How the scan ended is the answer, when all was applied that came before. */
static void test_scan_failed(void **state)
{
	struct scene s;
	struct fault f;

	begin(&s, state);
	assert_int_equal(feed(&s, 2, 3, 0, &f), EG_E_OK);
	(void)err_set(&f, EG_E_INTERNAL, NULL, NULL, "unreadable");
	assert_int_equal(replayer_close(&s.beside, EG_E_INTERNAL, &f), EG_E_INTERNAL);
	assert_string_equal(f.message, "unreadable");
	is_at(&s, 3 * EACH + 1);
}

static uint64_t own_cpu_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* The time that a checkpoint would save is that of applying: not what the scan's thread did before, as the
 * load of a checkpoint. By the clock of a thread, which does not run while others do. */
static void test_work(void **state)
{
	const uint64_t enough = 400000000;
	struct scene s;
	struct fault f;
	uint64_t work;

	while (own_cpu_ns() < enough)
		;
	begin(&s, state);
	assert_int_equal(feed(&s, 2, 1, 0, &f), EG_E_OK);
	assert_int_equal(replayer_close(&s.beside, EG_E_OK, &f), EG_E_OK);
	replay_end(&s.p, EACH + 1);
	work = atomic_load(&store_root(&s.b->w)->work_ns);
	assert_true(work > 0 && work < enough / 2);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, bench_open, bench_close)
	const struct CMUnitTest tests[] = {
		T(test_all), T(test_failure), T(test_scan_failed), T(test_work),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
