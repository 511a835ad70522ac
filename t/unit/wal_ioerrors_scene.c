/* What a family does while a call fails, and what must be true afterwards: see
 * wal_ioerrors.h. This process plays the master: a wal process that ended is replaced,
 * however often, and after three starts in a row that met the fault the fault goes away. */
#include "t/unit/wal_ioerrors.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clock.h"
#include "t/unit/wal_ioerrors_script.h"
#include "wal/check.h"
#include "wal/mirror.h"

#define SENDER 2u                      /* desks */
#define CHECKER 3u
#define STARTS 3u
#define HEALS_NS INT64_C(5000000000)
#define ENOUGH 40u                     /* wal processes of one run */

const char *const scene_names[SCENES] = { "life", "recovery", "another writer", "two copies", "O_DIRECT" };

struct rig {
	struct wal_family f;
	enum scene scene;
	struct history *h, *saved;     /* saved: as it was when the template was made */
	struct script *script;
	char mirror[80], mirror_text[100], template[90];
	uint64_t seed, random;
	struct scene_counts *c;
	const char *why;
	char text[300];
	bool unknown;                  /* an outcome that only another writer can tell */
};

static bool bad(struct rig *r, const char *why)
{
	if (r->why == NULL)
		r->why = why;
	return false;
}

/* ---- the wal process ------------------------------------------------------------------- */

/* How it ended: only by its own decision, if nobody killed it. */
static bool judge_end(struct rig *r, int status)
{
	if (WIFEXITED(status))
		return true;
	snprintf(r->text, sizeof r->text, "the wal process died of signal %d", WTERMSIG(status));
	return bad(r, r->text);
}

static bool wal_gone(struct rig *r)
{
	int status;

	if (r->f.wal <= 0 || waitpid(r->f.wal, &status, WNOHANG) != r->f.wal)
		return r->f.wal <= 0;
	r->f.wal = -1;
	r->c->ended++;
	(void)judge_end(r, status);
	return true;
}

/* Like the master: it is started until it runs. The fault does not last for ever. */
static bool start_wal(struct rig *r)
{
	for (unsigned i = 0; r->f.wal <= 0; i++) {
		if (i == STARTS)
			disk_heal();
		if (i > STARTS)
			return bad(r, "the wal process does not start when the fault has gone");
		family_start_wal(&r->f);
		r->c->not_started += r->f.wal <= 0;
	}
	r->unknown = false;            /* this one has settled it */
	return true;
}

static bool stop_wal(struct rig *r, int number)
{
	int status = family_stop_wal(&r->f, number);

	if (number == SIGKILL)
		return true;
	return judge_end(r, status);
}

/* A desk is given away when the writer has drained it, whichever writer. */
static bool reap(struct rig *r, unsigned desk, pid_t pid, int *status)
{
	struct seat *s = &desk_master(&r->f.desks)->seats[desk];

	EG_ASSERT(waitpid(pid, status, 0) == pid);
	atomic_store(&s->state, EG_DESK_DEAD);
	desk_ring_always(&r->f.desks, EG_DESK_WAL);
	while (atomic_load(&desk_wal(&r->f.desks)->drained[desk]) != atomic_load(&s->incarnation)) {
		if (wal_gone(r) && !start_wal(r))
			return false;
		usleep(200);
	}
	atomic_store(&s->state, EG_DESK_FREE);
	return r->why == NULL;
}

static bool child(struct rig *r, unsigned desk, int (*fn)(struct wal_family *, void *), void *arg)
{
	pid_t pid = family_spawn(&r->f, desk, fn, arg);
	siginfo_t how = { 0 };
	unsigned ended = 0;
	int status;

	while (waitid(P_PID, (id_t)pid, &how, WEXITED | WNOHANG | WNOWAIT) == 0 && how.si_pid == 0) {
		if (wal_gone(r)) {
			if (++ended > ENOUGH)
				disk_heal();
			if (!start_wal(r)) {
				kill(pid, SIGKILL);
				(void)waitpid(pid, NULL, 0);
				return false;
			}
		}
		usleep(100);
	}
	if (!reap(r, desk, pid, &status))
		return false;
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return r->why == NULL;
	snprintf(r->text, sizeof r->text, "a child ended with status %d", status);
	return bad(r, r->text);
}

/* ---- looking --------------------------------------------------------------------------- */

static bool check(struct rig *r, const char *when)
{
	struct history *h = r->h;
	struct history *before = malloc(sizeof *before);
	uint64_t wrong = history_wrong(h);
	bool good;

	EG_ASSERT(before != NULL);
	memcpy(before, h, sizeof *h);
	good = child(r, CHECKER, history_check, h);
	if (good && history_wrong(h) != wrong) {
		snprintf(r->text, sizeof r->text, "%s: lost %llu, phantom %llu, torn %llu, corrupt %llu, answer %u", when,
		         (unsigned long long)h->lost, (unsigned long long)h->phantom, (unsigned long long)h->torn,
		         (unsigned long long)h->corrupt, h->broken);
		good = bad(r, r->text);
	}
	/* What is not known stays so until another writer has read the log. */
	if (r->unknown) {
		memcpy(&h->flight, &before->flight, sizeof h->flight);
		memcpy(&h->next_dim, &before->next_dim, sizeof h->next_dim);
		memcpy(&h->next_state, &before->next_state, sizeof h->next_state);
	}
	free(before);
	return good;
}

/* The first trouble that is more than a note. Bodies of this history are no messages. */
static const struct check_trouble *trouble(const struct check *c)
{
	for (unsigned i = 0; i < c->n_troubles; i++)
		if (c->troubles[i].level > CHECK_NOTE && strstr(c->troubles[i].what, "body is no message") == NULL)
			return &c->troubles[i];
	return NULL;
}

/* Offline, every byte: nothing is damaged, and a backup that was told of is whole. */
static bool check_files(struct rig *r, const char *path)
{
	struct check c = { 0 };
	struct fault fault;
	const struct check_trouble *t;
	bool good = check_run(&c, path, &fault) == EG_E_OK;

	if (!good)
		snprintf(r->text, sizeof r->text, "engram check of %.60s: %.120s", path, fault.message);
	t = good ? trouble(&c) : NULL;
	if (t != NULL)
		snprintf(r->text, sizeof r->text, "engram check of %.60s: %.60s: %.120s", path, c.files[t->file].name, t->what);
	check_free(&c);
	return (good && t == NULL) || bad(r, r->text);
}

static bool check_backups(struct rig *r)
{
	for (unsigned i = 0; i < r->script->n_backups; i++) {
		char path[160];

		snprintf(path, sizeof path, "%s/backup/%s", r->f.dir, r->script->backups[i]);
		if (!check_files(r, path))
			return false;
	}
	return true;
}

/* ---- one run --------------------------------------------------------------------------- */

static bool perform(struct rig *r, enum script_part part)
{
	struct script *s = r->script;

	s->part = part;
	return child(r, SENDER, script_run, s) && (s->wrong[0] == '\0' || bad(r, s->wrong));
}

/* Everything in memory is gone, and with `pages` all that was written and never synced. */
static bool reboot(struct rig *r, bool pages)
{
	if (r->f.wal > 0 && !stop_wal(r, SIGKILL))
		return false;
	if (pages)
		r->c->pieces += disk_power_off(r->f.dir, r->mirror);
	family_reboot(&r->f, true);
	r->c->restarts++;
	return start_wal(r);
}

/* Did the fault leave something that only an entry with an unknown outcome explains? */
static void note_answers(struct rig *r)
{
	struct script *s = r->script;

	r->unknown |= s->unknown;
	r->c->refused += s->refused;
	r->c->unknown += s->unknown;
	r->c->read_only += s->read_only;
	r->c->no_room += s->no_room > 0;
}

static bool mirror_whole(struct rig *r)
{
	int64_t deadline = clock_mono_ns() + 2 * HEALS_NS;
	struct wal_page *page = desk_wal(&r->f.desks);

	while (r->mirror[0] != '\0' && atomic_load(&page->mirror_state) != MIRROR_WHOLE) {
		if (clock_mono_ns() > deadline)
			return bad(r, "the copy that was given up is not rebuilt in 10 s");
		if (wal_gone(r))
			return bad(r, "the wal process ended after the fault");
		desk_ring_always(&r->f.desks, EG_DESK_WAL);    /* it looks when it is woken */
		usleep(2000);
	}
	return true;
}

/* The fault has gone and the processes go on. */
static bool heal(struct rig *r)
{
	struct wal_page *page = desk_wal(&r->f.desks);
	int64_t began;

	if (wal_gone(r) && !start_wal(r))
		return false;
	if (!check(r, "after the fault"))
		return false;
	if (atomic_load(&page->state) == EG_WAL_READ_ONLY) {
		if (!perform(r, PART_REFUSED) || !check(r, "read-only") || !stop_wal(r, SIGTERM) || !start_wal(r)
		    || !check(r, "after another writer's start"))
			return false;
	}
	began = clock_mono_ns();
	if (!perform(r, PART_HEAL))
		return false;
	if (clock_mono_ns() - began > r->c->longest_heal_ns)
		r->c->longest_heal_ns = clock_mono_ns() - began;
	return mirror_whole(r) && perform(r, PART_AFTER) && check(r, "after healing");
}

/* From the files alone. A clean end leaves files without a fault; a power failure what was synced. */
static bool from_files(struct rig *r)
{
	bool clean = history_random(&r->random) % 2;

	disk_heal();
	if (r->f.wal > 0 && clean && !stop_wal(r, SIGTERM))
		return false;
	if (clean && r->f.wal <= 0 && !check_files(r, r->f.dir))
		return false;
	if (!reboot(r, history_random(&r->random) % 4 != 0) || !check(r, "from the files"))
		return false;
	/* The newest may be gone with its copy, if the other is whole. */
	if (r->mirror[0] != '\0' && mirror_whole(r) && history_random(&r->random) % 3 == 0) {
		(void)stop_wal(r, SIGKILL);
		family_remove_copy(history_random(&r->random) % 2 ? r->mirror : r->f.dir);
		if (!reboot(r, true) || !check(r, "from one copy"))
			return false;
	}
	return check_backups(r) && r->why == NULL;
}

static bool begin(struct rig *r, uint64_t nth, enum disk_mode mode)
{
	disk_begin(r->mirror, r->scene == SCENE_DIRECT);
	if (r->scene == SCENE_RECOVER) {
		memcpy(r->h, r->saved, sizeof *r->h);
		script_restore(r->template, r->f.dir);
		family_reboot(&r->f, true);
	} else {
		family_empty(&r->f);
		if (r->mirror[0] != '\0')
			family_remove_copy(r->mirror);
		family_reboot(&r->f, true);
		history_reset(r->h);
		atomic_store(&r->h->broken, 0);
	}
	script_begin(r->script);
	if (r->scene == SCENE_RESTART) {
		disk_arm(0, mode);
		disk_heal();
		if (!start_wal(r) || !perform(r, PART_LIFE) || !stop_wal(r, SIGKILL))
			return false;
	}
	disk_arm(nth, mode);
	return start_wal(r);
}

static void end_family(struct rig *r)
{
	if (r->f.wal > 0)
		(void)family_stop_wal(&r->f, SIGKILL);
	disk_heal();
	family_reboot(&r->f, true);
}

enum scene_run scene_run(struct rig *r, uint64_t nth, enum disk_mode mode, struct scene_counts *c, const char **why)
{
	enum script_part part = r->scene == SCENE_RECOVER || r->scene == SCENE_RESTART ? PART_SHORT : PART_LIFE;
	bool good, met;

	r->c = c;
	r->why = NULL;
	r->unknown = false;
	r->random = r->seed ^ nth * 64 ^ (uint64_t)mode;
	c->runs++;
	good = begin(r, nth, mode) && perform(r, part);
	note_answers(r);
	/* The orderly end is part of it, if the fault was not met before. */
	if (good && disk_fired() == 0 && r->f.wal > 0)
		good = stop_wal(r, SIGTERM);
	met = disk_fired() > 0;
	disk_heal();
	if (good && met)
		good = (r->f.wal > 0 || reboot(r, false)) && heal(r);
	good = good && from_files(r);
	c->met += met;
	c->entries += r->script->entries;
	c->checkpoints += r->script->checkpoints;
	c->backups += r->script->n_backups;
	*why = r->why;
	end_family(r);
	return !good ? RUN_BAD : met ? RUN_GOOD : RUN_UNMET;
}

/* ---- opening ------------------------------------------------------------------------------ */

static bool takes_direct(const char *dir)
{
	char path[100];
	int fd;

	snprintf(path, sizeof path, "%s/direct", dir);
	fd = open(path, O_RDWR | O_CREAT | O_DIRECT | O_CLOEXEC, 0600);
	if (fd >= 0)
		close(fd);
	unlink(path);
	return fd >= 0;
}

/* What a recovery begins from: two checkpoints, a tail of the log, an unclean end. */
static bool make_template(struct rig *r)
{
	struct scene_counts none = { 0 };

	snprintf(r->template, sizeof r->template, "%s.template", r->f.dir);
	r->c = &none;
	disk_begin("", false);
	script_begin(r->script);
	if (!start_wal(r) || !perform(r, PART_LIFE) || !perform(r, PART_TAIL)
	    || !stop_wal(r, SIGKILL))
		return false;
	(void)disk_power_off(r->f.dir, "");
	script_copy(r->f.dir, r->template);
	memcpy(r->saved, r->h, sizeof *r->h);
	return true;
}

struct rig *scene_open(enum scene scene, uint64_t seed, const char **why)
{
	struct rig *r = calloc(1, sizeof *r);
	char direct[] = "wal.use_direct_io=true";
	char *overrides[] = { (char[]){ "wal.segment_size_mb=1" }, (char[]){ "wal.buffer_size_mb=4" },
		(char[]){ "storage.use_huge_pages=false" }, NULL };

	EG_ASSERT(r != NULL);
	r->scene = scene;
	r->seed = seed;
	r->h = history_new(seed);
	r->saved = history_new(seed);
	if (scene == SCENE_MIRROR) {
		snprintf(r->mirror, sizeof r->mirror, "%s/engram-test-mirror-XXXXXX",
		         getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
		EG_ASSERT(mkdtemp(r->mirror) != NULL);
		snprintf(r->mirror_text, sizeof r->mirror_text, "wal.mirror_dir=%s", r->mirror);
		overrides[3] = r->mirror_text;
	} else if (scene == SCENE_DIRECT) {
		overrides[3] = direct;
	}
	family_open(&r->f, overrides, overrides[3] != NULL ? 4 : 3);
	r->script = script_new(r->h);
	*why = NULL;
	if (scene == SCENE_DIRECT && !takes_direct(r->f.dir))
		*why = "the file system takes no O_DIRECT";
	if (scene == SCENE_RECOVER && !make_template(r))
		*why = r->why;
	if (*why == NULL)
		return r;
	scene_close(r);
	return NULL;
}

void scene_close(struct rig *r)
{
	family_close(&r->f);
	if (r->mirror[0] != '\0')
		family_remove(r->mirror);
	if (r->template[0] != '\0')
		family_remove(r->template);
	script_free(r->script);
	history_free(r->h);
	history_free(r->saved);
	free(r);
}
