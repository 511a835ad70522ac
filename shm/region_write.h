/* The writing side of a region: the wal process only. */
#ifndef SHM_REGION_WRITE_H
#define SHM_REGION_WRITE_H

#include "shm/region.h"

/* Make (O_EXCL) or open an existing region for writing. A new one has length 0.
 * huge: ask for huge pages as it grows. */
enum err region_create(struct region *r, const char *name, size_t reserved,
                       _Atomic uint64_t *grown, bool huge, struct fault *f) EG_MUST_USE;
enum err region_adopt(struct region *r, const char *name, size_t reserved,
                      _Atomic uint64_t *grown, bool huge, struct fault *f) EG_MUST_USE;

/* Make at least `bytes` bytes exist: extend, populate (with huge pages where they are to
 * be had), publish. New pages are zero. EG_E_NO_STORAGE when the machine has no more;
 * then the region is as it was. */
enum err region_grow(struct region *r, uint64_t bytes, struct fault *f) EG_MUST_USE;

/* Address of bytes at offset, for writing. */
static inline void *region_for_write(const struct region *r, uint64_t offset, size_t bytes)
{
	EG_ASSERT(r->writable && offset + bytes <= region_grown(r));
	return r->base + offset;
}

#endif
