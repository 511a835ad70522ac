/* A store whose spaces have graphs, driven through apply and the linking thread's steps, with
 * the vectors kept aside: for tests of graphs against the exact answer. Random, clustered
 * vectors; the seed is shm_bench's. */
#ifndef T_GRAPH_BENCH_H
#define T_GRAPH_BENCH_H

#include "t/unit/shm_bench.h"
#include "wal/linker.h"

#define GB_MEMORIES 40000u
#define GB_DIM 40u                 /* rounded up in its class, and in codes */
#define GB_CLUSTERS 24u

struct graph_bench {
	struct shm_bench *s;
	struct linkers l;
	struct graph_scratch scratch;
	float (*vector)[GB_DIM];       /* of memory i */
	uint8_t *alive;
	uint32_t n;                    /* memories 0 .. n - 1 were stored at some time */
	uint64_t lsn;
	float centre[GB_CLUSTERS][GB_DIM];
};

int gb_open(void **state);         /* graph_min 400; space 0 */
int gb_close(void **state);
/* Store memory i, anew or as another version, with another random vector. dim, flags: of the record. */
void gb_store(struct graph_bench *b, uint32_t space, uint32_t i, unsigned dim, unsigned flags);
void gb_put(struct graph_bench *b, uint32_t i);             /* into space 0, GB_DIM floats */
void gb_remove(struct graph_bench *b, uint32_t space, uint32_t i);
void gb_delete(struct graph_bench *b, uint32_t i);          /* from space 0 */
void gb_drop_space(struct graph_bench *b, uint32_t space);
void gb_reclaim(struct graph_bench *b);
/* Killed and taken over: repair, and a linking thread that begins anew. */
void gb_restart(struct graph_bench *b, bool suspect);
/* All that there is to do; returns the number of steps. */
unsigned gb_settle(struct graph_bench *b);
enum graph_state gb_state(struct graph_bench *b);           /* of space 0; NONE without one */
struct graph *gb_graph(struct graph_bench *b);

/* Recall of the 10 best over some random queries; 1 when the space has no graph to be walked, for
 * then all is compared. */
double gb_recall(struct graph_bench *b, unsigned queries);
/* Each living memory is the answer to its own vector, or stands among the first three. */
void gb_finds_all(struct graph_bench *b);
/* What must hold at every moment: marks, counts, links, who is retired. */
void gb_invariants(struct graph_bench *b);

#endif
