/* What the files of the graph's writing side share (graph_write.c, graph_sweep.c). */
#ifndef SHM_GRAPH_PARTS_H
#define SHM_GRAPH_PARTS_H

#include "shm/graph_write.h"
#include "shm/region_write.h"

static inline _Atomic uint32_t *links_of(struct store_writer *w, const struct graph_view *v, unsigned class_, uint32_t node)
{
	uint64_t at = (uint64_t)(node / EG_CHUNK) * v->chunk_bytes + v->links_at
	              + (uint64_t)(node % EG_CHUNK) * EG_LINKS * sizeof(uint32_t);

	return region_for_write(&w->store.code[class_], at, EG_LINKS * sizeof(uint32_t));
}

static inline uint8_t *levels(struct linker *l, const struct graph_view *v, unsigned row)
{
	return l->levels + (size_t)row * v->dims;
}

static inline void unpack(const struct graph_view *v, uint32_t node, uint8_t *to)
{
	code_levels(graph_sign(v, node), graph_low(v, node), v->dims, to);
}

/* `to` shall name `node`; must_keep: though others are nearer to it. No node's lock is held. */
void graph_connect(struct store_writer *w, const struct graph_view *v, unsigned class_, struct linker *l,
                   uint32_t to, uint32_t node, bool must_keep);

static inline bool alive(const struct graph_view *v, uint32_t node)
{
	return node < v->limit && graph_owner(v, node) != EG_NODE_FREE;
}

#endif
