/* The heap's allocator: private to the wal process, rebuilt from what is live.
 *
 * The heap region is cut into chunks of 256 KiB; a chunk serves blocks of one
 * size, or a run of chunks serves one large block. Shared memory holds no
 * allocator state at all: after a crash heap_scan_begin, heap_scan_mark for
 * every block that something live refers to, heap_scan_end makes the free lists
 * anew, so nothing can leak. One thread uses it (the log thread).
 */
#ifndef SHM_HEAP_WRITE_H
#define SHM_HEAP_WRITE_H

#include "shm/region_write.h"

#define EG_HEAP_BASE 4096u             /* offset 0 means "none" */
#define EG_HEAP_CHUNK ((size_t)256 << 10)
#define EG_HEAP_SIZES 72u

struct heap_list { uint64_t *at; size_t n, cap; };   /* a stack of offsets */

struct heap {
	struct region *region;
	uint32_t n_chunks, cap_chunks;
	uint8_t *size_of;              /* per chunk: size class, or a marker */
	uint8_t *used;                 /* while scanning: one bit a 64-byte unit */
	struct heap_list free[EG_HEAP_SIZES];
	struct heap_list chunks;       /* free single chunks */
	uint64_t live_bytes;           /* handed out, rounded up */
};

void heap_init(struct heap *h, struct region *region);
void heap_fini(struct heap *h);

/* A block of at least n bytes, 64-byte aligned; contents undefined. EG_E_NO_STORAGE. */
enum err heap_alloc(struct heap *h, size_t n, uint64_t *offset, struct fault *f) EG_MUST_USE;
/* Give back a block got with the same n. */
void heap_free(struct heap *h, uint64_t offset, size_t n);
/* Bytes that a block of n takes. */
size_t heap_block_bytes(size_t n);

void heap_scan_begin(struct heap *h);
void heap_scan_mark(struct heap *h, uint64_t offset, size_t n);
void heap_scan_end(struct heap *h);

#endif
