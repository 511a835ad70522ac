/* Making, adopting and closing a store for writing, see the header. */
#include "shm/store_write.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>

#include "common/clock.h"
#include "common/fault.h"
#include "shm/graph.h"
#include "shm/region_write.h"
#include "shm/store_names.h"

void stack32_push(struct stack32 *s, uint32_t v)
{
	if (s->n == s->cap) {
		s->cap = s->cap ? s->cap * 2 : 16;
		s->at = realloc(s->at, s->cap * sizeof *s->at);
		EG_ASSERT(s->at != NULL);
	}
	s->at[s->n++] = v;
}

void stack32_free(struct stack32 *s)
{
	free(s->at);
	memset(s, 0, sizeof *s);
}

static void begin(struct store_writer *w, struct desks *d, const char *prefix, bool huge)
{
	memset(w, 0, sizeof *w);
	w->desks = d;
	w->store.writable = true;
	w->store.huge = huge;
	snprintf(w->store.prefix, sizeof w->store.prefix, "%s", prefix);
	pthread_mutex_init(&w->retire_lock, NULL);
	pthread_mutex_init(&w->graph_lock, NULL);
	pthread_mutex_init(&w->fresh_lock, NULL);
	pthread_cond_init(&w->fresh_work, NULL);
	pthread_cond_init(&w->fresh_room, NULL);
	atomic_store(&w->graph_min, EG_GRAPH_MIN);
	w->sweep_min = EG_SWEEP_MIN;
	w->links = EG_LINKS;
	for (unsigned i = 0; i < EG_NODE_LOCKS; i++)
		pthread_mutex_init(&w->node_locks[i], NULL);
}

typedef enum err open_fn(struct region *r, const char *name, size_t reserved,
                         _Atomic uint64_t *grown, bool huge, struct fault *f);

static enum err open_one(struct store_writer *w, open_fn *fn, struct region *r,
                         enum store_region kind, unsigned class_, struct fault *f)
{
	char name[EG_REGION_NAME];
	bool huge = w->store.huge && kind != EG_REGION_ROOT;

	store_region_name(name, w->store.prefix, kind, class_);
	return fn(r, name, store_region_reserved(kind), store_grown(w->store.root, kind, class_), huge, f);
}

static enum err open_fixed(struct store_writer *w, open_fn *fn, struct fault *f)
{
	struct store *s = &w->store;
	enum err e = open_one(w, fn, &s->space, EG_REGION_SPACE, 0, f);

	if (e == EG_E_OK)
		e = open_one(w, fn, &s->slot, EG_REGION_SLOT, 0, f);
	if (e == EG_E_OK)
		e = open_one(w, fn, &s->heap, EG_REGION_HEAP, 0, f);
	if (e == EG_E_OK)
		e = open_one(w, fn, &s->graph, EG_REGION_GRAPH, 0, f);
	return e;
}

/* The root is no region that grows: its length is fixed and set here. */
static enum err root_length(struct store_writer *w, struct fault *f)
{
	struct region *r = &w->store.root_region;
	_Atomic uint64_t none = 0, *grown = r->grown;
	enum err e;

	r->grown = &none;
	e = region_grow(r, EG_ROOT_BYTES, f);
	r->grown = grown;
	return e;
}

enum err store_create(struct store_writer *w, struct desks *d, const char *prefix,
                      const uint8_t uuid[16], uint64_t boot_id, bool huge, struct fault *f)
{
	struct root *root;
	uint32_t generation;
	enum err e;

	begin(w, d, prefix, huge);
	e = open_one(w, region_create, &w->store.root_region, EG_REGION_ROOT, 0, f);
	if (e == EG_E_OK)
		e = root_length(w, f);
	if (e != EG_E_OK)
		return e;
	root = w->store.root = (struct root *)(void *)w->store.root_region.base;
	root->magic = EG_ROOT_MAGIC;
	root->layout_version = EG_LAYOUT_VERSION;
	root->layout_hash = store_layout_hash();
	memcpy(root->uuid, uuid, sizeof root->uuid);
	if (getrandom(&generation, sizeof generation, 0) != (ssize_t)sizeof generation)
		generation = (uint32_t)clock_mono_ns();
	atomic_store(&root->generation, generation);
	atomic_store(&root->boot_id, boot_id);
	atomic_store(&root->state, EG_STORE_BUILDING);
	FAULT(STORE_ROOT_MADE);
	e = open_fixed(w, region_create, f);
	if (e == EG_E_OK)
		e = region_grow(&w->store.graph, EG_GRAPHS_AT, f);
	if (e == EG_E_OK)
		heap_init(&w->heap, &w->store.heap);
	FAULT(STORE_MADE);
	return e;
}

static enum err adopt_classes(struct store_writer *w, struct fault *f)
{
	struct store *s = &w->store;

	for (unsigned c = 0; c < EG_CLASSES; c++) {
		enum err e;

		if (atomic_load(store_grown(s->root, EG_REGION_VEC, c)) == 0)
			continue;
		e = open_one(w, region_adopt, &s->node[c], EG_REGION_NODE, c, f);
		if (e == EG_E_OK)
			e = open_one(w, region_adopt, &s->vec[c], EG_REGION_VEC, c, f);
		if (e == EG_E_OK)
			e = open_one(w, region_adopt, &s->code[c], EG_REGION_CODE, c, f);
		if (e != EG_E_OK)
			return e;
		atomic_store(&s->class_mapped[c], 1);
	}
	return EG_E_OK;
}

enum err store_adopt(struct store_writer *w, struct desks *d, const char *prefix,
                     const uint8_t uuid[16], bool huge, struct fault *f)
{
	struct root *root;
	enum err e;

	begin(w, d, prefix, huge);
	e = open_one(w, region_adopt, &w->store.root_region, EG_REGION_ROOT, 0, f);
	if (e != EG_E_OK)
		return e;
	root = w->store.root = (struct root *)(void *)w->store.root_region.base;
	if (root->magic == EG_ROOT_MAGIC && root->layout_hash != store_layout_hash()) {
		store_close(w);
		return err_set(f, EG_E_WRITER, "layout", NULL, "shared memory of a build with another layout");
	}
	if (root->magic != EG_ROOT_MAGIC || memcmp(root->uuid, uuid, sizeof root->uuid) != 0
	    || atomic_load(&root->state) != EG_STORE_READY) {
		store_close(w);
		return err_set(f, EG_E_WRITER, NULL, NULL, "shared memory of another data directory, or unfinished");
	}
	e = open_fixed(w, region_adopt, f);
	if (e == EG_E_OK)
		e = adopt_classes(w, f);
	if (e == EG_E_OK) {
		heap_init(&w->heap, &w->store.heap);
		FAULT(STORE_ADOPTED);
		return e;
	}
	/* Readers see that their store has ended, and attach to the new one. */
	atomic_store_explicit(&root->state, EG_STORE_BUILDING, memory_order_release);
	store_close(w);
	return e;
}

void store_publish(struct store_writer *w, uint64_t boot_id)
{
	atomic_store_explicit(&store_root(w)->boot_id, boot_id, memory_order_release);
	atomic_store_explicit(&store_root(w)->state, EG_STORE_READY, memory_order_release);
	FAULT(STORE_PUBLISHED);
}

/* A writer that died between a class's objects leaves some behind: open those. */
static enum err make_or_open(struct store_writer *w, struct region *r, enum store_region kind, unsigned class_,
                             struct fault *f)
{
	if (open_one(w, region_create, r, kind, class_, f) == EG_E_OK)
		return EG_E_OK;
	return open_one(w, region_adopt, r, kind, class_, f);
}

enum err store_make_class(struct store_writer *w, unsigned class_, struct fault *f)
{
	struct store *s = &w->store;
	enum err e;

	if (atomic_load(&s->class_mapped[class_]))
		return EG_E_OK;
	e = make_or_open(w, &s->node[class_], EG_REGION_NODE, class_, f);
	FAULT(STORE_CLASS_HALF);
	if (e == EG_E_OK)
		e = make_or_open(w, &s->vec[class_], EG_REGION_VEC, class_, f);
	if (e == EG_E_OK)
		e = make_or_open(w, &s->code[class_], EG_REGION_CODE, class_, f);
	if (e != EG_E_OK)
		return e;
	FAULT(STORE_CLASS_MADE);
	atomic_store_explicit(&s->class_mapped[class_], 1, memory_order_release);
	return EG_E_OK;
}

void store_close(struct store_writer *w)
{
	for (uint32_t i = 0; i < w->cap_spaces; i++) {
		stack32_free(&w->spaces[i].slots);
		stack32_free(&w->spaces[i].nodes);
	}
	free(w->spaces);
	stack32_free(&w->slot_chunks);
	for (unsigned c = 0; c < EG_CLASSES; c++)
		stack32_free(&w->node_chunks[c]);
	free(w->retired);
	stack32_free(&w->graphs);
	pthread_mutex_destroy(&w->retire_lock);
	stack32_free(&w->looks);
	pthread_mutex_destroy(&w->graph_lock);
	pthread_mutex_destroy(&w->fresh_lock);
	pthread_cond_destroy(&w->fresh_work);
	pthread_cond_destroy(&w->fresh_room);
	for (unsigned i = 0; i < EG_NODE_LOCKS; i++)
		pthread_mutex_destroy(&w->node_locks[i]);
	heap_fini(&w->heap);
	store_detach(&w->store);
	memset(w, 0, sizeof *w);
}
