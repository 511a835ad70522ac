/* An image, the real recovery, and the model: see wal_powerloss.h. All of it in this
 * process, which plays the writer; each recovery is that of a new family. */
#include "t/unit/wal_powerloss.h"

#ifdef EG_FAULTS

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "common/hash.h"
#include "common/tape.h"
#include "shm/region.h"
#include "shm/store_write.h"
#include "t/unit/wal_powerloss_disk.h"
#include "wal/recover.h"
#include "wal/submit.h"

/* A store of an image is small, and lives for a moment: its pages come as they are
 * touched, not two megabytes of each region at once. */
bool pl_frugal, pl_loud;
int __real_madvise(void *at, size_t bytes, int advice);
int __wrap_madvise(void *at, size_t bytes, int advice);
int __wrap_madvise(void *at, size_t bytes, int advice)
{
	return pl_frugal ? 0 : __real_madvise(at, bytes, advice);
}

/* Small segments, so that a short recording fills many. */
enum err __real_spares_open(struct spares *s, const struct datadir *dir, uint64_t bytes, struct fault *f);
enum err __wrap_spares_open(struct spares *s, const struct datadir *dir, uint64_t bytes, struct fault *f);
enum err __wrap_spares_open(struct spares *s, const struct datadir *dir, uint64_t bytes, struct fault *f)
{
	(void)bytes;
	return __real_spares_open(s, dir, PL_SEGMENT, f);
}

struct recovery {
	struct datadir dir;
	struct store_writer store;
	struct append append;
	struct logged logged;
};

/* The whole way from the files to a store, as after a boot. */
static enum err recover_here(struct wal_family *f, struct recovery *r, struct fault *fault)
{
	struct seat *seat;
	struct recovered recovered;

	family_reboot(f, true);
	seat = &desk_master(&f->desks)->seats[EG_DESK_WAL];
	atomic_fetch_add(&seat->incarnation, 1);
	EG_ASSERT(desk_take(&f->desks, EG_DESK_WAL, fault) == EG_E_OK);
	atomic_store(&desk_wal(&f->desks)->epoch, 1);
	memset(r, 0, sizeof *r);
	return recover(&r->dir, &r->store, &r->append, &r->logged, &f->heritage, &recovered, fault);
}

static void give_up(struct recovery *r)
{
	append_close(&r->append);
	logged_clear(&r->logged);
	store_close(&r->store);
	datadir_close(&r->dir);
}

/* The log goes on: one more memory of some space, as the writer would log it. */
static enum err log_extra(struct recovery *r, uint32_t space, struct fault *fault)
{
	const struct space *sp = space_get(&r->store.store, space);
	size_t bytes = record_size(0, 0, 0, 5, 0), cap = append_buffer_bytes(bytes, r->append.main.spares.bytes);
	struct draft d = { .head = { .type = EG_RECORD_PUT, .id_bytes = 5 }, .id = "extra", .space_id = sp->id,
		.space_id_bytes = strlen(sp->id) };
	uint8_t *buf = aligned_alloc(EG_BLOCK, cap);
	struct record *to;
	enum err e;

	EG_ASSERT(buf != NULL);
	draft_seal(&d);
	d.head.bytes = (uint32_t)bytes;
	d.head.version = 1;
	d.head.space = space;
	append_begin(&r->append, buf, cap);
	e = append_record(&r->append, &d.head, &to, fault);
	if (e == EG_E_OK) {
		memset(to + 1, 0, bytes - sizeof *to);
		memcpy((char *)(to + 1), "extra", 5);
		append_done(&r->append, to);
		e = append_write(&r->append, fault);
	}
	if (e == EG_E_OK)
		e = append_sync(&r->append, fault);
	append_begin(&r->append, NULL, 0);
	free(buf);
	return e;
}

static void say(char *text, size_t size, const char *what, const struct pl_model *m, struct pl_allowed a,
                const struct pl_found *found)
{
	size_t n;

	snprintf(text, size, "%s: states %u to %u of %u allowed; %s", what, a.from, a.to, m->n_states, found->wrong);
	for (unsigned s = 0; s < PL_SPACES; s++) {
		unsigned memories = 0;
		uint64_t newest = 0;

		for (unsigned k = 0; k < PL_KEYS; k++) {
			memories += found->world.spaces[s].at[k].value != 0;
			newest = newest > found->world.spaces[s].at[k].value ? newest : found->world.spaces[s].at[k].value;
		}
		n = strlen(text);
		snprintf(text + n, size - n, "; s%u %s %u memories, newest %llu", s, found->world.spaces[s].live ? "lives" : "-",
		         memories, (unsigned long long)newest);
	}
	n = strlen(text);
	for (uint32_t i = 0; i < m->n_states; i++)
		if (m->states[i] == found->world.digest) {
			snprintf(text + n, size - n, "; this is state %u", i);
			break;
		}
}

/* Against the world when all that was ever sent is done: near the end of a recording the
 * interesting part of it. */
static void say_differences(const struct pl_model *m, const struct pl_found *found)
{
	for (unsigned s = 0; s < PL_SPACES; s++) {
		const struct pl_space *a = &m->world.spaces[s], *b = &found->world.spaces[s];

		if (a->live != b->live || a->quota != b->quota)
			printf("# space %u: %s, quota %llu sent last, %s, quota %llu found\n", s, a->live ? "live" : "not there",
			       (unsigned long long)a->quota, b->live ? "live" : "not there", (unsigned long long)b->quota);
		for (unsigned k = 0; k < PL_KEYS; k++) {
			struct pl_memory was = a->at[k], is = b->at[k];

			if (was.value != is.value || was.version != is.version)
				printf("# space %u key %u: value %llu version %llu sent last, value %llu version %llu found\n", s, k,
				       (unsigned long long)was.value, (unsigned long long)was.version,
				       (unsigned long long)is.value, (unsigned long long)is.version);
		}
	}
}

/* Recover, judge; log one memory more, recover again: the same, and it. */
static enum pl_verdict judge_folder(struct wal_family *f, const struct pl_model *m, struct pl_allowed a,
                                    char *text, size_t size)
{
	static struct recovery r;
	static struct pl_found first, again;
	struct fault fault = { 0 };
	enum pl_verdict v;

	if (recover_here(f, &r, &fault) != EG_E_OK) {
		snprintf(text, size, "refused: %s", fault.message);
		return PL_REFUSED;
	}
	model_look(&r.store.store, &first);
	v = model_judge(m, a, &first);
	if (v != PL_GOOD) {
		say(text, size, "recovered", m, a, &first);
		give_up(&r);               /* its threads would outlive what they work on */
		if (pl_loud)
			say_differences(m, &first);
		return v;
	}
	if (first.space != EG_NONE && log_extra(&r, first.space, &fault) != EG_E_OK) {
		snprintf(text, size, "the log does not go on: %s", fault.message);
		give_up(&r);
		return PL_REFUSED;
	}
	give_up(&r);
	if (recover_here(f, &r, &fault) != EG_E_OK) {
		snprintf(text, size, "the second time: refused: %s", fault.message);
		return PL_REFUSED;
	}
	model_look(&r.store.store, &again);
	give_up(&r);
	if (again.wrong[0] == '\0' && again.world.digest == first.world.digest && again.extra == (first.space != EG_NONE))
		return PL_GOOD;
	say(text, size, again.extra == (first.space != EG_NONE) ? "the second time" : "the second time, without what was added",
	    m, a, &again);
	return PL_UNSTABLE;
}

/* The power fails again while that image is recovered from. */
static enum pl_verdict again(struct wal_family *f, const struct pl_model *m, struct pl_allowed a, uint64_t random,
                             char *text, size_t size)
{
	static struct recovery r;
	static struct tape *second;
	const struct tape *first = tape;
	enum disk_kind kind = (enum disk_kind)(pl_random(&random) % DISK_N);
	struct fault fault = { 0 };
	const char *why = NULL;
	struct disk *d, *base;
	struct stat st;
	uint64_t time;

	if (second == NULL)
		second = tape_new((size_t)64 << 20);
	EG_ASSERT(second != NULL && stat(f->dir, &st) == 0);
	tape_rewind(second);
	base = disk_new(second, st.st_ino, f->dir, &why);
	tape = second;
	if (recover_here(f, &r, &fault) != EG_E_OK) {
		snprintf(text, size, "refused: %s", fault.message);
		tape = (struct tape *)(uintptr_t)first;
		return PL_REFUSED;
	}
	give_up(&r);
	tape = (struct tape *)(uintptr_t)first;
	d = disk_onto(base, second, &why);
	if (d == NULL) {
		snprintf(text, size, "the recording of the recovery: %s", why);
		return PL_WRONG;
	}
	time = 1 + pl_random(&random) % disk_end(d);
	if (pl_random(&random) % 2 && disk_rare(d, random) != 0)
		time = disk_rare(d, random);
	family_empty(f);
	disk_build(d, time, kind, random, f->dir);
	disk_free(d);
	return judge_folder(f, m, a, text, size);
}

/* What the number of an image stands for. */
struct plan_of { uint64_t time, random; enum disk_kind kind; bool nested; };

static struct plan_of plan(const struct pl_model *m, const struct disk *d, uint64_t number)
{
	struct plan_of p = { .random = hash64(&(uint64_t[2]){ m->seed, number }, 16, 9) };

	p.kind = (enum disk_kind)(number % DISK_N);
	p.time = 1 + pl_random(&p.random) % disk_end(d);
	if (pl_random(&p.random) % 2)
		p.time = disk_rare(d, pl_random(&p.random));
	p.nested = pl_random(&p.random) % 8 == 0;
	if (number == UINT64_MAX)          /* all of it, nothing lost */
		p = (struct plan_of){ .time = disk_end(d), .random = 1, .kind = DISK_PREFIX };
	return p;
}

enum pl_verdict check_image(struct wal_family *f, const struct pl_model *m, const struct disk *d, uint64_t number,
                            unsigned *kind, uint32_t *nested, char *text, size_t size)
{
	struct plan_of p = plan(m, d, number);
	struct pl_allowed a = model_allowed(m, p.time);

	*kind = p.kind;
	*nested = p.nested;
	family_empty(f);
	disk_build(d, p.time, p.kind, p.random, f->dir);
	text[0] = '\0';
	return p.nested ? again(f, m, a, p.random, text, size) : judge_folder(f, m, a, text, size);
}

void check_build(const struct pl_model *m, const struct disk *d, uint64_t number, const char *at, char *text, size_t size)
{
	struct plan_of p = plan(m, d, number);
	struct pl_allowed a = model_allowed(m, p.time);

	disk_build(d, p.time, p.kind, p.random, at);
	snprintf(text, size, "image %llu: time %llu of %llu, %s%s; states %u to %u of %u", (unsigned long long)number,
	         (unsigned long long)p.time, (unsigned long long)disk_end(d), disk_kind_names[p.kind],
	         p.nested ? ", power lost again in the recovery" : "", a.from, a.to, m->n_states);
}

#endif
