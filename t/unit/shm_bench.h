/* A store and a pool of desks in one process, which may write all of them: for
 * tests of the writing side of shm/, by one thread or by several. */
#ifndef T_SHM_BENCH_H
#define T_SHM_BENCH_H

#include "shm/epoch.h"
#include "shm/store_write.h"

#define EG_BENCH_DIM 20u

struct shm_bench {
	struct desks desks;            /* as the wal process sees them */
	struct desks worker;           /* as the process at desk 2 does */
	struct store_writer w;
	struct epoch reader;           /* slot 0 of desk 2 */
	char prefix[40];
	uint8_t uuid[16];
	float vector[EG_BENCH_DIM];
	uint64_t random;               /* xorshift; the seed is fixed and printed */
};

struct bench_memory { uint64_t key, body; uint32_t slot, generation, class_, node, body_bytes; };

int bench_open(void **state);              /* with a space 0, "first" */
int bench_close(void **state);
uint64_t bench_random(struct shm_bench *b);
void bench_new_writer(struct shm_bench *b);        /* closes and adopts; repair is the caller's */
void bench_space(struct shm_bench *b, uint32_t number, const char *id);

/* What admission and apply do for one memory, step by step. */
struct bench_memory bench_reserve(struct shm_bench *b, uint32_t space, const char *id, uint64_t lsn);
struct bench_memory bench_reserve_version(struct shm_bench *b, uint32_t space, const char *id, uint64_t lsn,
                                          const struct bench_memory *old);
void bench_write_body(struct shm_bench *b, const struct bench_memory *m, uint32_t space, const char *id, uint64_t lsn);
struct bench_memory bench_store(struct shm_bench *b, uint32_t space, const char *id, uint64_t lsn);
void bench_delete(struct shm_bench *b, const struct bench_memory *m);
bool bench_finds(struct shm_bench *b, uint32_t space, const char *id, uint64_t body);

#endif
