/* Names, sizes and lengths of a store's regions: shared by the reading and the
 * writing side of shm/, nobody else's business. */
#ifndef SHM_STORE_NAMES_H
#define SHM_STORE_NAMES_H

#include "shm/store.h"

#define EG_ROOT_MAGIC 0x54525445u      /* "ETRT" */
#define EG_ROOT_BYTES 65536u
_Static_assert(sizeof(struct root) <= EG_ROOT_BYTES, "the root is one piece");

enum store_region {
	EG_REGION_ROOT, EG_REGION_SPACE, EG_REGION_SLOT, EG_REGION_HEAP, EG_REGION_GRAPH,
	EG_REGION_NODE, EG_REGION_VEC, EG_REGION_CODE  /* per dimension class */
};

void store_region_name(char out[EG_REGION_NAME], const char *prefix, enum store_region kind, unsigned class_);
size_t store_region_reserved(enum store_region kind);
_Atomic uint64_t *store_grown(struct root *root, enum store_region kind, unsigned class_);
uint64_t store_layout_hash(void);

#endif
