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

/* The same in three steps, so that several threads can populate. region_extend makes the object
 * longer; *want: how long it will be, a whole number of grains. region_fill populates bytes
 * from..to (whole grains) of that: 0 or an errno, any thread. region_reach publishes when all
 * of it was filled; error != 0: what region_fill said, and the region is as it was. */
enum err region_extend(struct region *r, uint64_t bytes, uint64_t *want, struct fault *f) EG_MUST_USE;
int region_fill(const struct region *r, uint64_t from, uint64_t to) EG_MUST_USE;
enum err region_reach(struct region *r, uint64_t want, int error, struct fault *f) EG_MUST_USE;

/* For what is written here and there only: region_stretch makes at least `bytes` bytes of addresses
 * exist and publishes them without pages; region_back makes the pages of a range be there
 * (whole huge ones, if the region has those) before anything is stored in it. A reader may
 * look only at what was stored. EG_E_NO_STORAGE when the machine has no more. */
enum err region_stretch(struct region *r, uint64_t bytes, struct fault *f) EG_MUST_USE;
enum err region_back(struct region *r, uint64_t offset, size_t bytes, struct fault *f) EG_MUST_USE;

/* Address of bytes at offset, for writing. */
static inline void *region_for_write(const struct region *r, uint64_t offset, size_t bytes)
{
	EG_ASSERT(r->writable && offset + bytes <= region_grown(r));
	return r->base + offset;
}

#endif
