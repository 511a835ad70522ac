/* Upkeep, see the header. */
#include "wal/upkeep.h"

#include "common/clock.h"
#include "common/fault.h"
#include "common/io.h"
#include "common/log.h"
#include "shm/metrics.h"
#include "shm/reclaim_write.h"
#include "shm/slot_write.h"

#define EG_UPKEEP_NS INT64_C(1000000000)
#define EG_UPKEEP_BUSY_NS INT64_C(20000000)  /* reclaim this often under load */

/* A desk whose process was reaped: its epochs no longer count (epoch.c); once its
 * lanes are empty and answered it may be given to another. */
static void drain_dead(struct writer *w)
{
	const struct master_page *m = desk_master(w->desks);
	struct wal_page *page = desk_wal(w->desks);

	for (unsigned k = EG_DESK_FIRST; k < w->desks->n; k++) {
		uint32_t incarnation = atomic_load(&m->seats[k].incarnation);

		if (atomic_load_explicit(&m->seats[k].state, memory_order_acquire) != EG_DESK_DEAD
		    || atomic_load(&page->drained[k]) == incarnation || !lanes_drain(&w->lanes, k))
			continue;
		atomic_store_explicit(&page->drained[k], incarnation, memory_order_release);
		FAULT(DESK_DRAINED);
		desk_ring_always(w->desks, EG_DESK_MASTER);
	}
}

/* All entries that the last writer left are answered: what the log says of them is
 * needed no more, and the next writer need not look for it. */
static void caught_up(struct writer *w)
{
	if (w->admit.logged.n == 0 || !lanes_resumed(&w->lanes))
		return;
	logged_clear(&w->admit.logged);
	appliers_hold_acked(&w->appliers, false);
}

static void fold_event(struct writer *w, uint64_t ref, uint64_t what)
{
	uint32_t number = (uint32_t)(ref >> 32);
	struct engram e;
	struct slot *s;
	uint64_t count;

	if (!slot_get(&w->store.store, number, (uint32_t)ref, &e))
		return;
	s = slot_for_write(&w->store, number);
	count = (what & 0xff) == EG_ACCESS_RECALL ? UINT64_C(1) << 32 : 1;
	atomic_fetch_add_explicit(&s->accesses, count, memory_order_relaxed);
	atomic_store_explicit(&s->last_access_ms, what >> 8, memory_order_relaxed);
	FAULT(ACCESS_FOLDED);
}

/* Read the access ring of a desk; what was overwritten meanwhile is counted. */
static void fold_access(struct writer *w, unsigned desk)
{
	_Atomic uint64_t *read = &desk_wal(w->desks)->access_read[desk];
	uint64_t head = atomic_load_explicit(desk_access_head(w->desks, desk), memory_order_acquire);
	uint64_t at = atomic_load(read);

	if (head - at > EG_ACCESS_RING) {
		metric_add(M_ACCESS_DROPPED, head - at - EG_ACCESS_RING);
		at = head - EG_ACCESS_RING;
	}
	for (; at < head; at++) {
		struct access_event *a = &desk_access(w->desks, desk)[at % EG_ACCESS_RING];
		uint64_t seq = atomic_load_explicit(&a->seq, memory_order_acquire), ref, what;

		ref = atomic_load_explicit(&a->ref, memory_order_relaxed);
		what = atomic_load_explicit(&a->what, memory_order_relaxed);
		atomic_thread_fence(memory_order_acquire);
		if (seq == at + 1 && atomic_load_explicit(&a->seq, memory_order_relaxed) == seq)
			fold_event(w, ref, what);
		else
			metric_add(M_ACCESS_DROPPED, 1);
	}
	atomic_store(read, at);
}

void writer_graph_min(struct writer *w)
{
	uint32_t least = (uint32_t)w->config->hnsw_index_exact_below;

	/* 0: every space with a vector. */
	if (atomic_exchange(&w->store.graph_min, least > 0 ? least : 1) != least)
		linkers_look_at_all(&w->store);
}

/* Take over reload-safe keys when the master has published another generation. */
static void follow_config(struct writer *w)
{
	const struct heritage *h = w->heritage;
	uint32_t generation = atomic_load(&desk_master(w->desks)->config_generation);
	struct config_messages said;
	struct config *c;

	clock_set_offset_seconds(atomic_load(&desk_master(w->desks)->clock_offset_seconds));
	if (generation == w->generation)
		return;
	w->generation = generation;
	c = config_load(h->config_path, h->overrides, h->n_overrides, &said);
	if (c == NULL) {
		LOG_ERROR("configuration generation %u cannot be read; the old one stays", generation);
		metric_add(M_CONFIG_FAILED, 1);
		return;
	}
	w->config = w->admit.config = c;
	config_free(w->reloaded);
	w->reloaded = c;
	writer_graph_min(w);
	if (log_open(c->logging_file, (enum log_level)c->logging_level, (enum log_format)c->logging_format) != EG_E_OK)
		LOG_ERROR("logging.file cannot be opened; the log goes on where it was");
	metric_add(M_CONFIG_RELOADS, 1);
	atomic_store(&desk_header(w->desks, EG_DESK_WAL)->config_generation, generation);
	FAULT(CONFIG_FOLLOWED);
	LOG_INFO("configuration generation %u is in force", generation);
}

void upkeep(struct writer *w, bool busy)
{
	int64_t now = clock_mono_ns();

	desk_beat(w->desks);
	drain_dead(w);
	caught_up(w);
	if (busy && now < w->next_upkeep_ns - EG_UPKEEP_NS + EG_UPKEEP_BUSY_NS)
		return;
	(void)reclaim(&w->store);
	if (now < w->next_upkeep_ns)
		return;
	w->next_upkeep_ns = now + EG_UPKEEP_NS;
	follow_config(w);
	linkers_upkeep(&w->linkers);
	for (unsigned k = EG_DESK_FIRST; k < w->desks->n; k++)
		fold_access(w, k);
	metrics_report_memory(w->desks);
	metric_add(M_CPU_WAL, metric_cpu_ns(&w->cpu_ns));
	metric_add(M_DISK_READ, io_counts.read_bytes - w->read_bytes);
	w->read_bytes = io_counts.read_bytes;
	log_flush();
}
