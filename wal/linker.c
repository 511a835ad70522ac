/* The linking thread, see the header. */
#include "wal/linker.h"

#include <errno.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/fault.h"
#include "common/log.h"
#include "shm/metrics.h"
#include "shm/node_write.h"
#include "shm/space_write.h"

enum {
	TURNS = 16,                    /* nodes of the ring for a chunk of the job, or a look */
	FORGET_MOST = 256,             /* nodes retired in one step */
	EPOCH_SLOT = 0,                /* of the wal process's desk: its only reading thread */
	NICE = 10,
};
#define RETRY_NS INT64_C(60000000000)

/* ---- spaces ---- */

static struct space *live_space(struct linkers *l, uint32_t number)
{
	struct space *sp;

	if (number >= space_count(&l->w->store))
		return NULL;
	sp = space_for_write(l->w, number);
	/* Seen live in this section: its chunks stay its own until the section ends. */
	return atomic_load_explicit(&sp->state, memory_order_acquire) == EG_SPACE_LIVE ? sp : NULL;
}

static bool wants_graph(struct linkers *l, const struct space *sp, bool has)
{
	uint64_t n = atomic_load(&sp->with_vector), least = atomic_load(&l->w->graph_min);

	return space_dimension(sp) > 0 && n > 0 && n >= (has ? least / 2 : least);
}

/* The graph of a living space, for its present class, that it shall have. */
static struct graph *right_graph(struct linkers *l, const struct space *sp)
{
	struct graph *g = graph_for_write(l->w, sp->number);

	return g != NULL && wants_graph(l, sp, true) && atomic_load(&g->class_) == node_class(space_dimension(sp)) ? g : NULL;
}

static void begin_job(struct linkers *l, enum link_job job, const struct space *sp, unsigned class_)
{
	l->job = job;
	l->space = sp->number;
	l->class_ = class_;
	l->link = atomic_load_explicit(&sp->node_head, memory_order_acquire);
	l->turns = 0;
}

/* The job is done, or cannot go on: what is to be done there now? */
static void end_job(struct linkers *l)
{
	l->job = LINK_IDLE;
	l->dead.n = 0;
	graph_look(l->w, l->space);
}

static void drop(struct linkers *l, uint32_t number, const struct space *sp)
{
	unsigned class_ = atomic_load(&graph_for_write(l->w, number)->class_);

	graph_drop(l->w, number);
	metric_add(M_GRAPH_DROPS, 1);
	if (sp != NULL)                    /* else its chunks go, marks and all */
		begin_job(l, LINK_RELEASE, sp, class_);
}

static void make(struct linkers *l, const struct space *sp)
{
	unsigned class_ = node_class(space_dimension(sp));
	struct fault f;

	if (graph_make(l->w, sp->number, class_, &f) != NULL) {
		begin_job(l, LINK_BUILD, sp, class_);
		return;
	}
	LOG_WARN("no graph for space %s: %s; all its vectors are compared, and it is tried again", sp->id, f.message);
	metric_add(M_GRAPH_NO_ROOM, 1);
	atomic_store(&l->retry_ns, clock_mono_ns() + RETRY_NS);
	atomic_store(&l->short_of, true);
}

/* Which job does that space need? */
static void look(struct linkers *l, uint32_t number)
{
	const struct space *sp = live_space(l, number);
	struct graph *g = number < space_count(&l->w->store) ? graph_for_write(l->w, number) : NULL;

	if (g != NULL && (sp == NULL || right_graph(l, sp) == NULL)) {
		drop(l, number, sp);
	} else if (g != NULL && atomic_load(&g->state) != EG_GRAPH_READY) {
		if (!atomic_load(&l->short_of))
			begin_job(l, LINK_BUILD, sp, atomic_load(&g->class_));
	} else if (g != NULL && graph_due(l->w, g)) {
		begin_job(l, LINK_COLLECT, sp, atomic_load(&g->class_));
	} else if (g == NULL && sp != NULL && wants_graph(l, sp, false) && !atomic_load(&l->short_of)) {
		make(l, sp);
	}
}

static bool take_look(struct linkers *l)
{
	struct stack32 *s = &l->w->looks;
	uint32_t number = EG_NONE;

	pthread_mutex_lock(&l->w->fresh_lock);
	if (s->n > 0) {
		number = s->at[0];
		memmove(s->at, s->at + 1, --s->n * sizeof *s->at);
	}
	pthread_mutex_unlock(&l->w->fresh_lock);
	l->turns = 0;
	if (number == EG_NONE)
		return false;
	look(l, number);
	return true;
}

/* ---- nodes ---- */

/* Memory is short: until there is some, all vectors of the space are compared. */
static void give_up(struct linkers *l, struct graph *g, const struct fault *f)
{
	LOG_WARN("the graph of space %u is not built: %s; all its vectors are compared, and it is tried again",
	         atomic_load(&g->space), f->message);
	metric_add(M_GRAPH_NO_ROOM, 1);
	graph_set_state(l->w, g, EG_GRAPH_BUILDING);
	atomic_store(&l->retry_ns, clock_mono_ns() + RETRY_NS);
	atomic_store(&l->short_of, true);
}

static bool link_chunk(struct linkers *l, struct graph *g, uint32_t chunk, uint32_t which)
{
	struct node_chunk *c = node_chunk_for_write(l->w, atomic_load(&g->class_), chunk);
	struct fault f;

	which &= ~atomic_load(&c->linked);
	for (unsigned i = 0; i < EG_CHUNK; i++)
		if (atomic_load_explicit(&c->owner[i], memory_order_acquire) == EG_NODE_FREE)
			which &= ~(1u << i);
	if (which == 0)
		return true;
	if (graph_room(l->w, atomic_load(&g->class_), chunk, &f) != EG_E_OK) {
		give_up(l, g, &f);
		return false;
	}
	for (unsigned i = 0; i < EG_CHUNK; i++)
		if (which >> i & 1)
			graph_link(l->w, g, &l->one, chunk * EG_CHUNK + i);
	return true;
}

/* One of the ring. Of a graph that is not there any more, or not yet, nothing is to be done. */
static bool take_fresh(struct linkers *l)
{
	uint64_t at, word = fresh_next(l->w, &at);
	uint32_t number = (uint32_t)(word >> 36) & ((1u << 27) - 1), node = (uint32_t)(word & ((1u << 30) - 1));
	const struct space *sp;
	struct graph *g;

	if (word == 0)
		return false;
	sp = live_space(l, number);
	g = sp != NULL ? graph_for_write(l->w, number) : NULL;
	/* When memory is short the graph is BUILDING, and a build will meet the node. */
	if (g != NULL && atomic_load(&g->class_) == (word >> 30 & 63)
	    && (atomic_load(&g->state) >= EG_GRAPH_CATCHING || !atomic_load(&l->short_of)))
		(void)link_chunk(l, g, node / EG_CHUNK, 1u << node % EG_CHUNK);
	fresh_done(l->w, at);
	l->turns++;
	return true;
}

/* ---- jobs ---- */

static void collect(struct linkers *l, uint32_t chunk)
{
	uint32_t dead = graph_dead(l->w, l->class_, chunk);

	for (unsigned i = 0; i < EG_CHUNK; i++)
		if (dead >> i & 1)
			stack32_push(&l->dead, chunk * EG_CHUNK + i);
}

static void sweep(struct linkers *l, struct graph *g, uint32_t chunk)
{
	struct node_chunk *c = node_chunk_for_write(l->w, l->class_, chunk);
	uint32_t linked = atomic_load(&c->linked);

	graph_sweep_chunk(l->w, g, &l->one, chunk);
	for (unsigned i = 0; i < EG_CHUNK; i++)
		if (linked >> i & 1 && atomic_load(&c->owner[i]) != EG_NODE_FREE)
			l->living = chunk * EG_CHUNK + i;
}

static void do_chunk(struct linkers *l, struct graph *g, uint32_t chunk)
{
	switch (l->job) {
	case LINK_BUILD:
	case LINK_CATCH:
		if (!link_chunk(l, g, chunk, (1u << EG_CHUNK) - 1))
			l->job = LINK_IDLE;
		break;
	case LINK_COLLECT:
		collect(l, chunk);
		break;
	case LINK_SWEEP:
		sweep(l, g, chunk);
		break;
	case LINK_RELEASE:
		graph_release(l->w, l->space, l->class_, chunk);
		break;
	case LINK_FORGET:
	case LINK_IDLE:
		break;
	}
}

static void forget(struct linkers *l, struct graph *g)
{
	for (unsigned i = 0; i < FORGET_MOST && l->dead.n > 0; i++)
		graph_forget(l->w, g, stack32_pop(&l->dead));
	if (l->dead.n > 0)
		return;
	metric_add(M_GRAPH_SWEEPS, 1);
	end_job(l);
}

/* All chunks were seen. */
static void next_pass(struct linkers *l, struct graph *g, const struct space *sp)
{
	switch (l->job) {
	case LINK_BUILD:
		/* From here on apply pushes; then whoever came before is looked for once more. */
		graph_set_state(l->w, g, EG_GRAPH_CATCHING);
		begin_job(l, LINK_CATCH, sp, l->class_);
		break;
	case LINK_CATCH:
		graph_set_state(l->w, g, EG_GRAPH_READY);
		LOG_INFO("space %s has a graph of %llu vectors", sp->id, (unsigned long long)atomic_load(&g->linked));
		end_job(l);
		break;
	case LINK_COLLECT:
		l->living = EG_NODE_NONE;
		begin_job(l, LINK_SWEEP, sp, l->class_);
		break;
	case LINK_SWEEP:
		graph_sweep_entries(l->w, g, l->living);
		l->job = LINK_FORGET;
		break;
	case LINK_RELEASE:
		end_job(l);
		break;
	case LINK_FORGET:
	case LINK_IDLE:
		break;
	}
}

/* What the job began with still holds: else it ends, and its space is looked at again. */
static bool goes_on(struct linkers *l, const struct space *sp, const struct graph *g)
{
	if (sp == NULL)
		return false;
	if (l->job == LINK_RELEASE)
		return true;
	/* A graph that a build was not asked for may be set back by give_up. */
	return g != NULL && atomic_load(&g->class_) == l->class_
	       && (l->job == LINK_BUILD || atomic_load(&g->state) == (l->job == LINK_CATCH ? EG_GRAPH_CATCHING : EG_GRAPH_READY));
}

static bool job_step(struct linkers *l)
{
	const struct space *sp;
	struct graph *g;
	uint32_t link = l->link;

	if (l->job == LINK_IDLE)
		return false;
	l->turns = 0;
	sp = live_space(l, l->space);
	g = sp != NULL ? right_graph(l, sp) : NULL;
	if (!goes_on(l, sp, g)) {
		end_job(l);
	} else if (l->job == LINK_FORGET) {
		forget(l, g);
	} else if (link == EG_NONE) {
		next_pass(l, g, sp);
	} else {
		l->link = atomic_load_explicit(
			&node_chunk_for_write(l->w, link >> EG_LINK_SHIFT, link & EG_LINK_MASK)->next, memory_order_acquire);
		if (link >> EG_LINK_SHIFT == l->class_)
			do_chunk(l, g, link & EG_LINK_MASK);
	}
	return true;
}

bool linker_step(struct linkers *l)
{
	bool did;

	epoch_enter(&l->epoch);
	did = l->turns >= TURNS && (job_step(l) || take_look(l));
	did = did || take_fresh(l) || job_step(l) || take_look(l);
	epoch_leave(&l->epoch);
	metric_add(M_GRAPH_LINKS, l->one.n_links - l->told_links);
	l->told_links = l->one.n_links;
	FAULT(LINKER_STEPPED);
	return did;
}

/* ---- the thread ---- */

static void *run(void *arg)
{
	struct linkers *l = arg;
	uint64_t cpu = 0;

	prctl(PR_SET_NAME, "engram-link", 0, 0, 0);
	/* Of this thread alone; recalls and stores come first. */
	if (setpriority(PRIO_PROCESS, (id_t)gettid(), NICE) != 0)
		LOG_WARN("the linking thread runs at the priority of all others: %s", strerror(errno));
	(void)metric_cpu_ns(&cpu);
	while (!atomic_load(&l->stop)) {
		if (!linker_step(l))
			fresh_wait(l->w, &l->stop);
		metric_add(M_CPU_WAL, metric_cpu_ns(&cpu));
	}
	return NULL;
}

void linkers_look_at_all(struct store_writer *w)
{
	uint64_t least = atomic_load(&w->graph_min);

	for (uint32_t n = 0; n < space_count(&w->store); n++) {
		const struct space *sp = space_for_write(w, n);

		if (atomic_load(&sp->graph) != 0 || atomic_load(&sp->with_vector) >= least)
			graph_look(w, n);
	}
}

void linkers_open(struct linkers *l, struct store_writer *w, struct desks *d, unsigned ef)
{
	memset(l, 0, sizeof *l);
	l->w = w;
	epoch_init(&l->epoch, d, EPOCH_SLOT);
	linker_init(&l->one, ef);
	linkers_look_at_all(w);
}

static void say_linking(struct linkers *l, bool linking)
{
	pthread_mutex_lock(&l->w->fresh_lock);
	l->w->linking = linking;
	pthread_mutex_unlock(&l->w->fresh_lock);
}

enum err linkers_start(struct linkers *l, struct fault *f)
{
	say_linking(l, true);
	if (pthread_create(&l->thread, NULL, run, l) != 0) {
		say_linking(l, false);
		return err_set(f, EG_E_INTERNAL, NULL, NULL, "no linking thread");
	}
	l->threaded = true;
	return EG_E_OK;
}

void linkers_close(struct linkers *l)
{
	if (l->threaded) {
		atomic_store(&l->stop, true);
		fresh_wake(l->w);
		pthread_join(l->thread, NULL);
		say_linking(l, false);
	}
	linker_fini(&l->one);
	stack32_free(&l->dead);
	memset(l, 0, sizeof *l);
}

/* ---- for the log thread ---- */

static void gauges(struct store_writer *w)
{
	struct graph_totals t;

	graph_totals(&w->store, &t);
	metric_set(M_GRAPH_NODES, t.indexed);
	metric_set(M_GRAPH_UNLINKED_RING, t.ring);
	metric_set(M_GRAPH_UNLINKED_BUILD, t.build);
	metric_set(M_GRAPH_BUILDING, t.graphs[EG_GRAPH_BUILDING]);
	metric_set(M_GRAPH_CATCHING, t.graphs[EG_GRAPH_CATCHING]);
	metric_set(M_GRAPH_READY, t.graphs[EG_GRAPH_READY]);
}

void linkers_upkeep(struct linkers *l)
{
	gauges(l->w);
	if (!atomic_load(&l->short_of) || clock_mono_ns() < atomic_load(&l->retry_ns))
		return;
	atomic_store(&l->short_of, false);
	linkers_look_at_all(l->w);
}
