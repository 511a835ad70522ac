/* Searches of a running server's graph, by the very code of its workers, in a process that maps the store
 * read-only as they do. See contrib/bench/ann, which runs it.
 *
 *	ann_store --lines BASE DIM                     memories for engram import: r0, r1, ...
 *	ann_store PREFIX SPACE QUERIES EXACT DIM       for each line "EF" of input: "EF recall@10 queries/s"
 *
 * BASE and QUERIES are rows of half floats, EXACT rows of 20 numbers of base rows, nearest first.
 * One thread; nobody writes meanwhile, so it needs no epoch.
 */
#include <string.h>

#include "common/clock.h"
#include "common/config.h"
#include "common/vec.h"
#include "contrib/bench/ann_rows.h"
#include "shm/body.h"
#include "shm/graph.h"
#include "shm/slot.h"
#include "shm/space.h"

enum { K = 10, EXACT = 20 };

static int lines(const char *path, unsigned dim)
{
	size_t n;
	float *rows = read_rows(path, dim, dim, &n);

	for (size_t i = 0; i < n; i++) {
		printf("{\"id\":\"r%zu\",\"content\":\"%zu\",\"embedding\":[", i, i);
		for (unsigned k = 0; k < dim; k++)
			printf("%s%.5g", k > 0 ? "," : "", (double)rows[i * dim + k]);
		puts("]}");
	}
	free(rows);
	return 0;
}

struct ann {
	struct store store;
	const struct graph *graph;
	struct graph_scratch scratch;
	float *queries;
	size_t n;
	unsigned stride;
	int32_t *exact;
};

static uint64_t boot_of(const char *prefix)
{
	char path[128];
	size_t bytes;
	struct root *root;
	uint64_t boot;

	snprintf(path, sizeof path, "/dev/shm%sroot", prefix);
	root = read_file(path, &bytes);
	boot = atomic_load(&root->boot_id);
	free(root);
	return boot;
}

static bool begin(struct ann *a, char **argv)
{
	const struct space *sp;
	struct fault f;
	size_t bytes;

	if (vec_init(true, "auto") != NULL)
		return false;
	if (store_attach(&a->store, argv[1], boot_of(argv[1]), &f) != EG_E_OK) {
		fprintf(stderr, "%s\n", f.message);
		return false;
	}
	sp = space_find(&a->store, argv[2], strlen(argv[2]));
	a->graph = sp == NULL ? NULL : graph_ready(&a->store, sp);
	if (a->graph == NULL) {
		fprintf(stderr, "space %s has no graph\n", argv[2]);
		return false;
	}
	a->stride = node_stride(node_class((unsigned)atoi(argv[5])));
	a->queries = read_rows(argv[3], (unsigned)atoi(argv[5]), a->stride, &a->n);
	a->exact = read_file(argv[4], &bytes);
	graph_scratch_init(&a->scratch);
	return bytes == a->n * EXACT * sizeof *a->exact;
}

static void round_of(struct ann *a, unsigned ef)
{
	int64_t began = clock_mono_ns();
	uint32_t *found = calloc(a->n * K, sizeof *found);
	unsigned right = 0;
	double seconds;

	for (size_t i = 0; i < a->n; i++) {
		struct graph_hit hits[K];
		size_t n = graph_search(&a->store, a->graph, &a->scratch, a->queries + i * a->stride, ef, K, hits);

		for (size_t k = 0; k < n; k++) {
			struct engram e;

			if (slot_get(&a->store, (uint32_t)(hits[k].owner >> 32), (uint32_t)hits[k].owner, &e))
				found[i * K + k] = (uint32_t)strtoul(body_id(e.body) + 1, NULL, 10);
		}
	}
	seconds = (double)(clock_mono_ns() - began) / 1e9;
	for (size_t i = 0; i < a->n; i++)
		right += right_ones(found + i * K, K, a->exact + i * EXACT);
	printf("%u %.5f %.1f\n", ef, (double)right / (double)(a->n * K), (double)a->n / seconds);
	fflush(stdout);
	free(found);
}

int main(int argc, char **argv)
{
	struct ann a = { 0 };
	unsigned ef;

	if (argc == 4 && strcmp(argv[1], "--lines") == 0)
		return lines(argv[2], (unsigned)atoi(argv[3]));
	if (argc != 6) {
		fprintf(stderr, "usage: ann_store --lines BASE DIM | ann_store PREFIX SPACE QUERIES EXACT DIM\n");
		return 2;
	}
	if (!begin(&a, argv))
		return 1;
	while (scanf("%u", &ef) == 1)
		round_of(&a, ef);
	graph_scratch_fini(&a.scratch);
	store_detach(&a.store);
	return 0;
}
