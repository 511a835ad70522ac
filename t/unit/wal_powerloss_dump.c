/* The part of the consolidation process in a recording: one checkpoint after another,
 * see wal_powerloss.h. It ends when it is asked to, or at a fault point. */
#include "t/unit/wal_powerloss.h"

#ifdef EG_FAULTS

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/clock.h"
#include "shm/epoch.h"
#include "wal/control.h"
#include "wal/dump.h"

struct dumper {
	struct wal_family *f;
	struct pl_model *m;
	struct store store;
	bool attached;
	struct epoch epoch;
	struct submit lane;
	uint64_t random;
};

static bool asked(const struct dumper *d) { return atomic_load(&d->m->stop_dumps) || getppid() == 1; }

static bool given_up(void *arg)
{
	const struct dumper *d = arg;

	return asked(d) || !store_in_force(&d->store);
}

static void attach(struct dumper *d)
{
	struct fault fault;

	if (d->attached && store_in_force(&d->store))
		return;
	if (d->attached)
		store_detach(&d->store);
	d->attached = store_attach(&d->store, d->f->heritage.shm_prefix, d->f->heritage.boot_id, &fault) == EG_E_OK;
}

/* Tell the writer, and wait until it has come to an end, or the writer to its own. */
static void place(struct dumper *d, const struct dump_result *r)
{
	const struct checkpoint_page *page = &desk_wal(&d->f->desks)->checkpoint;
	struct control c = { .what = EG_CONTROL_PLACE, .nonce = pl_random(&d->random), .place = r->place,
		.generation = r->generation, .work_ns = r->work_ns, .written = r->written, .begun_ns = clock_mono_ns() };
	uint32_t incarnation = atomic_load(&desk_header(&d->f->desks, EG_DESK_WAL)->incarnation);
	struct draft draft;
	struct ticket t;
	struct fault fault;
	enum err err;
	uint64_t lsn;
	bool durable;

	memcpy(c.name, r->name, sizeof c.name);
	control_draft(&c, &draft);
	if (submit_push(&d->lane, &draft, 1, 0, 1000, &t, &fault) != EG_E_OK)
		return;
	while (!submit_poll(&t, &err, &lsn, &durable)) {
		if (asked(d))
			return;
		usleep(500);
	}
	if (err == EG_E_OK)
		err = submit_outcome(&t, 0).err;
	submit_forget(&t);
	while (err == EG_E_OK && !asked(d) && atomic_load(&page->ended) != c.nonce
	       && atomic_load(&desk_header(&d->f->desks, EG_DESK_WAL)->incarnation) == incarnation)
		usleep(500);
	if (atomic_load(&page->id) == c.place.id)
		atomic_fetch_add(&d->m->checkpoints, 1);
}

int model_dump(struct wal_family *f, void *model)
{
	struct dumper *d = calloc(1, sizeof *d);

	EG_ASSERT(d != NULL);
	d->f = f;
	d->m = model;
	d->random = d->m->seed ^ (uint64_t)clock_mono_ns();
	submit_init(&d->lane, &f->desks, 0);
	epoch_init(&d->epoch, &f->desks, 0);
	while (!asked(d)) {
		struct dump_task task = { .data_dir = f->config->server_data_dir, .desks = &f->desks, .store = &d->store,
			.epoch = &d->epoch, .stop = given_up, .arg = d };
		struct dump_result r;
		struct fault fault;

		usleep((useconds_t)(pl_random(&d->random) % 20000));
		attach(d);
		if (d->attached && dump_run(&task, &r, &fault) == EG_E_OK && store_in_force(&d->store))
			place(d, &r);
	}
	return 0;
}

#endif
