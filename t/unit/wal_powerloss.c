/* Power loss: recordings of all that a writer does to its files, and from each one many
 * disks as they may be when the power fails at some point; each is recovered from by
 * the real recovery, and held against what was acknowledged (wal_powerloss.h).
 *
 *	wal_powerloss [N [SEED]]                 N images; without arguments a short form
 *	wal_powerloss -r FILE IMAGE [FOLDER]     one image of a kept recording again (-1: its very
 *	                                         end, nothing lost); FOLDER: leave it there
 *
 * Prints TAP, the images by kind, and what is wrong, with the recording that was kept.
 */
#include "t/unit/wal_powerloss.h"

#include <stdio.h>

#ifdef EG_FAULTS

#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/fault.h"
#include "common/log.h"
#include "common/tape.h"
#include "shm/region.h"
#include "t/unit/wal_powerloss_disk.h"

#define WORKERS 2u
#define PER_RECORDING 250u
#define SAID_MAX 10u

static const char *const verdicts[PL_VERDICTS] = {
	"good", "acknowledged and lost", "never sent", "torn or out of order", "wrong content", "refused to start",
	"other after a second recovery",
};

struct report {                        /* shared by all */
	_Atomic uint64_t by_kind[DISK_N], wrong[PL_VERDICTS], crashed, unusable, said;
	struct pl_counts counts[WORKERS];
	_Atomic uint64_t next;         /* recordings begun */
};

struct work {                          /* shared by a worker and its children */
	_Atomic uint64_t image;        /* looked at now */
	struct pl_model model;
};

static void *shared(size_t bytes)
{
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	EG_ASSERT(p != MAP_FAILED);
	return p;
}

/* ---- a recording that is kept ---------------------------------------------------------- */

static struct tape *recording;         /* `tape` is none while images are recovered from */

static void keep(const struct pl_model *m, char *path, size_t size)
{
	size_t used = atomic_load(&recording->used);
	int fd;

	snprintf(path, size, "%s/engram-powerloss-%" PRIu64 ".tape", getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp", m->seed);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0 || write(fd, m, sizeof *m) != (ssize_t)sizeof *m || write(fd, recording, used) != (ssize_t)used)
		snprintf(path, size, "(it could not be kept)");
	if (fd >= 0)
		close(fd);
}

static bool load(const char *path, struct pl_model *m)
{
	size_t bytes = tape->bytes;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	bool good = fd >= 0 && read(fd, m, sizeof *m) == (ssize_t)sizeof *m && read(fd, tape, bytes) > 0;

	tape->bytes = bytes;
	if (fd >= 0)
		close(fd);
	return good;
}

static int one_again(const char *path, uint64_t image, const char *leave)
{
	static struct pl_model m;
	char *overrides[] = { (char[]){ "wal.segment_size_mb=1" }, (char[]){ "wal.buffer_size_mb=4" } };
	struct wal_family f;
	const char *why = "";
	char text[1024];
	struct disk *d;
	unsigned kind;
	uint32_t nested;
	enum pl_verdict v;

	if (!load(path, &m))
		return 2;
	d = disk_new(tape, m.root, NULL, &why);
	EG_ASSERT(d != NULL);
	tape = NULL;
	pl_frugal = pl_loud = true;
	if (leave != NULL) {
		check_build(&m, d, image, leave, text, sizeof text);
		puts(text);
		return 0;
	}
	family_open(&f, overrides, 2);
	v = check_image(&f, &m, d, image, &kind, &nested, text, sizeof text);
	printf("image %" PRIu64 " (%s%s): %s; %s\n", image, disk_kind_names[kind], nested ? ", twice" : "", verdicts[v], text);
	(void)region_unlink_all(f.heritage.shm_prefix);
	return v != PL_GOOD;
}

/* ---- working ------------------------------------------------------------------------------ */

static void look_at(struct report *r, struct pl_counts *c, struct wal_family *f, struct work *w, const struct disk *d,
                    uint64_t image)
{
	char text[1024], path[256];
	unsigned kind;
	uint32_t nested;
	enum pl_verdict v = check_image(f, &w->model, d, image, &kind, &nested, text, sizeof text);

	atomic_fetch_add(&r->by_kind[kind], 1);
	atomic_fetch_add(&r->wrong[v], 1);
	c->images++;
	c->nested += nested;
	if (v == PL_GOOD || atomic_fetch_add(&r->said, 1) >= SAID_MAX)
		return;
	keep(&w->model, path, sizeof path);
	printf("# %s: seed %" PRIu64 " image %" PRIu64 " (%s%s): %s; recording kept in %s\n", verdicts[v], w->model.seed, image,
	       disk_kind_names[kind], nested ? ", power lost twice" : "", text, path);
}

static void images(struct report *r, struct pl_counts *c, struct work *w, uint64_t from, uint64_t n)
{
	char *overrides[] = { (char[]){ "wal.segment_size_mb=1" }, (char[]){ "wal.buffer_size_mb=4" } };
	struct wal_family f;
	const char *why = "";
	struct disk *d = disk_new(tape, w->model.root, NULL, &why);

	EG_ASSERT(d != NULL);
	tape = NULL;
	fault_page = NULL;
	pl_frugal = true;
	family_open(&f, overrides, 2);
	for (uint64_t i = from; i < n; i++) {
		atomic_store(&w->image, i);
		if (getppid() == 1)
			break;
		look_at(r, c, &f, w, d, i);
	}
	(void)region_unlink_all(f.heritage.shm_prefix);
	family_empty(&f);
	rmdir(f.dir);
	exit(0);
}

/* An image at which the process dies is counted, and passed over. */
static void all_images(struct report *r, struct pl_counts *c, struct work *w, uint64_t n)
{
	uint64_t from = 0;

	while (from < n) {
		pid_t pid = fork();
		char path[256];
		int status;

		EG_ASSERT(pid >= 0);
		if (pid == 0)
			images(r, c, w, from, n);
		EG_ASSERT(waitpid(pid, &status, 0) == pid);
		if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
			return;
		from = atomic_load(&w->image) + 1;
		atomic_fetch_add(&r->crashed, 1);
		keep(&w->model, path, sizeof path);
		printf("# seed %" PRIu64 " image %" PRIu64 ": recovery died, status %d; recording kept in %s\n", w->model.seed,
		       from - 1, status, path);
	}
}

static void work(struct report *r, unsigned number, uint64_t seed, uint64_t recordings, uint64_t n)
{
	struct work *w = shared(sizeof *w);
	uint64_t i;

	recording = tape = tape_new((size_t)256 << 20);
	fault_page = fault_page_new();
	EG_ASSERT(tape != NULL && fault_page != NULL);
	while ((i = atomic_fetch_add(&r->next, 1)) < recordings) {
		uint64_t share = n * (i + 1) / recordings - n * i / recordings;
		char path[256];

		enum pl_recorded recorded = PL_AGAIN;

		for (unsigned k = 0; recorded == PL_AGAIN; k++)
			recorded = run_record(&w->model, seed + i * 1000003 + k, &r->counts[number]);
		if (recorded == PL_RECORDED) {
			all_images(r, &r->counts[number], w, share);
			continue;
		}
		atomic_fetch_add(&r->unusable, 1);
		keep(&w->model, path, sizeof path);
		printf("# kept in %s\n", path);
	}
	exit(0);
}

static int report(const struct report *r, uint64_t seed, int64_t began, uint64_t n)
{
	struct pl_counts c = { 0 };
	uint64_t wrong = atomic_load(&r->crashed);

	for (unsigned i = 0; i < WORKERS; i++) {
		const uint64_t *from = (const uint64_t *)(const void *)&r->counts[i];

		for (unsigned k = 0; k < sizeof c / 8; k++)
			((uint64_t *)(void *)&c)[k] += from[k];
	}
	printf("# powerloss: seed %" PRIu64 ", %" PRIu64 " images (%" PRIu64 " of them lost power twice), each recovered twice, %.1f s\n",
	       seed, c.images, c.nested, (double)(clock_mono_ns() - began) / 1e9);
	printf("# recordings: %" PRIu64 " entries, %" PRIu64 " calls, %" PRIu64 " MB, %" PRIu64 " renames, %" PRIu64 " kills, %" PRIu64
	       " reboots, %" PRIu64 " refusals, %" PRIu64 " checkpoints\n", c.entries, c.events, c.bytes >> 20, c.rotations, c.kills, c.reboots,
	       c.refusals, c.checkpoints);
	printf("# images:");
	for (unsigned k = 0; k < DISK_N; k++)
		printf(" %s %" PRIu64, disk_kind_names[k], atomic_load(&r->by_kind[k]));
	printf("\n# violations:");
	for (unsigned v = 1; v < PL_VERDICTS; v++) {
		printf(" %s %" PRIu64 ",", verdicts[v], atomic_load(&r->wrong[v]));
		wrong += atomic_load(&r->wrong[v]);
	}
	printf(" recovery died %" PRIu64 "\n", atomic_load(&r->crashed));
	printf("%s 1 - every disk recovers to what was acknowledged\n", wrong ? "not ok" : "ok");
	printf("%s 2 - all recordings could be used, the tape has seen every call\n", atomic_load(&r->unusable) ? "not ok" : "ok");
	printf("%s 3 - all images were looked at\n1..3\n", c.images + atomic_load(&r->crashed) == n ? "ok" : "not ok");
	return wrong != 0 || atomic_load(&r->unusable) != 0;
}

int main(int argc, char **argv)
{
	uint64_t n = argc > 1 ? strtoull(argv[1], NULL, 10) : 78, seed = 1, recordings;
	int64_t began = clock_mono_ns();
	struct report *r = shared(sizeof *r);

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (access("/dev/shm", W_OK) == 0)
		setenv("TMPDIR", "/dev/shm", 0);
	if (getenv("ENGRAM_TEST_LOG") == NULL)
		(void)!freopen("/dev/null", "w", stderr);
	if (argc >= 4 && strcmp(argv[1], "-r") == 0) {
		tape = tape_new((size_t)256 << 20);
		return one_again(argv[2], strtoull(argv[3], NULL, 10), argc > 4 ? argv[4] : NULL);
	}
	if (argc > 2)
		seed = strtoull(argv[2], NULL, 10);
	else if (argc > 1 && getrandom(&seed, 4, 0) != 4)
		return 2;
	recordings = n / PER_RECORDING > 2 ? n / PER_RECORDING : 2;
	for (unsigned i = 0; i < WORKERS; i++) {
		pid_t pid = fork();

		EG_ASSERT(pid >= 0);
		if (pid == 0)
			work(r, i, seed, recordings, n);
	}
	while (wait(NULL) > 0)
		;
	return report(r, seed, began, n);
}

#else

int main(void)
{
	puts("1..0 # SKIP configured without --enable-faults");
	return 0;
}

#endif
