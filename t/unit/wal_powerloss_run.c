/* One recording: see wal_powerloss.h. Kills come from fault points alone, so that no
 * call is cut in two: what the tape says was done was done. */
#include "t/unit/wal_powerloss.h"

#ifdef EG_FAULTS

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/fault.h"
#include "common/tape.h"
#include "shm/epoch.h"
#include "t/unit/wal_powerloss_disk.h"

#define SENDER 2u                      /* desks */
#define LOOKER 3u
#define DUMPER 4u
#define PATIENCE_NS INT64_C(20000000000)

/* Where the writer is killed: points that load or a start passes. */
static const enum fault_point points[] = {
	FAULT_GROUP_WRITE, FAULT_GROUP_SYNC, FAULT_ROUND_LOGGED, FAULT_ROUND_BUILT, FAULT_ANSWER_CELL,
	FAULT_SEGMENT_OPEN_SPARE, FAULT_SEGMENT_WRITE_HEADER, FAULT_SEGMENT_SYNC_HEADER, FAULT_SEGMENT_RENAME,
	FAULT_SEGMENT_DIR_SYNC, FAULT_SEGMENT_SPARE_SYNC, FAULT_SEGMENT_CUT, FAULT_SEGMENT_SEALED, FAULT_SEGMENT_NEXT,
	FAULT_SEGMENT_HIDE, FAULT_SPARE_CREATE, FAULT_SPARE_ALLOCATE, FAULT_SPARE_SYNC, FAULT_SPARE_DIR_SYNC,
	FAULT_SPACE_APPLIED_LSN, FAULT_SEGMENT_GIVEN_UP,
	FAULT_CHECKPOINT_RENAME, FAULT_CHECKPOINT_DIR_SYNC, FAULT_INSTALL_CHECKED, FAULT_INSTALL_DURABLE, FAULT_INSTALL_NAMED,
	FAULT_INSTALL_SHOWN, FAULT_RETIRE_MARKED, FAULT_RETIRE_UNLINK, FAULT_RETIRE_MOVE, FAULT_RETIRE_SEGMENT,
	FAULT_RETIRE_DIR_SYNC, FAULT_RETIRE_CHECKPOINT, FAULT_SUPERBLOCK_WRITE, FAULT_SUPERBLOCK_SYNC,
};
/* The same for who writes checkpoints. */
static const enum fault_point dump_points[] = {
	FAULT_CHECKPOINT_CREATE, FAULT_CHECKPOINT_WRITE, FAULT_CHECKPOINT_WRITE_MANIFEST, FAULT_CHECKPOINT_WRITE_HEADER,
	FAULT_CHECKPOINT_SYNC, FAULT_DUMP_BEGINS, FAULT_DUMP_ROWS, FAULT_DUMP_SPACES, FAULT_DUMP_WRITTEN, FAULT_DUMP_TMP_UNLINK,
};
static const enum fault_point start_points[] = {
	FAULT_DATADIR_FOLDER_MAKE, FAULT_DATADIR_FOLDER_SYNC, FAULT_SUPERBLOCK_CREATE, FAULT_SUPERBLOCK_WRITE,
	FAULT_SUPERBLOCK_SYNC, FAULT_SUPERBLOCK_RENAME, FAULT_SUPERBLOCK_DIR_SYNC, FAULT_DATADIR_TMP_UNLINK,
	FAULT_LOG_TRIM_CUT, FAULT_SEGMENT_HIDE, FAULT_TAIL_REWRITTEN, FAULT_GROUP_WRITE, FAULT_GROUP_SYNC,
	FAULT_SEGMENT_RENAME, FAULT_SEGMENT_DIR_SYNC, FAULT_SEGMENT_SPARE_SYNC, FAULT_SEGMENT_SYNC_HEADER,
	FAULT_SEGMENT_NEXT, FAULT_RECOVER_OPENED, FAULT_SPARE_REMOVE,
};

struct run {
	struct wal_family f;
	struct pl_model *m;
	struct pl_counts *c;
	uint64_t random;
	pid_t sender, dumper;
	const char *why;               /* unusable */
};

static uint64_t pick(struct run *r, uint64_t n) { return pl_random(&r->random) % n; }

static void arm_in(struct run *r, unsigned slot, unsigned kind, enum fault_point p, uint32_t nth)
{
	static const enum fault_action kills[] = { FAULT_KILL, FAULT_AFTER, FAULT_TORN };
	enum fault_action a;

	do
		a = kills[pick(r, 3)];
	while ((fault_infos[p].actions & a) == 0);
	fault_arm(fault_page, slot, p, kind, a, nth, 1);
}

static void arm(struct run *r, enum fault_point p, uint32_t nth) { arm_in(r, 0, EG_PROCESS_WAL, p, nth); }

static bool start_wal(struct run *r)
{
	bool forget = pick(r, 4) == 0;

	/* A directory is made once only. Seed 1: a name that a predecessor made and did not sync. */
	if (r->m->n_entries == 0 && r->m->seed == 1)
		arm(r, FAULT_SUPERBLOCK_DIR_SYNC, 1);
	else if (r->m->n_entries == 0 && pick(r, 2))
		arm(r, start_points[pick(r, 7)], 1 + (uint32_t)pick(r, pick(r, 2) ? 1 : 6));
	else if (pick(r, 2))
		arm(r, start_points[pick(r, sizeof start_points / sizeof start_points[0])], 1 + (uint32_t)pick(r, 2));
	for (unsigned i = 0; i < 4 && r->f.wal <= 0; i++) {
		family_start_wal(&r->f);
		if (r->f.wal > 0)
			break;
		r->c->kills++;
		if (pick(r, 3) || i == 2)
			fault_disarm(fault_page, 0);
		/* Without a sender there is nobody whose lanes must stay. */
		if (forget && r->sender <= 0)
			family_reboot(&r->f, true);
	}
	fault_disarm(fault_page, 0);
	if (r->f.wal <= 0)
		r->why = "the wal process does not start any more";
	return r->f.wal > 0;
}

static bool wal_gone(struct run *r)
{
	if (r->f.wal > 0 && waitpid(r->f.wal, NULL, WNOHANG) == r->f.wal)
		r->f.wal = -1;
	return r->f.wal <= 0;
}

static bool sender_gone(struct run *r)
{
	if (r->sender > 0 && waitpid(r->sender, NULL, WNOHANG) == r->sender)
		r->sender = -1;
	return r->sender <= 0;
}

static void start_dumper(struct run *r)
{
	atomic_store(&r->m->stop_dumps, 0);
	if (pick(r, 3) == 0)
		arm_in(r, 1, EG_PROCESS_WORKER, dump_points[pick(r, sizeof dump_points / sizeof dump_points[0])],
		       1 + (uint32_t)pick(r, 6));
	r->dumper = family_spawn(&r->f, DUMPER, model_dump, r->m);
}

/* It is never killed from outside: each of its calls has an end. */
static void end_dumper(struct run *r)
{
	atomic_store(&r->m->stop_dumps, 1);
	if (r->dumper > 0)
		(void)waitpid(r->dumper, NULL, 0);
	r->dumper = -1;
	fault_disarm(fault_page, 1);
}

/* A desk whose process died is given away again when the writer has drained it. */
static void revive_dumper(struct run *r)
{
	if (r->dumper <= 0 || waitpid(r->dumper, NULL, WNOHANG) != r->dumper)
		return;
	r->dumper = -1;
	r->c->kills++;
	fault_disarm(fault_page, 1);
}

/* Until so many entries more are answered, or somebody has ended. */
static void under_load(struct run *r, uint32_t entries)
{
	uint32_t until = atomic_load(&r->m->answered) + entries;
	int64_t deadline = clock_mono_ns() + PATIENCE_NS;

	while (atomic_load(&r->m->answered) < until && !wal_gone(r) && !sender_gone(r)) {
		usleep(200);
		if (clock_mono_ns() > deadline) {
			r->why = "no progress in 20 s";
			return;
		}
	}
}

struct looked { struct pl_found found; uint32_t done; };

static int look(struct wal_family *f, void *arg)
{
	struct looked *l = arg;
	struct fault fault;
	struct store store;
	struct epoch e;

	epoch_init(&e, &f->desks, 0);
	if (store_attach(&store, f->heritage.shm_prefix, f->heritage.boot_id, &fault) != EG_E_OK)
		return 1;
	epoch_enter(&e);
	model_look(&store, &l->found);
	epoch_leave(&e);
	l->done = 1;
	return 0;
}

/* Another family, which goes on from what is there. */
static bool branch(struct run *r)
{
	struct looked *l = mmap(NULL, sizeof *l, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	bool good;

	EG_ASSERT(l != MAP_FAILED);
	(void)family_child(&r->f, LOOKER, look, l);
	good = l->done && model_branch(r->m, &l->found, tape_mark("branch", 6));
	if (!good) {
		r->why = "what was there after a kill of all is none of the states allowed";
		if (!atomic_load(&r->m->no_room))
			printf("# found: %s\n", l->found.wrong);
	}
	munmap(l, sizeof *l);
	return good;
}

/* All processes end; the writer by a kill at a point, or as asked. */
static void end_family(struct run *r)
{
	if (r->f.wal > 0 && pick(r, 3) != 0 && !sender_gone(r)) {
		arm(r, points[pick(r, 5)], 1 + (uint32_t)pick(r, 3));
		under_load(r, 1000);
		r->c->kills += r->f.wal <= 0;
	}
	fault_disarm(fault_page, 0);
	end_dumper(r);
	if (r->f.wal > 0)
		(void)family_stop_wal(&r->f, SIGTERM);
	if (!sender_gone(r)) {
		kill(r->sender, SIGKILL);
		(void)waitpid(r->sender, NULL, 0);
		r->sender = -1;
	}
}

static void start_sender(struct run *r)
{
	atomic_store(&r->m->refused, 0);
	r->sender = family_spawn(&r->f, SENDER, model_send, r->m);
	if (pick(r, 4) != 0)
		start_dumper(r);
}

static bool reboot(struct run *r)
{
	end_family(r);
	r->c->reboots++;
	family_reboot(&r->f, pick(r, 3) != 0);
	if (!start_wal(r) || !branch(r))
		return false;
	start_sender(r);
	return true;
}

/* Some load, and one thing that goes wrong. */
static bool live(struct run *r)
{
	uint64_t what = pick(r, 8);

	if (what < 4)
		arm(r, points[pick(r, sizeof points / sizeof points[0])], 1 + (uint32_t)pick(r, pick(r, 2) ? 3 : 30));
	else if (what < 6)
		atomic_store(&tape->fail_sync, 1 + (int32_t)pick(r, 40));
	under_load(r, 20 + (uint32_t)pick(r, 100));
	fault_disarm(fault_page, 0);
	atomic_store(&tape->fail_sync, 0);
	if (r->why != NULL)
		return false;
	revive_dumper(r);
	if (sender_gone(r) || pick(r, 3) == 0) {
		r->c->refusals += atomic_load(&r->m->refused) != 0;
		return reboot(r);
	}
	if (!wal_gone(r))
		return true;
	r->c->kills++;
	return start_wal(r);
}

static void drain(struct run *r)
{
	atomic_store(&r->m->stop, 1);
	while (!sender_gone(r)) {
		if (wal_gone(r) && !start_wal(r))
			break;
		usleep(500);
	}
	if (r->sender > 0) {
		kill(r->sender, SIGKILL);
		(void)waitpid(r->sender, NULL, 0);
	}
	end_dumper(r);
	if (r->f.wal > 0)
		(void)family_stop_wal(&r->f, SIGTERM);
}

static void finish(struct run *r)
{
	const struct tape_event *e = NULL;
	const char *why = NULL;
	char differs[200] = "";
	struct disk *d;

	while ((e = tape_next(tape, e)) != NULL) {
		r->c->events++;
		r->c->bytes += e->length;
		r->c->rotations += e->kind == TAPE_RENAME;
	}
	if (r->why == NULL && atomic_load(&tape->full))
		r->why = "the tape is too short";
	if (r->why == NULL && atomic_load(&r->m->broken)) {
		printf("# a wrong answer, line %u of the model\n", atomic_load(&r->m->broken));
		r->why = "a wrong answer";
	}
	if (r->why != NULL)
		return;
	d = disk_new(tape, r->m->root, NULL, &why);
	if (d == NULL)
		r->why = why;
	else {
		r->why = disk_same(d, r->f.dir, differs, sizeof differs) ? NULL : "the tape has not seen all";
		disk_free(d);
	}
	if (differs[0] != '\0')
		printf("# %s\n", differs);
	r->c->entries += r->m->n_entries;
	r->c->checkpoints += atomic_load(&r->m->checkpoints);
}

enum pl_recorded run_record(struct pl_model *m, uint64_t seed, struct pl_counts *c)
{
	char *overrides[] = { (char[]){ "wal.segment_size_mb=1" }, (char[]){ "wal.buffer_size_mb=4" },
		(char[]){ "wal.sync_mode=batch" }, (char[]){ "wal.flush_interval_ms=10" } };
	struct run r = { .m = m, .c = c, .random = seed, .sender = -1, .dumper = -1 };
	struct stat st;

	tape_rewind(tape);
	model_begin(m, seed);
	for (unsigned i = 0; i < FAULT_SLOTS; i++)
		fault_disarm(fault_page, i);
	family_open(&r.f, overrides, pick(&r, 2) ? 4 : 2);
	EG_ASSERT(stat(r.f.dir, &st) == 0);
	m->root = st.st_ino;
	if (start_wal(&r)) {
		unsigned lives = 4 + (unsigned)pick(&r, 6);

		start_sender(&r);
		while (lives-- > 0 && r.why == NULL && live(&r))
			;
	}
	if (r.why == NULL)
		drain(&r);
	else if (r.sender > 0)
		kill(r.sender, SIGKILL);
	end_dumper(&r);
	finish(&r);
	if (atomic_load(&m->no_room)) {
		family_close(&r.f);
		return PL_AGAIN;
	}
	if (r.why != NULL)
		printf("# recording of seed %llu: %s (%s)\n", (unsigned long long)seed, r.why, r.f.dir);
	else
		family_close(&r.f);
	return r.why == NULL ? PL_RECORDED : PL_BAD;
}

#endif
