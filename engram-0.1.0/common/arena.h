/* Memory of one request: taken in bumps, given back all at once.
 *
 * Everything a request needs comes from its arena, so nothing can leak and a
 * hostile request meets one limit. Over the limit arena_alloc returns NULL and
 * the request is refused. Not for threads to share.
 */
#ifndef COMMON_ARENA_H
#define COMMON_ARENA_H

#include <stddef.h>

struct arena_block;

struct arena {
	struct arena_block *first, *at;
	char *next, *end;          /* free bytes of block `at` */
	size_t first_bytes;        /* size of the first block */
	size_t held_bytes;         /* allocated in blocks, headers included */
	size_t limit_bytes;        /* held_bytes never passes this */
};

/* first_bytes: size of the first block, taken when first needed. limit_bytes:
 * what all blocks together may hold. */
void arena_init(struct arena *a, size_t first_bytes, size_t limit_bytes);
/* Forget all allocations; the first block stays for the next request. */
void arena_reset(struct arena *a);
void arena_fini(struct arena *a);

/* Aligned to 16, content undefined. NULL: over the limit. A size of 0 gives a
 * valid pointer to nothing. */
void *arena_alloc(struct arena *a, size_t bytes) __attribute__((malloc, warn_unused_result));
/* n items of `bytes` each, zeroed. NULL: over the limit, also when n * bytes overflows. */
void *arena_array(struct arena *a, size_t n, size_t bytes) __attribute__((malloc, warn_unused_result));
/* Copy of len bytes, with a NUL behind. */
char *arena_strndup(struct arena *a, const char *text, size_t len) __attribute__((warn_unused_result));

/* The same in the shape of an allocator with a user pointer (ProtobufCAllocator:
 * alloc, free, allocator_data = the arena). Freeing does nothing. */
void *arena_alloc_cb(void *arena, size_t bytes);
void arena_free_cb(void *arena, void *p);

#endif
