/* See metrics.h. */
#include "shm/metrics.h"

#include <stdio.h>
#include <time.h>

static _Atomic uint64_t private_words[M_WORDS];
_Atomic uint64_t *metric_words = private_words;

static const struct metric_row rows[] = {
#define X(id, kind, family, labels, help) { M_##id, METRIC_##kind, family, labels, help },
#include "shm/metrics.def"
#undef X
};

const struct metric_row *metric_rows(unsigned *n)
{
	*n = sizeof rows / sizeof *rows;
	return rows;
}

void metrics_attach(const struct desks *d)
{
	EG_ASSERT(d->self >= 0);
	metric_words = desk_counters(d, (unsigned)d->self);
	for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++)
		if (rows[i].kind == METRIC_GAUGE)
			metric_set(rows[i].metric, 0);
}

static const uint64_t duration_bounds[] = EG_DURATION_BOUNDS;
static const uint64_t size_bounds[] = EG_SIZE_BOUNDS;
_Static_assert(sizeof duration_bounds / 8 + 1 == EG_DURATION_BUCKETS, "one bucket more than bounds");
_Static_assert(sizeof size_bounds / 8 + 1 == EG_SIZE_BUCKETS, "one bucket more than bounds");

static void observe(enum metric m, uint64_t v, const uint64_t *bounds, unsigned buckets)
{
	unsigned i = 0;

	while (i < buckets - 1 && v > bounds[i])
		i++;
	metric_add(m + i, 1);
	metric_add(m + buckets, v);
}

void metric_observe_ns(enum metric m, uint64_t ns)
{
	observe(m, ns, duration_bounds, EG_DURATION_BUCKETS);
}

void metric_observe_size(enum metric m, uint64_t n)
{
	observe(m, n, size_bounds, EG_SIZE_BUCKETS);
}

uint64_t metric_sum(const struct desks *d, unsigned word, bool living)
{
	const struct master_page *master = desk_master(d);
	uint64_t sum = 0;

	for (unsigned i = 0; i < d->n; i++) {
		if (living && atomic_load(&master->seats[i].state) != EG_DESK_BUSY)
			continue;
		sum += atomic_load_explicit(&desk_counters(d, i)[word], memory_order_relaxed);
	}
	return sum;
}

uint64_t metric_cpu_ns(uint64_t *last)
{
	struct timespec t;
	uint64_t now, used;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	now = (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
	used = now - *last;
	*last = now;
	return used;
}

void metrics_report_memory(const struct desks *d)
{
	struct desk_header *h = desk_header(d, (unsigned)d->self);
	FILE *in = fopen("/proc/self/status", "re");
	unsigned long kb, private_kb = 0, shared_kb = 0;
	char line[128];

	while (in && fgets(line, sizeof line, in)) {
		if (sscanf(line, "RssAnon: %lu", &kb) == 1)
			private_kb += kb;
		else if (sscanf(line, "RssFile: %lu", &kb) == 1 || sscanf(line, "RssShmem: %lu", &kb) == 1)
			shared_kb += kb;
	}
	if (in)
		fclose(in);
	atomic_store_explicit(&h->resident_bytes, (uint64_t)private_kb << 10, memory_order_relaxed);
	atomic_store_explicit(&h->shared_bytes, (uint64_t)shared_kb << 10, memory_order_relaxed);
}
