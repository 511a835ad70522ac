/* GET /api/v1/system/introspect: what this server is, and how it stands. */
#include "config.h"

#include <dirent.h>
#include <numa.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/vec.h"
#include "shm/graph.h"
#include "wal/mirror.h"
#include "workers/api/backup_api.h"
#include "workers/api/health.h"
#include "workers/api/routes.h"

static void add_config(struct buf *b, const struct config *c)
{
	buf_puts(b, "\"config\":{");
	for (size_t i = 0; i < CONFIG_KEY_COUNT; i++) {
		char *value = config_value_json(c, i);
		buf_puts(b, i ? "," : "");
		buf_json_text(b, config_key(i)->name);
		buf_putc(b, ':');
		buf_puts(b, value ? value : "null");
		free(value);
	}
	buf_puts(b, "}");
}

static const char *kind_name(uint32_t kind)
{
	static const char *const names[] = {
		[EG_PROCESS_MASTER] = "master", [EG_PROCESS_WAL] = "wal",
		[EG_PROCESS_WORKER] = "worker", [EG_PROCESS_CONSOLIDATION] = "consolidation",
	};

	return kind < sizeof names / sizeof *names ? names[kind] : "unknown";
}

static const char *seat_state(const struct desks *d, unsigned i)
{
	const struct seat *s = &desk_master(d)->seats[i];

	if (atomic_load(&s->state) == EG_DESK_DEAD)
		return "ended";
	if (i != EG_DESK_MASTER && !atomic_load(&desk_header(d, i)->ready))
		return "starting";
	return "running";
}

static void add_processes(struct buf *b, const struct desks *d)
{
	bool first = true;

	buf_puts(b, "\"processes\":[");
	for (unsigned i = 0; i < d->n; i++) {
		const struct seat *s = &desk_master(d)->seats[i];
		if (atomic_load(&s->state) != EG_DESK_BUSY)
			continue;
		buf_printf(b, "%s{\"kind\":\"%s\",\"pid\":%d,\"node\":%u,\"state\":\"%s\",\"restarts\":%u,\"generation\":%u}",
		           first ? "" : ",", kind_name(atomic_load(&s->kind)), atomic_load(&s->pid),
		           atomic_load(&s->node), seat_state(d, i), atomic_load(&s->restarts),
		           atomic_load(&desk_header(d, i)->config_generation));
		first = false;
	}
	buf_puts(b, "]");
}

static void add_memory(struct buf *b, const struct service *s, bool attached)
{
	uint64_t huge = 0, plain = 0;

	if (attached)
		store_pages(&s->store, &huge, &plain);
	buf_printf(b, "\"memory\":{\"kind\":\"%s\",\"reattachable\":%s,\"bytes_by_kind\":{\"huge\":%lu,\"plain\":%lu}}",
	           huge ? "posix_shm_huge" : "posix_shm", attached ? "true" : "false", huge, plain);
}

static void add_numa(struct buf *b, const struct config *c)
{
	buf_printf(b, "\"numa\":{\"nodes\":%d,\"socket_memory_mb\":[", numa_available() < 0 ? 1 : numa_num_configured_nodes());
	for (size_t i = 0; i < c->numa_socket_memory_mb.n; i++)
		buf_printf(b, "%s%ld", i ? "," : "", c->numa_socket_memory_mb.v[i]);
	buf_puts(b, "]}");
}

static void add_embedder(struct buf *b, const struct config *c)
{
	static const char *const providers[] = { "builtin", "http", "none" };

	buf_printf(b, "\"embedder\":{\"provider\":\"%s\",\"model\":", providers[c->embedding_provider]);
	buf_json_text(b, c->embedding_provider == CONFIG_PROVIDER_BUILTIN ? "builtin" : *c->embedding_model ? c->embedding_model : NULL);
	buf_printf(b, ",\"dimension\":%ld}", c->embedding_dimension);
}

/* How far a recovery would have to go, and what it would take: measured, not guessed. */
static void add_checkpoint(struct buf *b, const struct wal_page *wal, const struct root *root)
{
	const struct checkpoint_page *p = &wal->checkpoint;
	uint64_t work = root ? atomic_load(&root->work_ns) : 0, then = root ? atomic_load(&root->checkpoint_work_ns) : 0;
	char when[EG_CLOCK_TEXT] = "";

	if (atomic_load(&p->created_us))
		clock_format(atomic_load(&p->created_us), when);
	buf_printf(b, ",\"checkpoint\":{\"id\":%lu,\"start_lsn\":%lu,\"rows\":%lu,\"bytes\":%lu,\"disk_bytes\":%lu,\"created_at\":",
	           atomic_load(&p->id), atomic_load(&p->start_lsn), atomic_load(&p->rows), atomic_load(&p->bytes),
	           atomic_load(&p->disk_bytes));
	buf_json_text(b, *when ? when : NULL);
	buf_printf(b, ",\"fell_back\":%s,\"replay_seconds\":%.3f}", atomic_load(&p->fell_back) ? "true" : "false",
	           (double)(work > then ? work - then : 0) / 1e9);
}

static void add_graphs(struct buf *b, const struct store *s)
{
	struct graph_totals t = { 0 };

	if (s != NULL)
		graph_totals(s, &t);
	buf_printf(b, ",\"graphs\":{\"building\":%lu,\"catching\":%lu,\"ready\":%lu,\"indexed\":%lu,\"unlinked\":%lu}",
	           t.graphs[EG_GRAPH_BUILDING], t.graphs[EG_GRAPH_CATCHING], t.graphs[EG_GRAPH_READY], t.indexed,
	           t.ring + t.build);
}

static const char *const mirror_words[] = {
	[MIRROR_NONE] = "none", [MIRROR_WHOLE] = "whole", [MIRROR_LOST] = "lost", [MIRROR_MAIN_LOST] = "alone",
	[MIRROR_REBUILDING] = "rebuilding",
};

enum verdict system_introspect(struct request *r, struct worker_thread *t)
{
	const struct service *s = r->loop->service;
	const struct wal_page *wal = desk_wal(t->desks);
	bool attached = atomic_load(&s->state) == SERVICE_READY;
	uint64_t total = attached ? atomic_load(&s->store.root->counts.memories) : 0;
	struct fault f;
	struct buf *b = &r->out;

	if (request_query_check(r, (const char *const[]){ NULL }, &f))
		return reply_fault(r, &f, NULL);
	buf_puts(b, "{\"version\":");
	buf_json_text(b, PACKAGE_VERSION);
	buf_putc(b, ',');
	add_config(b, r->config);
	buf_putc(b, ',');
	add_processes(b, t->desks);
	buf_putc(b, ',');
	add_memory(b, s, attached);
	buf_putc(b, ',');
	add_numa(b, r->config);
	buf_printf(b, ",\"vector_kernel\":\"%s\",", vec_name());
	add_embedder(b, r->config);
	buf_printf(b, ",\"wal\":{\"lsn\":%lu,\"durable_lsn\":%lu,\"segments\":%u,\"warm_segments\":%u", atomic_load(&wal->lsn),
	           atomic_load(&wal->durable_lsn), atomic_load(&wal->segments), atomic_load(&wal->checkpoint.warm_segments));
	if (atomic_load(&wal->mirror_state) != MIRROR_NONE)
		buf_printf(b, ",\"mirror\":{\"state\":\"%s\",\"copies_lost\":%lu}",
		           mirror_words[atomic_load(&wal->mirror_state)], atomic_load(&wal->mirror_losses));
	if (atomic_load(&wal->lost_ranges) > 0)
		buf_printf(b, ",\"accepted_loss\":{\"ranges\":%u,\"records\":%lu,\"first_lsn\":%lu,\"last_lsn\":%lu}",
		           atomic_load(&wal->lost_ranges), atomic_load(&wal->lost_records), atomic_load(&wal->lost_first),
		           atomic_load(&wal->lost_last));
	buf_puts(b, "}");
	add_checkpoint(b, wal, attached ? s->store.root : NULL);
	add_graphs(b, attached ? &s->store : NULL);
	buf_puts(b, ",\"backup\":");
	backup_json(b, &wal->backup);
	/* Every memory is in shared memory as long as nothing demotes one. */
	buf_printf(b, ",\"counts\":{\"hot\":%lu,\"warm\":0,\"cold\":0,\"total\":%lu}", total, total);
	buf_printf(b, ",\"testing\":{\"clock_offset_seconds\":%ld}}\n", clock_offset_seconds());
	return reply_json(r, 200);
}
