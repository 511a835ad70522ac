/* Metrics: words on the own desk that only this process counts up.
 *
 * A process writes its own words and nobody resets them, so the sum over all
 * desks only grows, whoever dies. Gauges describe living processes: they start
 * at 0 with each process and only busy desks are summed.
 * Before metrics_attach() (unit tests, tools) counts go to a private array.
 *
 * Must never be added: metrics found by a name at run time, labels from data.
 */
#ifndef SHM_METRICS_H
#define SHM_METRICS_H

#include <stdatomic.h>
#include <stdint.h>

#include "shm/desk.h"

/* Upper bounds of the histograms' buckets; a last one, without a bound, follows. */
#define EG_DURATION_BOUNDS { 50000, 100000, 250000, 500000, 1000000, 2500000, 5000000, 10000000, \
	20000000, 50000000, 100000000, 250000000, 1000000000, 5000000000 }  /* ns */
#define EG_SIZE_BOUNDS { 0, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000 }
enum { EG_DURATION_BUCKETS = 15, EG_SIZE_BUCKETS = 12 };

enum metric_kind { METRIC_COUNTER, METRIC_SECONDS, METRIC_GAUGE, METRIC_DURATIONS, METRIC_SIZES };

/* Words of each kind: a histogram has its buckets (not cumulated) and the sum. */
#define EG_WORDS_COUNTER 1
#define EG_WORDS_SECONDS 1
#define EG_WORDS_GAUGE 1
#define EG_WORDS_DURATIONS (EG_DURATION_BUCKETS + 1)
#define EG_WORDS_SIZES (EG_SIZE_BUCKETS + 1)

enum metric {
#define X(id, kind, family, labels, help) M_##id, M_LAST_##id = M_##id + EG_WORDS_##kind - 1,
#include "shm/metrics.def"
#undef X
	M_WORDS
};
_Static_assert(M_WORDS <= EG_COUNTERS_MAX, "a desk has no more counters");

struct metric_row {
	enum metric metric;
	enum metric_kind kind;
	const char *family, *labels, *help;
};

/* The table; *n is the number of rows. */
const struct metric_row *metric_rows(unsigned *n);

/* Count on the own desk from now on; its gauges become 0. */
void metrics_attach(const struct desks *d);

extern _Atomic uint64_t *metric_words;   /* for the inline functions only */

static inline void metric_add(enum metric m, uint64_t n)
{
	atomic_fetch_add_explicit(&metric_words[m], n, memory_order_relaxed);
}
static inline void metric_sub(enum metric m, uint64_t n)   /* gauges */
{
	atomic_fetch_sub_explicit(&metric_words[m], n, memory_order_relaxed);
}
static inline void metric_set(enum metric m, uint64_t n)   /* gauges */
{
	atomic_store_explicit(&metric_words[m], n, memory_order_relaxed);
}
/* One observation of a histogram: nanoseconds for DURATIONS, a count for SIZES. */
void metric_observe_ns(enum metric m, uint64_t ns);
void metric_observe_size(enum metric m, uint64_t n);

/* Word m summed over all desks; only those in use when `living`. */
uint64_t metric_sum(const struct desks *d, unsigned word, bool living);

/* Resident memory of this process onto its desk: private, and shared. */
void metrics_report_memory(const struct desks *d);

/* CPU time of the calling thread since the last call with the same *last, in ns. */
uint64_t metric_cpu_ns(uint64_t *last);

#endif
