/* Attaching a store for reading, and what both sides know of its regions. */
#include "shm/store.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "common/hash.h"
#include "common/log.h"
#include "shm/desk.h"
#include "shm/node.h"
#include "shm/slot.h"
#include "shm/store_names.h"

/* One lock of this process for the rare first mapping of a class. */
static pthread_mutex_t map_lock = PTHREAD_MUTEX_INITIALIZER;

static _Atomic uint64_t root_bytes = EG_ROOT_BYTES;

void store_region_name(char out[EG_REGION_NAME], const char *prefix, enum store_region kind, unsigned class_)
{
	static const char *const names[] = { "root", "space", "slot", "heap", "graph", "node", "vec", "code" };

	if (kind >= EG_REGION_NODE)
		snprintf(out, EG_REGION_NAME, "%s%s.%u", prefix, names[kind], class_);
	else
		snprintf(out, EG_REGION_NAME, "%s%s", prefix, names[kind]);
}

size_t store_region_reserved(enum store_region kind)
{
	static const unsigned log2_bytes[] = { 16, 32, 36, 40, 32, 36, 40, 40 };

#ifdef __SANITIZE_THREAD__
	/* Its shadow leaves little room for addresses. */
	return (size_t)1 << (log2_bytes[kind] > 30 ? 30 : log2_bytes[kind]);
#else
	return (size_t)1 << log2_bytes[kind];
#endif
}

_Atomic uint64_t *store_grown(struct root *root, enum store_region kind, unsigned class_)
{
	if (kind == EG_REGION_ROOT)
		return &root_bytes;
	if (kind < EG_REGION_NODE)
		return &root->grown[kind - EG_REGION_SPACE];
	return &root->grown[EG_REGION_NODE - EG_REGION_SPACE + 3 * class_ + (kind - EG_REGION_NODE)];
}

/* A build with another salt shares no memory with this one: for tests of upgrades. */
#ifndef EG_LAYOUT_SALT
#define EG_LAYOUT_SALT 0
#endif

/* Everything that another build could lay out differently. */
uint64_t store_layout_hash(void)
{
	const uint64_t facts[] = {
		EG_LAYOUT_VERSION, EG_SHARDS, EG_CHUNK, EG_CLASSES, EG_DIM_MAX,
		sizeof(struct root), sizeof(struct space), sizeof(struct slot_chunk),
		sizeof(struct body), sizeof(struct record), sizeof(struct node_chunk),
		EG_LINKS, EG_GRAPH_ENTRIES, EG_FRESH,
	};

	return hash64(facts, sizeof facts, EG_LAYOUT_VERSION + ((uint64_t)EG_LAYOUT_SALT << 32));
}

uint32_t store_layout(void)
{
	uint64_t hash = store_layout_hash();

	return (uint32_t)(hash >> 32 ^ hash) | UINT32_C(1) << 31;
}

static enum err attach(struct store *s, enum store_region kind, unsigned class_, struct region *r,
                       struct fault *f)
{
	char name[EG_REGION_NAME];

	store_region_name(name, s->prefix, kind, class_);
	return region_attach(r, name, store_region_reserved(kind), store_grown(s->root, kind, class_), f);
}

enum err store_attach(struct store *s, const char *prefix, uint64_t boot_id, struct fault *f)
{
	enum err e;

	memset(s, 0, sizeof *s);
	snprintf(s->prefix, sizeof s->prefix, "%s", prefix);
	e = attach(s, EG_REGION_ROOT, 0, &s->root_region, f);
	if (e != EG_E_OK)
		return e;
	s->root = (struct root *)(void *)s->root_region.base;
	if (atomic_load_explicit(&s->root->state, memory_order_acquire) != EG_STORE_READY ||
	    atomic_load(&s->root->boot_id) != boot_id) {
		store_detach(s);
		return err_set(f, EG_E_WRITER, NULL, NULL, "the writer has not made the store ready yet");
	}
	if (s->root->magic != EG_ROOT_MAGIC || s->root->layout_hash != store_layout_hash()) {
		store_detach(s);
		return err_set(f, EG_E_INTERNAL, NULL, NULL, "%s: shared memory of another layout", prefix);
	}
	e = attach(s, EG_REGION_SPACE, 0, &s->space, f);
	if (e == EG_E_OK)
		e = attach(s, EG_REGION_SLOT, 0, &s->slot, f);
	if (e == EG_E_OK)
		e = attach(s, EG_REGION_HEAP, 0, &s->heap, f);
	if (e == EG_E_OK)
		e = attach(s, EG_REGION_GRAPH, 0, &s->graph, f);
	if (e != EG_E_OK)
		store_detach(s);
	return e;
}

bool store_in_force(const struct store *s)
{
	return atomic_load_explicit(&s->root->state, memory_order_acquire) == EG_STORE_READY;
}

bool store_is_current(const struct store *s, const struct desks *d)
{
	uint32_t written = atomic_load_explicit(&desk_wal(d)->store_generation, memory_order_acquire);

	return store_in_force(s) && (written == 0 || written == atomic_load_explicit(&s->root->generation, memory_order_relaxed));
}

void store_detach(struct store *s)
{
	for (unsigned c = 0; c < EG_CLASSES; c++) {
		region_detach(&s->node[c]);
		region_detach(&s->vec[c]);
		region_detach(&s->code[c]);
	}
	region_detach(&s->graph);
	region_detach(&s->heap);
	region_detach(&s->slot);
	region_detach(&s->space);
	region_detach(&s->root_region);
	s->root = NULL;
}

bool store_map_class(const struct store *cs, unsigned class_)
{
	struct store *s = (struct store *)(uintptr_t)cs;   /* the cache of maps, not the store */
	struct fault f;
	bool ok;

	if (class_ >= EG_CLASSES)
		return false;
	if (atomic_load_explicit(&s->class_mapped[class_], memory_order_acquire))
		return true;
	if (s->writable)
		return false;              /* the writer maps when it makes a class */
	pthread_mutex_lock(&map_lock);
	ok = atomic_load(&s->class_mapped[class_]);
	if (!ok) {
		ok = attach(s, EG_REGION_NODE, class_, &s->node[class_], &f) == EG_E_OK
		     && attach(s, EG_REGION_VEC, class_, &s->vec[class_], &f) == EG_E_OK
		     && attach(s, EG_REGION_CODE, class_, &s->code[class_], &f) == EG_E_OK;
		if (ok)
			atomic_store_explicit(&s->class_mapped[class_], 1, memory_order_release);
		else
			LOG_ERROR("vectors of class %u cannot be mapped: %s", class_, f.message);
	}
	pthread_mutex_unlock(&map_lock);
	return ok;
}

/* Adds the ShmemPmdMapped and Rss of the store's own maps, from smaps. */
void store_pages(const struct store *s, uint64_t *huge_bytes, uint64_t *plain_bytes)
{
	FILE *in = fopen("/proc/self/smaps", "re");
	char line[512];
	uint64_t kb, rss = 0, huge = 0;
	bool ours = false;

	while (in != NULL && fgets(line, sizeof line, in) != NULL) {
		if (strchr(line, '-') != NULL && strstr(line, " kB") == NULL)
			ours = strstr(line, s->prefix) != NULL;
		else if (ours && sscanf(line, "Rss: %lu kB", &kb) == 1)
			rss += kb;
		else if (ours && (sscanf(line, "ShmemPmdMapped: %lu kB", &kb) == 1
		                  || sscanf(line, "Shared_Hugetlb: %lu kB", &kb) == 1))
			huge += kb;
	}
	if (in != NULL)
		fclose(in);
	*huge_bytes = huge * 1024;
	*plain_bytes = (rss > huge ? rss - huge : 0) * 1024;
}
