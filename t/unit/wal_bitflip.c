/* Single bit flips over every kind of file, the real recovery and the real checker on
 * each: what is damaged is noticed before it is served. A flip is refused, or made good from
 * redundancy (the other header, block, checkpoint or copy), or, in the one group that nothing
 * vouches for, cut as a torn tail; never is a record lost in silence or another answer given.
 *
 *	t/unit/wal_bitflip [FLIPS [SEED]]       default: 300, seed 1
 *
 * Four directories take turns: one that was closed, with two checkpoints in it; one whose
 * writer was killed at once; one like that with a mirror; and one whose writer was killed when
 * it had been idle: there nothing is cut. Each flip begins from the same files; runs in
 * children, so that a crash of recovery is a finding like others.
 */
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/hash.h"
#include "common/io.h"
#include "shm/node.h"
#include "shm/region.h"
#include "shm/slot.h"
#include "t/unit/wal_family.h"
#include "t/unit/wal_tail.h"
#include "wal/check.h"
#include "wal/checkpoint.h"
#include "wal/recover.h"
#include "wal/submit.h"

#define SEGMENT (160u << 10)
#define CHUNK 100u                     /* flips of a child */

/* Pages come as they are touched, not two megabytes of each region at once. */
int __real_madvise(void *at, size_t bytes, int advice);
int __wrap_madvise(void *at, size_t bytes, int advice);
int __wrap_madvise(void *at, size_t bytes, int advice)
{
	(void)at;
	(void)bytes;
	(void)advice;
	return 0;
}

enum err __real_spares_open(struct spares *s, const struct datadir *dir, uint64_t bytes, struct fault *f);
enum err __wrap_spares_open(struct spares *s, const struct datadir *dir, uint64_t bytes, struct fault *f);
enum err __wrap_spares_open(struct spares *s, const struct datadir *dir, uint64_t bytes, struct fault *f)
{
	(void)bytes;
	return __real_spares_open(s, dir, SEGMENT, f);
}

/* ---- what is flipped -------------------------------------------------------------- */

enum kind { SUPER, SEGMENT_HEADER, GROUP, LAST_GROUP, WITNESS, CKPT_HEADER, CKPT_EXTENT, CKPT_MANIFEST, CKPT_FOOTER, SPARE, KINDS };
static const char *const kind_names[KINDS] = {
	"superblock", "segment header", "segment group", "last group", "witness", "checkpoint header", "checkpoint extent",
	"checkpoint manifest", "checkpoint footer", "spare segment",
};

struct range { enum kind kind; unsigned file; uint64_t from, to; };
struct file { char name[64]; uint8_t *bytes; uint64_t size; };

#define FILES 64u
#define RANGES 512u

struct base {                          /* a directory, in memory */
	const char *name;
	bool mirrored, killed, idle;   /* idle: killed when its witness was written */
	struct file files[FILES];
	struct range ranges[RANGES];
	unsigned n_files, n_ranges;
	uint64_t digest;               /* of the store that comes of it */
	uint64_t cut_digest;           /* without its last group */
};
#define BASES 4u
static struct base bases[BASES] = { { .name = "closed" }, { .name = "killed", .killed = true },
	{ .name = "mirrored", .killed = true, .mirrored = true },
	{ .name = "idle", .killed = true, .idle = true } };

struct counts { uint64_t flips, refused, same, cut, unseen, wrong, crashed; };
static struct shared { struct counts by[KINDS]; uint64_t next; char said[4096]; } *shared;

/* ---- the family ------------------------------------------------------------------- */

static char mirror[80], mirror_text[100];

static void open_family(struct wal_family *f, bool mirrored)
{
	char *overrides[] = { (char[]){ "wal.segment_size_mb=1" }, mirror_text };

	if (mirrored) {
		snprintf(mirror, sizeof mirror, "%s/engram-test-mirror-XXXXXX", getenv("TMPDIR"));
		EG_ASSERT(mkdtemp(mirror) != NULL);
		snprintf(mirror_text, sizeof mirror_text, "wal.mirror_dir=%s", mirror);
	}
	family_open(f, overrides, mirrored ? 2 : 1);
}

static int store_some(struct wal_family *f, void *arg)
{
	const unsigned *range = arg;
	struct submit lane;
	static float vector[16] = { 1 };
	static uint8_t packed[1500];

	submit_init(&lane, &f->desks, 0);
	for (unsigned i = range[0]; i < range[1]; i++) {
		struct draft d = { .space_id = "work", .space_id_bytes = 4 };
		struct ticket t;
		struct fault fault;
		char id[32];
		enum err err;
		uint64_t lsn;

		snprintf(id, sizeof id, "m%u", i % 97);
		d.id = id;
		d.head.type = i % 11 == 10 ? EG_RECORD_DELETE : EG_RECORD_PUT;
		d.head.id_bytes = (uint16_t)strlen(id);
		d.head.digest = i + 1;
		if (d.head.type == EG_RECORD_PUT) {
			d.head.dim = i % 3 == 0 ? 16 : 0;
			d.vector = d.head.dim > 0 ? vector : NULL;
			/* Memory.content of i * 7 % 1400 letters */
			d.head.packed_bytes = 3 + 200 + i * 7 % 1200;
			packed[0] = 0x0a;
			packed[1] = (uint8_t)(((d.head.packed_bytes - 3) & 0x7f) | 0x80);
			packed[2] = (uint8_t)((d.head.packed_bytes - 3) >> 7);
			memset(packed + 3, 'a' + (int)(i % 26), sizeof packed - 3);
			d.packed = packed;
		}
		draft_seal(&d);
		if (submit_push(&lane, &d, 1, 0, 5000, &t, &fault) != EG_E_OK)
			return 1;
		family_await(&f->desks, &t, &err, &lsn);
		submit_forget(&t);
	}
	return 0;
}

static void store(struct wal_family *f, unsigned from, unsigned to)
{
	unsigned range[] = { from, to };
	int status = family_child(f, 2, store_some, range);

	EG_ASSERT(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

/* A checkpoint of what shared memory holds now, made by hand; nobody writes meanwhile. */
static void put_checkpoint(struct wal_family *f, uint64_t id)
{
	static struct checkpoint_row rows[1024];
	static struct checkpoint_space spaces[8];
	struct checkpoint_header head = { .id = id };
	struct checkpoint_place place;
	struct datadir d;
	struct fault fault;
	struct store s;
	uint64_t n = 0;
	char name[32];

	EG_ASSERT(store_attach(&s, f->heritage.shm_prefix, f->heritage.boot_id, &fault) == EG_E_OK);
	for (uint32_t k = 0; k < atomic_load(&s.root->n_slot_chunks) * EG_CHUNK; k++) {
		const struct slot_chunk *c = region_at(&s.slot, (uint64_t)k / EG_CHUNK * sizeof *c, sizeof *c);
		const struct slot *slot = &c->slots[k % EG_CHUNK];
		struct engram g;

		if (slot_get(&s, k, (uint32_t)(atomic_load(&slot->word) >> 8), &g))
			rows[n++] = (struct checkpoint_row){ k, g.generation, g.body->class_, g.body->node, g.body->record.lsn,
				atomic_load(&slot->truth), atomic_load(&slot->memory), atomic_load(&slot->last_access_ms),
				atomic_load(&slot->accesses), (uint32_t)atomic_load(&slot->tier), 0 };
	}
	for (uint32_t k = 0; k < atomic_load(&s.root->n_spaces); k++) {
		const struct space *sp = space_get(&s, k);

		spaces[k] = (struct checkpoint_space){ .number = k, .state = atomic_load(&sp->state),
			.created_us = sp->created_us, .lsn = atomic_load(&sp->lsn), .vectors = atomic_load(&sp->vectors),
			.settings = atomic_load(&sp->settings), .quota_memories = atomic_load(&sp->quota_memories),
			.quota_bytes = atomic_load(&sp->quota_bytes) };
		memcpy(spaces[k].id, sp->id, sizeof spaces[k].id);
	}
	EG_ASSERT(datadir_attach(&d, f->dir, &fault) == EG_E_OK);
	memcpy(head.uuid, d.uuid, sizeof head.uuid);
	head.timeline = d.timeline;
	head.stores = d.stores;
	head.start_lsn = atomic_load(&desk_wal(&f->desks)->lsn);
	checkpoint_name(name, id);
	EG_ASSERT(checkpoint_write_all(d.checkpoints_fd, name, &head, rows, n, spaces, atomic_load(&s.root->n_spaces),
	                               &place, &fault) == EG_E_OK);
	d.super.now.previous = d.super.now.newest;
	d.super.now.newest = place;
	EG_ASSERT(superblock_write(d.fd, &d.super.now, &fault) == EG_E_OK);
	datadir_close(&d);
	store_detach(&s);
}

/* ---- files ------------------------------------------------------------------------ */

static void read_file(struct base *b, const char *root, const char *name)
{
	struct file *file = &b->files[b->n_files++];
	char path[256];
	struct stat st;
	int fd;

	EG_ASSERT(b->n_files <= FILES);
	snprintf(file->name, sizeof file->name, "%s", name);
	snprintf(path, sizeof path, "%s/%s", root, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	EG_ASSERT(fd >= 0 && fstat(fd, &st) == 0);
	file->size = (uint64_t)st.st_size;
	file->bytes = malloc(file->size + 1);
	EG_ASSERT(file->bytes != NULL && io_read_at(fd, file->bytes, file->size, 0) == st.st_size);
	close(fd);
}

static void read_files(struct base *b, const char *root)
{
	static const char *const folders[] = { "wal", "warm", "spare", "checkpoints" };

	read_file(b, root, "SUPERBLOCK");
	for (unsigned i = 0; i < 4; i++) {
		char path[128], name[64];
		DIR *dir;
		struct dirent *entry;

		snprintf(path, sizeof path, "%s/%s", root, folders[i]);
		dir = opendir(path);
		while (dir != NULL && (entry = readdir(dir)) != NULL) {
			if (entry->d_name[0] == '.')
				continue;
			snprintf(name, sizeof name, "%s/%.40s", folders[i], entry->d_name);
			read_file(b, root, name);
		}
		if (dir != NULL)
			closedir(dir);
	}
}

static void write_files(const struct base *b, const char *root)
{
	static const char *const folders[] = { "wal", "warm", "spare", "tmp", "checkpoints" };
	char path[256];

	for (unsigned i = 0; i < 5; i++) {
		snprintf(path, sizeof path, "%s/%s", root, folders[i]);
		(void)mkdir(path, 0700);
	}
	for (unsigned i = 0; i < b->n_files; i++) {
		const struct file *file = &b->files[i];
		int fd;

		snprintf(path, sizeof path, "%s/%s", root, file->name);
		fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
		EG_ASSERT(fd >= 0 && io_write_at(fd, file->bytes, file->size, 0) == 0);
		close(fd);
	}
}

static void add_range(struct base *b, enum kind kind, unsigned file, uint64_t from, uint64_t to)
{
	EG_ASSERT(b->n_ranges < RANGES && from < to);
	b->ranges[b->n_ranges++] = (struct range){ kind, file, from, to };
}

static void add_segment(struct base *b, const char *root, unsigned file, bool last)
{
	char path[256];
	struct segment_reader s;
	struct fault f;
	const struct group_header *g;
	enum err why;
	unsigned newest = RANGES;

	snprintf(path, sizeof path, "%s/%s", root, b->files[file].name);
	EG_ASSERT(segment_open(&s, path, &f) == EG_E_OK);
	add_range(b, SEGMENT_HEADER, file, 0, EG_SEGMENT_DATA);
	while ((g = segment_next(&s, &why, &f)) != NULL && b->n_ranges < RANGES - 60) {
		if (g->n_records > 0)
			newest = b->n_ranges;
		add_range(b, g->n_records > 0 ? GROUP : WITNESS, file, segment_offset(&s), segment_offset(&s) + g->bytes);
	}
	if (last && newest < RANGES)
		b->ranges[newest].kind = LAST_GROUP;
	segment_close(&s);
}

static void add_checkpoint(struct base *b, unsigned file)
{
	const struct file *x = &b->files[file];
	const struct checkpoint_footer *t = (const struct checkpoint_footer *)(const void *)(x->bytes + x->size - sizeof *t);

	add_range(b, CKPT_HEADER, file, 0, EG_CHECKPOINT_DATA);
	add_range(b, CKPT_EXTENT, file, EG_CHECKPOINT_DATA, t->manifest_offset);
	add_range(b, CKPT_MANIFEST, file, t->manifest_offset, t->manifest_offset + t->manifest_bytes);
	add_range(b, CKPT_FOOTER, file, x->size - sizeof *t, x->size);
}

static void find_ranges(struct base *b, const char *root)
{
	const char *last = "";

	for (unsigned i = 0; i < b->n_files; i++)
		if (strncmp(b->files[i].name, "wal/", 4) == 0 && strcmp(b->files[i].name, last) > 0)
			last = b->files[i].name;
	for (unsigned i = 0; i < b->n_files; i++) {
		const char *name = b->files[i].name;

		if (strcmp(name, "SUPERBLOCK") == 0)
			add_range(b, SUPER, i, 0, b->files[i].size);
		else if (strncmp(name, "spare/", 6) == 0)
			add_range(b, SPARE, i, 0, b->files[i].size);
		else if (strncmp(name, "checkpoints/", 12) == 0)
			add_checkpoint(b, i);
		else
			add_segment(b, root, i, strcmp(name, last) == 0);
	}
}

/* ---- recovery --------------------------------------------------------------------- */

struct recovery { struct datadir dir; struct store_writer store; struct append append; struct logged logged; };

static enum err recover_here(struct wal_family *f, struct recovery *r, struct fault *fault)
{
	struct recovered recovered;

	family_reboot(f, true);
	atomic_fetch_add(&desk_master(&f->desks)->seats[EG_DESK_WAL].incarnation, 1);
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

/* Of all memories, wherever they lie. */
static uint64_t digest_of(const struct store *s)
{
	uint64_t sum = 0;

	for (uint32_t n = 0; n < atomic_load(&s->root->n_spaces); n++) {
		const struct space *sp = space_get(s, n);
		struct slot_walk walk;
		struct engram g;

		sum += hash64(sp->id, sizeof sp->id, 3 + n) + atomic_load(&sp->state);
		if (atomic_load(&sp->state) != EG_SPACE_LIVE)
			continue;
		slot_walk(s, sp, &walk);
		while (slot_next(&walk, &g)) {
			const float *v = node_vector(s, g.body);
			uint64_t h = hash64(&g.body->record, g.body->bytes - offsetof(struct body, record), 7);

			sum += v == NULL ? h : hash64(v, node_stride(g.body->class_) * sizeof *v, h);
		}
	}
	return sum;
}

/* 0: refused; else a digest, never 0. */
static uint64_t recovered_digest(struct wal_family *f, enum err *e)
{
	static struct recovery r;
	struct fault fault = { 0 };
	uint64_t digest = 0;

	*e = recover_here(f, &r, &fault);
	if (*e != EG_E_OK)
		return 0;
	digest = digest_of(&r.store.store) | 1;
	give_up(&r);
	return digest;
}

/* ---- one flip ---------------------------------------------------------------------- */

static uint64_t draw(uint64_t *state) { return *state = hash64(state, sizeof *state, 11); }

static const struct range *pick_range(const struct base *b, enum kind kind, uint64_t *random)
{
	const struct range *of[RANGES];
	unsigned n = 0;

	for (unsigned i = 0; i < b->n_ranges; i++)
		if (b->ranges[i].kind == kind)
			of[n++] = &b->ranges[i];
	return n > 0 ? of[draw(random) % n] : NULL;
}

static void flip_bit(const char *root, const struct file *file, uint64_t at, unsigned bit)
{
	char path[256];
	uint8_t byte = file->bytes[at] ^ (uint8_t)(1u << bit);
	int fd;

	snprintf(path, sizeof path, "%s/%s", root, file->name);
	fd = open(path, O_RDWR | O_CLOEXEC);
	EG_ASSERT(fd >= 0 && io_write_at(fd, &byte, 1, at) == 0);
	close(fd);
}

static void say(const struct base *b, const struct range *r, uint64_t at, unsigned bit, const char *what)
{
	size_t n = strlen(shared->said);

	snprintf(shared->said + n, sizeof shared->said - n, "# %s: %s byte %llu bit %u (%s): %s\n", b->name,
	         b->files[r->file].name, (unsigned long long)at, bit, kind_names[r->kind], what);
}

static void judge(const struct base *b, const struct range *r, uint64_t at, unsigned bit, uint64_t digest, enum err e)
{
	struct counts *c = &shared->by[r->kind];

	if (e != EG_E_OK) {
		c->refused++;
		if (e != EG_E_VALIDATION || b->mirrored) {
			c->wrong++;
			say(b, r, at, bit, "refused for another reason, or though there is another copy");
		}
	} else if (digest == b->digest) {
		c->same++;
	} else if (r->kind == LAST_GROUP && b->killed && !b->idle && !b->mirrored && digest == b->cut_digest) {
		c->cut++;
	} else {
		c->wrong++;
		say(b, r, at, bit, "another store comes of it");
	}
}

static void one_flip(struct wal_family *f, const struct base *b, const struct range *r, uint64_t *random)
{
	uint64_t at = r->from + draw(random) % (r->to - r->from), digest;
	unsigned bit = (unsigned)(draw(random) % 8);
	const char *root = b->mirrored && draw(random) % 2 ? mirror : f->dir;
	struct check check = { 0 };
	struct fault fault;
	enum err e;

	family_empty(f);
	write_files(b, f->dir);
	if (b->mirrored) {
		family_remove_copy(mirror);
		write_files(b, mirror);
	}
	flip_bit(root, &b->files[r->file], at, bit);
	shared->by[r->kind].flips++;
	EG_ASSERT(check_run(&check, root, &fault) == EG_E_OK);
	if (check.n_troubles == 0) {
		shared->by[r->kind].unseen++;
		say(b, r, at, bit, "engram check does not see it");
	}
	check_free(&check);
	digest = recovered_digest(f, &e);
	judge(b, r, at, bit, digest, e);
}

/* ---- all of them -------------------------------------------------------------------- */

static void make_base(struct base *b)
{
	struct wal_family f;
	enum err e;

	open_family(&f, b->mirrored);
	family_start_wal(&f);
	store(&f, 0, 120);
	if (!b->killed) {
		put_checkpoint(&f, 1);
		store(&f, 120, 200);
		put_checkpoint(&f, 2);
	}
	store(&f, 200, 230);
	if (b->idle)
		tail_await_witness(&f);
	(void)family_stop_wal(&f, b->killed ? SIGKILL : SIGTERM);
	if (b->killed && !b->idle)
		tail_cut_witness(&f);      /* it was slow: as if it had been killed at once */
	read_files(b, f.dir);
	find_ranges(b, f.dir);
	b->digest = recovered_digest(&f, &e);
	EG_ASSERT(b->digest != 0);
	if (b->killed && !b->idle && !b->mirrored) {
		const struct range *last = NULL;

		for (unsigned i = 0; i < b->n_ranges; i++)
			last = b->ranges[i].kind == LAST_GROUP ? &b->ranges[i] : last;
		EG_ASSERT(last != NULL);
		family_empty(&f);
		write_files(b, f.dir);
		flip_bit(f.dir, &b->files[last->file], last->from + 100, 1);
		b->cut_digest = recovered_digest(&f, &e);
		EG_ASSERT(b->cut_digest != 0 && b->cut_digest != b->digest);
	}
	family_close(&f);
	if (b->mirrored)
		family_remove(mirror);
}

static void run_chunk(uint64_t seed, uint64_t until)
{
	const struct base *b = &bases[shared->next / CHUNK % BASES];
	struct wal_family f;

	open_family(&f, b->mirrored);
	for (; shared->next < until; shared->next++) {
		uint64_t random = hash64(&(uint64_t[2]){ seed, shared->next }, 16, 5);
		const struct range *r = NULL;

		while (r == NULL)
			r = pick_range(b, (enum kind)(draw(&random) % KINDS), &random);
		one_flip(&f, b, r, &random);
	}
	family_close(&f);
	if (b->mirrored)
		family_remove(mirror);
}

static void run(uint64_t n, uint64_t seed)
{
	while (shared->next < n) {
		uint64_t end = (shared->next / CHUNK + 1) * CHUNK, until = end < n ? end : n;
		pid_t pid = fork();
		int status;

		EG_ASSERT(pid >= 0);
		if (pid == 0) {
			run_chunk(seed, until);
			_exit(0);
		}
		EG_ASSERT(waitpid(pid, &status, 0) == pid);
		if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
			continue;
		shared->by[0].crashed++;
		snprintf(shared->said + strlen(shared->said), 200, "# flip %llu ended recovery with status %x\n",
		         (unsigned long long)shared->next, status);
		shared->next++;
	}
}

static int report(uint64_t seed, int64_t began)
{
	struct counts sum = { 0 };

	for (unsigned k = 0; k < KINDS; k++) {
		const struct counts *c = &shared->by[k];

		printf("# %-20s %6llu flips: %6llu refused, %6llu made good, %4llu cut as torn, %llu unseen by check, %llu wrong\n",
		       kind_names[k], (unsigned long long)c->flips, (unsigned long long)c->refused, (unsigned long long)c->same,
		       (unsigned long long)c->cut, (unsigned long long)c->unseen, (unsigned long long)c->wrong);
		sum.flips += c->flips;
		sum.unseen += c->unseen;
		sum.wrong += c->wrong;
		sum.crashed += c->crashed;
	}
	printf("# bitflip: seed %llu, %llu flips, %llu unseen, %llu wrong, %llu crashes, %.1f s\n%s", (unsigned long long)seed,
	       (unsigned long long)sum.flips, (unsigned long long)sum.unseen, (unsigned long long)sum.wrong,
	       (unsigned long long)sum.crashed, (double)(clock_mono_ns() - began) / 1e9, shared->said);
	printf("%s 1 - no flip is served, none loses a record in silence\n", sum.wrong + sum.crashed == 0 ? "ok" : "not ok");
	printf("%s 2 - engram check sees every flip\n1..2\n", sum.unseen == 0 ? "ok" : "not ok");
	return sum.wrong + sum.crashed + sum.unseen == 0 ? 0 : 1;
}

int main(int argc, char **argv)
{
	uint64_t n = argc > 1 ? strtoull(argv[1], NULL, 10) : 300, seed = 1;
	int64_t began = clock_mono_ns();

	if (getenv("ENGRAM_TEST_LOG") == NULL)
		(void)!freopen("/dev/null", "w", stderr);
	if (argc > 2)
		seed = strtoull(argv[2], NULL, 10);
	else if (argc > 1 && getrandom(&seed, 4, 0) != 4)
		return 2;
	/* In memory: nothing here is about what a disk keeps. */
	setenv("TMPDIR", access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp", 1);
	shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	EG_ASSERT(shared != MAP_FAILED);
	for (unsigned i = 0; i < BASES; i++)
		make_base(&bases[i]);
	run(n, seed);
	return report(seed, began);
}
