/* Regions: named pieces of POSIX shared memory, written by the wal process
 * alone, read by everybody else.
 *
 * A region is mapped once over its whole reserved length; the object behind it
 * is exactly `grown` bytes long, and `grown` only rises. The writer populates
 * new pages before it publishes the new length, so a reader that stays below
 * it can neither meet SIGBUS nor allocate a page. Readers open O_RDONLY and map
 * PROT_READ: mprotect(PROT_WRITE) fails with EACCES.
 *
 * Addresses differ between processes; only offsets are stored.
 */
#ifndef SHM_REGION_H
#define SHM_REGION_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/err.h"

#define EG_REGION_NAME 80                  /* longest shm name, with the NUL */
#define EG_REGION_GRAIN ((size_t)2 << 20)  /* growth step: one huge page */

struct region {
	char name[EG_REGION_NAME];
	uint8_t *base;                    /* process-local address */
	size_t reserved;                  /* bytes mapped, page tables aside free */
	_Atomic uint64_t *grown;          /* in the root page; bytes that exist */
	bool writable;
	bool huge;                        /* the writer asks for huge pages */
	uint8_t *backed;                  /* region_back: grains that it has filled, a byte each */
	size_t n_backed;
};

/* Readers: map an existing region. EG_E_INTERNAL with the reason in f. */
enum err region_attach(struct region *r, const char *name, size_t reserved,
                       const _Atomic uint64_t *grown, struct fault *f) EG_MUST_USE;
void region_detach(struct region *r);

static inline uint64_t region_grown(const struct region *r)
{
	return atomic_load_explicit(r->grown, memory_order_acquire);
}

/* Address of `bytes` bytes at offset, which must lie below `grown`: a reference
 * beyond it is a programmer's error or a torn structure, and stops the process. */
static inline const void *region_at(const struct region *r, uint64_t offset, size_t bytes)
{
	EG_ASSERT(offset + bytes <= region_grown(r));
	return r->base + offset;
}

/* Remove every object whose name begins with prefix; returns how many. */
unsigned region_unlink_all(const char *prefix);

#endif
