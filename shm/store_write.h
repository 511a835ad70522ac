/* The writing side of a store: what the wal process keeps in its own heap.
 *
 * Two kinds of threads use it, and no lock is shared with another process:
 *   log thread    reserves (slots, nodes, heap blocks, room in id tables),
 *                 reclaims, makes and drops spaces while no apply runs
 *   apply threads publish and retire, each for its own shards
 * Everything here can be rebuilt from shared memory (repair_write.h).
 */
#ifndef SHM_STORE_WRITE_H
#define SHM_STORE_WRITE_H

#include <pthread.h>

#include "shm/desk.h"
#include "shm/heap_write.h"
#include "shm/slot.h"
#include "shm/store.h"

struct stack32 { uint32_t *at; uint32_t n, cap; };

void stack32_push(struct stack32 *s, uint32_t v);
static inline uint32_t stack32_pop(struct stack32 *s) { return s->n ? s->at[--s->n] : EG_NONE; }
void stack32_free(struct stack32 *s);

/* What the writer knows of a space beyond its entry. */
struct space_private {
	struct stack32 slots;          /* free slots of its chunks */
	struct stack32 nodes;          /* free nodes of its chunks of class nodes_class */
	uint32_t nodes_class;
};

enum retired_kind { EG_RETIRED_BLOCK, EG_RETIRED_SLOT, EG_RETIRED_NODE, EG_RETIRED_SPACE, EG_RETIRED_GRAPH };

struct retired {
	uint64_t epoch;                /* may be reused when no reader is in it or before */
	uint64_t what;                 /* heap offset, slot, link-coded node, space, graph */
	uint32_t size;                 /* bytes of a block; space of a slot or node */
	enum retired_kind kind;
};

#define EG_NODE_LOCKS 256u

struct store_writer {
	struct store store;
	struct desks *desks;
	struct heap heap;
	struct space_private *spaces;
	uint32_t cap_spaces;
	struct stack32 slot_chunks;    /* free chunks of slots */
	struct stack32 node_chunks[EG_CLASSES];
	/* Graphs (graph_write.h says which lock is for what). */
	pthread_mutex_t node_locks[EG_NODE_LOCKS];
	pthread_mutex_t graph_lock, fresh_lock;
	struct stack32 graphs;         /* records to be used again; graph_lock */
	_Atomic uint32_t graph_min;    /* vectors from which on a space has a graph; below half of that it has none */
	unsigned links;                /* of a node, at most: 2 .. EG_LINKS */
	uint32_t sweep_min;            /* dead nodes below which no sweep is due */
	uint64_t fresh_taken;          /* of the ring, by the linking thread; this and the following: fresh_lock */
	pthread_cond_t fresh_work;     /* something is in the ring or to be looked at */
	pthread_cond_t fresh_room;     /* the ring is not full any more */
	struct stack32 looks;          /* spaces to be looked at, oldest first */
	bool linking, link_idle;       /* a linking thread is there; and it sleeps */
	_Atomic uint64_t ids_used[EG_SHARDS + 1];    /* words not empty (log: grow; apply: insert) */
	_Atomic uint32_t ids_pending[EG_SHARDS + 1]; /* inserts admitted but not applied */
	pthread_mutex_t retire_lock;   /* between threads of this process */
	struct retired *retired;       /* a ring in order of epoch */
	size_t retired_first, retired_n, retired_cap;
};

/* Make all regions of an empty store (state BUILDING). Objects of that prefix
 * that exist already are an error: the caller unlinks or adopts them. */
enum err store_create(struct store_writer *w, struct desks *d, const char *prefix,
                      const uint8_t uuid[16], uint64_t boot_id, bool huge, struct fault *f) EG_MUST_USE;
/* Open the regions of a store that an earlier writer left, of this boot or of
 * another one whose family died; the caller then runs store_repair. EG_E_WRITER
 * when there is none, or one of another layout or data directory, or one that was
 * never finished. Readers of this boot see it after store_publish. */
enum err store_adopt(struct store_writer *w, struct desks *d, const char *prefix,
                     const uint8_t uuid[16], bool huge, struct fault *f) EG_MUST_USE;
void store_close(struct store_writer *w);

/* Readers of this boot may attach now. */
void store_publish(struct store_writer *w, uint64_t boot_id);

/* Make the regions of a dimension class exist (log thread). */
enum err store_make_class(struct store_writer *w, unsigned class_, struct fault *f) EG_MUST_USE;

static inline struct root *store_root(struct store_writer *w) { return w->store.root; }

#endif
