/* Nodes, the writing side, see the header. */
#include "shm/node_write.h"

#include <string.h>

#include "common/fault.h"
#include "shm/graph_write.h"
#include "shm/space_write.h"

struct node_chunk *node_chunk_for_write(struct store_writer *w, unsigned class_, uint32_t chunk)
{
	return region_for_write(&w->store.node[class_], (uint64_t)chunk * sizeof(struct node_chunk),
	                        sizeof(struct node_chunk));
}

static enum err new_chunk(struct store_writer *w, unsigned class_, uint32_t *chunk, struct fault *f)
{
	struct root *root = store_root(w);
	size_t bytes = (size_t)EG_CHUNK * node_stride(class_) * sizeof(float);
	struct node_chunk *c;
	enum err e = store_make_class(w, class_, f);

	*chunk = atomic_load(&root->n_node_chunks[class_]);
	if (e == EG_E_OK && *chunk > EG_LINK_MASK)
		e = err_set(f, EG_E_NO_STORAGE, NULL, NULL, "no more vectors of class %u can be numbered", class_);
	if (e == EG_E_OK)
		e = region_grow(&w->store.vec[class_], (uint64_t)(*chunk + 1) * bytes, f);
	if (e == EG_E_OK)
		e = region_grow(&w->store.node[class_], (uint64_t)(*chunk + 1) * sizeof *c, f);
	if (e != EG_E_OK)
		return e;
	c = node_chunk_for_write(w, class_, *chunk);
	for (unsigned i = 0; i < EG_CHUNK; i++)
		atomic_store(&c->owner[i], EG_NODE_FREE);
	atomic_store(&c->named, 0);
	atomic_store(&c->linked, 0);
	atomic_store(&c->space, EG_NONE);
	atomic_store(&c->next, EG_NONE);
	FAULT(NODE_CHUNK_NEW);
	atomic_store_explicit(&root->n_node_chunks[class_], *chunk + 1, memory_order_release);
	FAULT(NODE_CHUNK_COUNTED);
	return EG_E_OK;
}

static enum err add_chunk(struct store_writer *w, uint32_t space, unsigned class_, struct fault *f)
{
	struct space *sp = space_for_write(w, space);
	struct space_private *p = &w->spaces[space];
	uint32_t chunk = stack32_pop(&w->node_chunks[class_]);
	struct node_chunk *c;

	if (chunk == EG_NONE) {
		enum err e = new_chunk(w, class_, &chunk, f);

		if (e != EG_E_OK)
			return e;
	}
	c = node_chunk_for_write(w, class_, chunk);
	atomic_store(&c->named, 0);
	atomic_store(&c->linked, 0);
	atomic_store(&c->next, atomic_load(&sp->node_head));
	atomic_store_explicit(&c->space, space, memory_order_release);
	FAULT(NODE_CHUNK_CHAINED);
	atomic_store_explicit(&sp->node_head, class_ << EG_LINK_SHIFT | chunk, memory_order_release);
	FAULT(NODE_CHUNK_LINKED);
	for (uint32_t i = EG_CHUNK; i-- > 0;)
		stack32_push(&p->nodes, chunk * EG_CHUNK + i);
	return EG_E_OK;
}

enum err node_reserve(struct store_writer *w, uint32_t space, unsigned dim, uint32_t *node, struct fault *f)
{
	struct space_private *p = &w->spaces[space];
	unsigned class_ = node_class(dim);

	/* A space that changes its dimension starts a list of free nodes anew; the
	 * free ones of the old class are found again by the next repair. */
	if (p->nodes_class != class_) {
		p->nodes.n = 0;
		p->nodes_class = class_;
	}
	if (p->nodes.n == 0) {
		enum err e = add_chunk(w, space, class_, f);

		if (e != EG_E_OK)
			return e;
	}
	*node = stack32_pop(&p->nodes);
	FAULT(NODE_RESERVED);
	return EG_E_OK;
}

void node_free(struct store_writer *w, unsigned class_, uint32_t node, uint32_t space)
{
	struct node_chunk *c = node_chunk_for_write(w, class_, node / EG_CHUNK);

	atomic_fetch_and(&c->linked, ~(1u << node % EG_CHUNK));
	atomic_fetch_and(&c->named, ~(1u << node % EG_CHUNK));
	if (w->spaces[space].nodes_class == class_)
		stack32_push(&w->spaces[space].nodes, node);
	FAULT(NODE_FREED);
}

void node_free_chunks(struct store_writer *w, uint32_t space)
{
	struct space *sp = space_for_write(w, space);
	uint32_t link = atomic_load(&sp->node_head);

	atomic_store_explicit(&sp->node_head, EG_NONE, memory_order_release);
	FAULT(NODE_CHUNKS_CUT);
	while (link != EG_NONE) {
		unsigned class_ = link >> EG_LINK_SHIFT;
		struct node_chunk *c = node_chunk_for_write(w, class_, link & EG_LINK_MASK);
		uint32_t next = atomic_load(&c->next);

		atomic_store_explicit(&c->space, EG_NONE, memory_order_release);
		FAULT(NODE_CHUNK_FREED);
		stack32_push(&w->node_chunks[class_], link & EG_LINK_MASK);
		link = next;
	}
	stack32_free(&w->spaces[space].nodes);
}

void node_publish(struct store_writer *w, unsigned class_, uint32_t node, const float *vector,
                  unsigned dim, uint32_t slot, uint32_t generation)
{
	unsigned stride = node_stride(class_);
	size_t bytes = stride * sizeof(float);
	float *to = region_for_write(&w->store.vec[class_], (uint64_t)node * bytes, bytes);
	struct node_chunk *c = node_chunk_for_write(w, class_, node / EG_CHUNK);

	memcpy(to, vector, dim * sizeof *to);
	memset(to + dim, 0, (stride - dim) * sizeof *to);
	FAULT(NODE_VECTOR);
	atomic_store_explicit(&c->owner[node % EG_CHUNK], (uint64_t)slot << 32 | generation,
	                      memory_order_release);
	FAULT(NODE_PUBLISHED);
}

bool node_unpublish(struct store_writer *w, unsigned class_, uint32_t node)
{
	struct node_chunk *c = node_chunk_for_write(w, class_, node / EG_CHUNK);
	uint32_t space = atomic_load(&c->space);
	bool named, look;

	node_lock(w, node);
	atomic_store_explicit(&c->owner[node % EG_CHUNK], EG_NODE_FREE, memory_order_release);
	named = atomic_load(&c->named) >> node % EG_CHUNK & 1;
	FAULT(NODE_UNPUBLISHED);
	look = named && graph_note_dead(w, space, class_);
	node_unlock(w, node);
	if (look)
		graph_look(w, space);
	return named;
}
