/* See prom.h. GET /metrics, /metrics/prometheus. */
#include "config.h"

#include "workers/api/prom.h"

#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "common/clock.h"
#include "shm/metrics.h"
#include "workers/api/health.h"
#include "workers/api/routes.h"

/* ---- rows of the table */

static void head(struct buf *b, const char *family, const char *type, const char *help)
{
	buf_printf(b, "# HELP %s %s\n# TYPE %s %s\n", family, help, family, type);
}

static void line(struct buf *b, const char *family, const char *labels, const char *value)
{
	buf_printf(b, *labels ? "%s{%s} %s\n" : "%s%s %s\n", family, labels, value);
}

static void line_uint(struct buf *b, const char *family, const char *labels, uint64_t v)
{
	char text[24];

	snprintf(text, sizeof text, "%" PRIu64, v);
	line(b, family, labels, text);
}

static void line_seconds(struct buf *b, const char *family, const char *labels, uint64_t ns)
{
	char text[40];

	snprintf(text, sizeof text, "%" PRIu64 ".%09" PRIu64, ns / 1000000000, ns % 1000000000);
	line(b, family, labels, text);
}

/* A bound in seconds without trailing zeros, as text. */
static void bound_text(uint64_t bound, bool seconds, char out[32])
{
	if (!seconds) {
		snprintf(out, 32, "%" PRIu64, bound);
		return;
	}
	snprintf(out, 32, "%" PRIu64 ".%09" PRIu64, bound / 1000000000, bound % 1000000000);
	while (out[strlen(out) - 1] == '0')
		out[strlen(out) - 1] = '\0';
	if (out[strlen(out) - 1] == '.')
		strcat(out, "0");
}

static void histogram(struct buf *b, const struct desks *d, const struct metric_row *row)
{
	static const uint64_t durations[] = EG_DURATION_BOUNDS, sizes[] = EG_SIZE_BOUNDS;
	bool seconds = row->kind == METRIC_DURATIONS;
	unsigned n = seconds ? EG_DURATION_BUCKETS : EG_SIZE_BUCKETS;
	const char *comma = *row->labels ? "," : "";
	uint64_t count = 0;
	char name[128], le[32];

	for (unsigned i = 0; i < n; i++) {
		count += metric_sum(d, row->metric + i, false);
		if (i + 1 < n)
			bound_text(seconds ? durations[i] : sizes[i], seconds, le);
		else
			strcpy(le, "+Inf");
		buf_printf(b, "%s_bucket{%s%sle=\"%s\"} %" PRIu64 "\n", row->family, row->labels, comma, le, count);
	}
	snprintf(name, sizeof name, "%s_sum", row->family);
	if (seconds)
		line_seconds(b, name, row->labels, metric_sum(d, row->metric + n, false));
	else
		line_uint(b, name, row->labels, metric_sum(d, row->metric + n, false));
	snprintf(name, sizeof name, "%s_count", row->family);
	line_uint(b, name, row->labels, count);
}

static void table(struct buf *b, const struct desks *d)
{
	unsigned n;
	const struct metric_row *rows = metric_rows(&n);

	for (const struct metric_row *row = rows; row < rows + n; row++) {
		static const char *const types[] = {
			[METRIC_COUNTER] = "counter", [METRIC_SECONDS] = "counter", [METRIC_GAUGE] = "gauge",
			[METRIC_DURATIONS] = "histogram", [METRIC_SIZES] = "histogram",
		};
		if (*row->help)
			head(b, row->family, types[row->kind], row->help);
		switch (row->kind) {
		case METRIC_COUNTER: line_uint(b, row->family, row->labels, metric_sum(d, row->metric, false)); break;
		case METRIC_SECONDS: line_seconds(b, row->family, row->labels, metric_sum(d, row->metric, false)); break;
		case METRIC_GAUGE: line_uint(b, row->family, row->labels, metric_sum(d, row->metric, true)); break;
		case METRIC_DURATIONS:
		case METRIC_SIZES: histogram(b, d, row); break;
		}
	}
}

/* ---- computed */

static void one(struct buf *b, const char *family, const char *type, const char *help, uint64_t v)
{
	head(b, family, type, help);
	line_uint(b, family, "", v);
}

/* Shared pages once: every process maps the same ones, so the largest count is nearest. */
static uint64_t family_bytes(const struct desks *d)
{
	uint64_t private_bytes = 0, shared = 0, s;

	for (unsigned i = 0; i < d->n; i++) {
		if (atomic_load(&desk_master(d)->seats[i].state) != EG_DESK_BUSY)
			continue;
		private_bytes += atomic_load(&desk_header(d, i)->resident_bytes);
		s = atomic_load(&desk_header(d, i)->shared_bytes);
		shared = s > shared ? s : shared;
	}
	return private_bytes + shared;
}

static void tiers(struct buf *b, const struct store *store)
{
	const struct store_counts *c = store ? &store->root->counts : NULL;
	uint64_t n = c ? atomic_load(&c->memories) : 0, bytes = c ? atomic_load(&c->raw_bytes) : 0;

	/* Nothing is demoted yet: every memory is hot. */
	head(b, "engram_storage_tier_memories_count", "gauge", "Memories by tier.");
	line_uint(b, "engram_storage_tier_memories_count", "tier=\"hot\"", n);
	line_uint(b, "engram_storage_tier_memories_count", "tier=\"warm\"", 0);
	line_uint(b, "engram_storage_tier_memories_count", "tier=\"cold\"", 0);
	head(b, "engram_storage_tier_bytes", "gauge", "Bytes of memories by tier.");
	line_uint(b, "engram_storage_tier_bytes", "tier=\"hot\"", bytes);
	line_uint(b, "engram_storage_tier_bytes", "tier=\"warm\"", 0);
	line_uint(b, "engram_storage_tier_bytes", "tier=\"cold\"", 0);
	one(b, "engram_data_bytes", "gauge", "Raw bytes of live memories: content, metadata, vectors given or derived.", bytes);
	one(b, "engram_data_given_bytes", "gauge", "The same without vectors that the server derived.", bytes - (c ? atomic_load(&c->derived_bytes) : 0));
	one(b, "engram_data_size_bytes", "gauge", "Bytes of data taken in since the store was made; only grows.", c ? atomic_load(&c->taken_bytes) : 0);
	one(b, "engram_memory_spaces", "gauge", "Memory spaces.", c ? atomic_load(&c->spaces) : 0);
	one(b, "engram_vectors", "gauge", "Vectors of live memories.", c ? atomic_load(&c->vectors) : 0);
}

static void pages(struct buf *b, const struct store *store)
{
	uint64_t huge = 0, plain = 0;

	if (store)
		store_pages(store, &huge, &plain);
	head(b, "engram_huge_page_bytes", "gauge", "Bytes of the store's shared memory by kind of page.");
	line_uint(b, "engram_huge_page_bytes", "kind=\"huge\"", huge);
	line_uint(b, "engram_huge_page_bytes", "kind=\"plain\"", plain);
}

static void wal(struct buf *b, const struct desks *d)
{
	const struct wal_page *w = desk_wal(d);
	uint64_t since = atomic_load(&w->unsynced_since_ns), now = (uint64_t)clock_mono_ns();

	one(b, "engram_wal_lsn", "gauge", "Last log sequence number given.", atomic_load(&w->lsn));
	one(b, "engram_wal_durable_lsn", "gauge", "Last log sequence number on stable storage.", atomic_load(&w->durable_lsn));
	one(b, "engram_wal_segments", "gauge", "Segments of the log.", atomic_load(&w->segments));
	head(b, "engram_wal_unsynced_seconds", "gauge", "Age of the oldest record that is not synced yet.");
	line_seconds(b, "engram_wal_unsynced_seconds", "", since && now > since ? now - since : 0);
	head(b, "engram_wal_recovery_duration_seconds", "gauge", "Time that the last recovery took.");
	line_seconds(b, "engram_wal_recovery_duration_seconds", "", atomic_load(&w->recovery_ns));
	head(b, "engram_disk_bytes", "gauge", "Bytes on disk by area of the data directory.");
	line_uint(b, "engram_disk_bytes", "area=\"wal\"", atomic_load(&w->log_bytes));
	line_uint(b, "engram_disk_bytes", "area=\"checkpoints\"", atomic_load(&w->checkpoint.disk_bytes));
	one(b, "engram_wal_warm_segments", "gauge", "Segments of the log that no recovery replays, kept for their memories.", atomic_load(&w->checkpoint.warm_segments));
	one(b, "engram_checkpoint_lsn", "gauge", "Log sequence number from which the checkpoint in force is replayed.", atomic_load(&w->checkpoint.start_lsn));
	one(b, "engram_disk_writes_bytes_total", "counter", "Bytes written by the storage layer.", metric_sum(d, M_DISK_WRITE, false));
}

/* A role's count stands on each seat that it has had; the largest is the newest. */
static bool superseded(const struct desks *d, unsigned i)
{
	const struct seat *seats = desk_master(d)->seats, *s = &seats[i];

	for (unsigned j = EG_DESK_WAL; j < d->n; j++) {
		const struct seat *o = &seats[j];
		uint32_t mine = atomic_load(&s->restarts), other = atomic_load(&o->restarts);
		if (j != i && atomic_load(&o->started_us) && atomic_load(&o->kind) == atomic_load(&s->kind) &&
		    atomic_load(&o->index) == atomic_load(&s->index) && (other > mine || (other == mine && j < i)))
			return true;
	}
	return false;
}

static void restarts(struct buf *b, const struct desks *d)
{
	static const char *const labels[] = {
		[EG_PROCESS_WAL] = "kind=\"wal\"", [EG_PROCESS_WORKER] = "kind=\"worker\"",
		[EG_PROCESS_CONSOLIDATION] = "kind=\"consolidation\"",
	};
	uint64_t n[EG_PROCESS_CONSOLIDATION + 1] = { 0 };

	for (unsigned i = EG_DESK_WAL; i < d->n; i++) {
		const struct seat *s = &desk_master(d)->seats[i];
		if (atomic_load(&s->started_us) && atomic_load(&s->kind) <= EG_PROCESS_CONSOLIDATION && !superseded(d, i))
			n[atomic_load(&s->kind)] += atomic_load(&s->restarts);
	}
	head(b, "engram_process_restarts_total", "counter", "Processes that had to be replaced, by kind.");
	for (unsigned kind = EG_PROCESS_WAL; kind <= EG_PROCESS_CONSOLIDATION; kind++)
		line_uint(b, "engram_process_restarts_total", labels[kind], n[kind]);
}

/* ---- the standard process_* names */

/* Fields 14 to 17 of /proc/PID/stat: own user, system; of reaped children. */
static bool cpu_ticks(int pid, unsigned long t[4], unsigned long *vsize)
{
	char path[40], text[1024], *at;
	FILE *in;
	size_t n;

	snprintf(path, sizeof path, "/proc/%d/stat", pid);
	in = fopen(path, "re");
	n = in ? fread(text, 1, sizeof text - 1, in) : 0;
	if (in)
		fclose(in);
	text[n] = '\0';
	at = strrchr(text, ')');
	return at && sscanf(at + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu %lu %lu %*d %*d %*d %*d %*u %lu",
	                    &t[0], &t[1], &t[2], &t[3], vsize) == 5;
}

/* The whole family: living processes, and what the master has reaped. */
static void cpu_and_virtual(struct buf *b, const struct desks *d)
{
	unsigned long ticks = 0, t[4], vsize, all = 0;
	double hz = (double)sysconf(_SC_CLK_TCK);

	for (unsigned i = 0; i < d->n; i++) {
		const struct seat *s = &desk_master(d)->seats[i];
		if (atomic_load(&s->state) != EG_DESK_BUSY || !cpu_ticks(atomic_load(&s->pid), t, &vsize))
			continue;
		ticks += t[0] + t[1] + (i == EG_DESK_MASTER ? t[2] + t[3] : 0);
		all += vsize;
	}
	head(b, "process_cpu_seconds_total", "counter", "Processor time of all processes of the server.");
	line_seconds(b, "process_cpu_seconds_total", "", (uint64_t)((double)ticks / hz * 1e9));
	one(b, "process_virtual_memory_bytes", "gauge", "Virtual memory of all processes of the server.", all);
}

static uint64_t open_files(void)
{
	DIR *dir = opendir("/proc/self/fd");
	uint64_t n = 0;

	while (dir && readdir(dir))
		n++;
	if (dir)
		closedir(dir);
	return n > 3 ? n - 3 : 0;      /* ".", ".." and the folder itself */
}

static void process(struct buf *b, const struct desks *d)
{
	struct rlimit files = { 0, 0 };

	cpu_and_virtual(b, d);
	one(b, "process_resident_memory_bytes", "gauge", "Resident memory of all processes of the server, shared pages once.", family_bytes(d));
	getrlimit(RLIMIT_NOFILE, &files);
	one(b, "process_open_fds", "gauge", "Open descriptors of the worker process that made this page.", open_files());
	one(b, "process_max_fds", "gauge", "Most descriptors that it may have.", files.rlim_cur);
	head(b, "process_start_time_seconds", "gauge", "When the server started, in seconds since 1970.");
	line_seconds(b, "process_start_time_seconds", "", atomic_load(&desk_master(d)->seats[EG_DESK_MASTER].started_us) * 1000);
}

void prom_page(struct buf *b, const struct desks *d, const struct store *store)
{
	table(b, d);
	one(b, "engram_memory_bytes", "gauge", "Resident memory of the server's processes, shared pages once.", family_bytes(d));
	tiers(b, store);
	pages(b, store);
	wal(b, d);
	restarts(b, d);
	head(b, "engram_build_info", "gauge", "Version of the program.");
	line(b, "engram_build_info", "version=\"" PACKAGE_VERSION "\"", "1");
	process(b, d);
}

enum verdict prom_metrics(struct request *r, struct worker_thread *t)
{
	bool attached = atomic_load(&r->loop->service->state) == SERVICE_READY;

	prom_page(&r->out, t->desks, attached ? t->store : NULL);
	return reply_text(r, 200, "text/plain; version=0.0.4; charset=utf-8");
}
