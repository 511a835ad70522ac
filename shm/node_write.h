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
/* Apply thread: nobody's; the vector stays readable until it is freed. True when
 * links may name it: then the linking thread retires it (graph_write.h), not the caller. */
bool node_unpublish(struct store_writer *w, unsigned class_, uint32_t node);

/* The lock of a node's links, and of its owner together with `named`. */
static inline void node_lock(struct store_writer *w, uint32_t node)
{
	pthread_mutex_lock(&w->node_locks[node % EG_NODE_LOCKS]);
}
static inline void node_unlock(struct store_writer *w, uint32_t node)
{
	pthread_mutex_unlock(&w->node_locks[node % EG_NODE_LOCKS]);
}

struct node_chunk *node_chunk_for_write(struct store_writer *w, unsigned class_, uint32_t chunk);

#endif
