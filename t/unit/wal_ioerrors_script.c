/* The sender, see the header. */
#include "t/unit/wal_ioerrors_script.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clock.h"
#include "shm/epoch.h"
#include "t/unit/wal_ioerrors.h"
#include "wal/control.h"
#include "wal/dump.h"

#define HEALS_NS INT64_C(5000000000)

struct sending {
	struct wal_family *f;
	struct script *s;
	struct history_sender *sender;
	struct submit lane;            /* another one: control entries */
	struct store store;
	struct epoch epoch;
	bool attached;
};

#define WRONG(s, ...) ((s)->wrong[0] == '\0' ? (void)snprintf((s)->wrong, sizeof (s)->wrong, __VA_ARGS__) : (void)0)

/* ---- what answers may be ------------------------------------------------------------------ */

static void judge(struct script *s, const struct history_entry *e, enum err err, bool was_read_only)
{
	bool fault = s->part != PART_AFTER && disk_fired() > 0;

	s->entries++;
	if (atomic_load(&s->h->broken) != 0)
		WRONG(s, "entry %u (kind %u): an answer that must not be, %u", s->entries, e->what, atomic_load(&s->h->broken));
	if (err == EG_E_OK) {
		if (was_read_only)
			WRONG(s, "entry %u: taken while read-only", s->entries);
		return;
	}
	s->refused++;
	s->no_room += err == EG_E_NO_STORAGE;
	s->unknown |= err == EG_E_WRITER;
	s->read_only |= err == EG_E_READ_ONLY || err == EG_E_WRITER;
	if (!fault)
		WRONG(s, "entry %u (kind %u): refused with error %u without a fault", s->entries, e->what, err);
	if (was_read_only && err != EG_E_READ_ONLY)
		WRONG(s, "entry %u: error %u while read-only", s->entries, err);
}

static enum err send_entry(struct sending *a, enum history_what what, unsigned space, unsigned key, unsigned n)
{
	const struct history_entry e = { what, space, key, n };
	struct desk_header *h = desk_header(&a->f->desks, EG_DESK_WAL);
	uint32_t incarnation = atomic_load(&h->incarnation);
	bool read_only = atomic_load(&desk_wal(&a->f->desks)->state) == EG_WAL_READ_ONLY, sent;
	enum err err = history_entry(a->sender, &e, &sent);

	if (sent)
		judge(a->s, &e, err, read_only && atomic_load(&h->incarnation) == incarnation);
	return err;
}

/* ---- checkpoints and backups ------------------------------------------------------------- */

static bool orphan(void *arg)
{
	const struct sending *a = arg;

	return getppid() == 1 || !store_in_force(&a->store);
}

static bool attach(struct sending *a)
{
	struct fault fault;

	if (a->attached && store_in_force(&a->store))
		return true;
	if (a->attached)
		store_detach(&a->store);
	a->attached = store_attach(&a->store, a->f->heritage.shm_prefix, a->f->heritage.boot_id, &fault) == EG_E_OK;
	return a->attached;
}

/* A control entry; its answer, and the number of the demand. */
static enum err control(struct sending *a, const struct control *c, uint64_t *demand)
{
	struct draft draft;
	struct ticket t;
	struct fault fault;
	enum err err;
	uint64_t lsn;

	control_draft(c, &draft);
	err = submit_push(&a->lane, &draft, 1, 0, 60000, &t, &fault);
	if (err != EG_E_OK)
		return err;
	family_await(&a->f->desks, &t, &err, &lsn);
	if (err == EG_E_OK)
		err = submit_outcome(&t, 0).err;
	*demand = submit_outcome(&t, 0).version;
	submit_forget(&t);
	return err;
}

static uint32_t incarnation(const struct sending *a)
{
	return atomic_load(&desk_header(&a->f->desks, EG_DESK_WAL)->incarnation);
}

static bool make_checkpoint(struct sending *a)
{
	const struct checkpoint_page *page = &desk_wal(&a->f->desks)->checkpoint;
	struct dump_task task = { .data_dir = a->f->config->server_data_dir, .desks = &a->f->desks, .store = &a->store,
		.epoch = &a->epoch, .stop = orphan, .arg = a };
	struct dump_result r;
	struct control c = { .what = EG_CONTROL_PLACE, .begun_ns = clock_mono_ns() };
	uint32_t writer = incarnation(a);
	struct fault fault;
	uint64_t demand;

	if (!attach(a) || dump_run(&task, &r, &fault) != EG_E_OK)
		return false;
	c.nonce = atomic_fetch_add(&a->s->h->next, 2) << 8 | 1;
	c.place = r.place;
	c.generation = r.generation;
	c.work_ns = r.work_ns;
	c.written = r.written;
	memcpy(c.name, r.name, sizeof c.name);
	if (control(a, &c, &demand) != EG_E_OK)
		return false;
	while (atomic_load(&page->ended) != c.nonce)
		if (incarnation(a) != writer || usleep(200) != 0)
			return false;
	return atomic_load(&page->id) == r.place.id;
}

static bool make_backup(struct sending *a)
{
	const struct backup_page *page = &desk_wal(&a->f->desks)->backup;
	struct control c = { .what = EG_CONTROL_BACKUP };
	struct script *s = a->s;
	uint32_t writer = incarnation(a);
	uint64_t demand;
	enum err err;

	snprintf(c.name, sizeof c.name, "b%llu", (unsigned long long)atomic_fetch_add(&s->h->next, 2));
	if (s->n_backups > 0)
		memcpy(c.base, s->backups[s->n_backups - 1], sizeof s->backups[0]);
	do
		err = control(a, &c, &demand);
	while (err == EG_E_CONFLICT && usleep(1000) == 0);
	if (err != EG_E_OK)
		return false;
	while (atomic_load(&page->answered) < demand)
		if (incarnation(a) != writer || usleep(200) != 0)
			return false;
	if (atomic_load(&page->err) != EG_E_OK)
		return false;
	EG_ASSERT(s->n_backups < sizeof s->backups / sizeof s->backups[0]);
	memcpy(s->backups[s->n_backups++], c.name, sizeof s->backups[0]);
	return true;
}

/* Whatever fails in one is told; the changes go on. */
static void checkpoint(struct sending *a)
{
	if (make_checkpoint(a))
		a->s->checkpoints++;
	else if (a->s->part == PART_AFTER || disk_fired() == 0)
		WRONG(a->s, "a checkpoint was not made, without a fault");
}

static void backup(struct sending *a)
{
	if (!make_backup(a) && (a->s->part == PART_AFTER || disk_fired() == 0))
		WRONG(a->s, "a backup was not made, without a fault: %s", desk_wal(&a->f->desks)->backup.message);
}

/* ---- the parts ------------------------------------------------------------------------------ */

/* Full segments: six large ones fill one. The same keys again, so the older ones die. */
static void fill(struct sending *a, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		(void)send_entry(a, HISTORY_LARGE, 0, 40 + i % 3, 1);
}

static void life(struct sending *a)
{
	for (unsigned i = 0; i < 3; i++)
		(void)send_entry(a, HISTORY_STORE, 0, i, 1);
	(void)send_entry(a, HISTORY_BATCH_ALL, 1, 0, 5);
	(void)send_entry(a, HISTORY_MANY, 2, 0, 4);
	(void)send_entry(a, HISTORY_STORE, 0, 0, 1);
	(void)send_entry(a, HISTORY_DELETE, 0, 1, 1);
	(void)send_entry(a, HISTORY_SETTINGS, 1, 0, 0);
	fill(a, 7);
	checkpoint(a);
	(void)send_entry(a, HISTORY_STORE, 0, 0, 1);
	(void)send_entry(a, HISTORY_SPACE_END, 2, 0, 0);
	(void)send_entry(a, HISTORY_SETTINGS, 2, 0, 0);
	(void)send_entry(a, HISTORY_BATCH_ALL, 2, 3, 6);
	fill(a, 6);
	checkpoint(a);
	(void)send_entry(a, HISTORY_DELETE, 1, 2, 1);
	backup(a);
	fill(a, 5);
	checkpoint(a);
	(void)send_entry(a, HISTORY_MANY, 1, 1, 4);
	(void)send_entry(a, HISTORY_STORE, 2, 9, 1);
}

static void some(struct sending *a)
{
	(void)send_entry(a, HISTORY_STORE, 0, 5, 1);
	(void)send_entry(a, HISTORY_BATCH_ALL, 1, 6, 3);
	(void)send_entry(a, HISTORY_DELETE, 0, 5, 1);
	fill(a, 3);
	checkpoint(a);
	(void)send_entry(a, HISTORY_STORE, 1, 0, 1);
}

static void refused(struct sending *a)
{
	for (unsigned i = 0; i < 3; i++)
		if (send_entry(a, i == 2 ? HISTORY_DELETE : HISTORY_STORE, 0, 50 * (i == 1), 1) == EG_E_OK && i < 2)
			WRONG(a->s, "a store was taken while read-only");
}

static void until_taken(struct sending *a)
{
	int64_t deadline = clock_mono_ns() + HEALS_NS;
	enum err err;

	while ((err = send_entry(a, HISTORY_STORE, 1, 59, 1)) != EG_E_OK) {
		if (err != EG_E_NO_STORAGE)
			WRONG(a->s, "refused with error %u when the fault has gone", err);
		if (clock_mono_ns() > deadline)
			WRONG(a->s, "no store was taken for 5 s after the fault");
		if (a->s->wrong[0] != '\0')
			return;
		usleep(2000);
	}
}

int script_run(struct wal_family *f, void *script)
{
	struct sending a = { .f = f, .s = script };

	a.sender = history_sender_new(f, a.s->h);
	submit_init(&a.lane, &f->desks, 1);
	epoch_init(&a.epoch, &f->desks, 0);
	switch (a.s->part) {
	case PART_LIFE:
		life(&a);
		break;
	case PART_TAIL:
		fill(&a, 6);
		(void)send_entry(&a, HISTORY_BATCH_ALL, 1, 10, 5);
		(void)send_entry(&a, HISTORY_STORE, 0, 20, 1);
		(void)send_entry(&a, HISTORY_DELETE, 0, 0, 1);
		break;
	case PART_SHORT:
		some(&a);
		break;
	case PART_REFUSED:
		refused(&a);
		break;
	case PART_HEAL:
		until_taken(&a);
		break;
	case PART_AFTER:
		some(&a);
		backup(&a);
		break;
	}
	if (a.attached)
		store_detach(&a.store);
	history_sender_free(a.sender);
	return 0;
}

/* ---- memory and files ------------------------------------------------------------------------ */

struct script *script_new(struct history *h)
{
	struct script *s = mmap(NULL, sizeof *s, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	EG_ASSERT(s != MAP_FAILED);
	s->h = h;
	return s;
}

void script_free(struct script *s) { munmap(s, sizeof *s); }

void script_begin(struct script *s)
{
	struct history *h = s->h;

	memset(s, 0, sizeof *s);
	s->h = h;
}

void script_copy(const char *from, const char *to)
{
	pid_t pid = fork();
	int status;

	EG_ASSERT(pid >= 0);
	if (pid == 0) {
		execlp("cp", "cp", "-a", "-T", from, to, (char *)NULL);
		_exit(127);
	}
	EG_ASSERT(waitpid(pid, &status, 0) == pid && status == 0);
}

void script_restore(const char *from, const char *to)
{
	family_remove(to);
	script_copy(from, to);
}
