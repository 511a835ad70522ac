/* Looking at vectors, see the header. */
#include "shm/node.h"

#include "common/crc32c.h"
#include "shm/body.h"

unsigned node_class(unsigned dim)
{
	EG_ASSERT(dim >= 1 && dim <= EG_DIM_MAX);
	if (dim <= 256)
		return (dim - 1) / 16;
	if (dim <= 1024)
		return 16 + (dim - 257) / 64;
	return 28 + (dim - 1025) / 256;
}

unsigned node_stride(unsigned class_)
{
	EG_ASSERT(class_ < EG_CLASSES);
	if (class_ < 16)
		return (class_ + 1) * 16;
	if (class_ < 28)
		return 256 + (class_ - 15) * 64;
	return 1024 + (class_ - 27) * 256;
}

void node_walk(const struct store *s, const struct space *sp, struct node_walk *w)
{
	w->store = s;
	w->space = sp->number;
	w->link = atomic_load_explicit(&sp->node_head, memory_order_acquire);
}

bool node_next(struct node_walk *w, struct node_span *span)
{
	const struct node_chunk *c;
	unsigned class_ = w->link >> EG_LINK_SHIFT;
	uint32_t chunk = w->link & EG_LINK_MASK;
	size_t bytes;

	if (w->link == EG_NONE)
		return false;
	if (!store_map_class(w->store, class_))
		return false;
	bytes = (size_t)EG_CHUNK * node_stride(class_) * sizeof(float);
	c = region_at(&w->store->node[class_], (uint64_t)chunk * sizeof *c, sizeof *c);
	span->class_ = class_;
	span->stride = node_stride(class_);
	span->first = chunk * EG_CHUNK;
	span->owners = c->owner;
	span->vectors = region_at(&w->store->vec[class_], (uint64_t)chunk * bytes, bytes);
	w->link = atomic_load_explicit(&c->next, memory_order_acquire);
	return true;
}

const float *node_vector(const struct store *s, const struct body *b)
{
	size_t bytes;

	if (b->class_ == EG_NONE || !store_map_class(s, b->class_))
		return NULL;
	bytes = node_stride(b->class_) * sizeof(float);
	return region_at(&s->vec[b->class_], (uint64_t)b->node * bytes, bytes);
}

bool body_valid(const struct store *s, const struct body *b)
{
	const struct record *r = &b->record;
	const float *vector = r->dim > 0 ? node_vector(s, b) : NULL;
	size_t vector_bytes = record_vector_bytes(r->dim);
	uint32_t crc;

	if (b->magic != EG_BODY_MAGIC || (r->dim > 0) != (vector != NULL)
	    || b->bytes != r->bytes - vector_bytes + offsetof(struct body, record))
		return false;
	crc = crc32c(0, (const uint8_t *)r + 8, sizeof *r - 8);
	if (vector != NULL)
		crc = crc32c(crc, vector, vector_bytes);
	return r->crc == crc32c(crc, b + 1, b->bytes - sizeof *b);
}
