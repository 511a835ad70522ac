/* Nodes, the writing side. */
#ifndef SHM_NODE_WRITE_H
#define SHM_NODE_WRITE_H

#include "shm/node.h"
#include "shm/store_write.h"

/* Log thread: take a free node of the space for a vector of dim floats. */
enum err node_reserve(struct store_writer *w, uint32_t space, unsigned dim, uint32_t *node,
                      struct fault *f) EG_MUST_USE;
/* Log thread: a reserved or retired node may be used again. */
void node_free(struct store_writer *w, unsigned class_, uint32_t node, uint32_t space);
void node_free_chunks(struct store_writer *w, uint32_t space);

/* Apply thread: write the vector (dim floats), then say whose it is. */
void node_publish(struct store_writer *w, unsigned class_, uint32_t node, const float *vector,
                  unsigned dim, uint32_t slot, uint32_t generation);
/* Apply thread: nobody's; the vector stays readable until it is freed. */
void node_unpublish(struct store_writer *w, unsigned class_, uint32_t node);

struct node_chunk *node_chunk_for_write(struct store_writer *w, unsigned class_, uint32_t chunk);

#endif
