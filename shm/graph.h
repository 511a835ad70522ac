/* Graphs: how the vectors of a large space are found without looking at all.
 *
 * A space that has EG_GRAPH_MIN vectors gets a graph: each node is linked to up to
 * EG_LINKS others that are near to it and lie in different directions. A search
 * begins at a few entries and goes from node to node, always on from the best one
 * that it has seen, until the best `ef` have all been looked at. It walks on codes
 * (common/code.h); full vectors are read for the last few candidates only.
 *
 * Per dimension class, behind node.C and vec.C, one more region:
 *
 *   code.C  chunk of 16 nodes:  16 x sign | 16 x scale | 16 x low | 16 x links
 *           sign dims / 8, scale 16, low dims / 2, links EG_LINKS x 4 bytes,
 *           dims = code_dims(stride of the class)
 *
 * A link is the number of a node of the same class, EG_NODE_NONE = none; each
 * is a word of its own, so a reader that meets half a change sees a graph that is
 * as good as before or after it. Lists may have holes.
 *
 * A node is found while it is not linked because it stands in the ring of fresh
 * nodes, which a search looks through first; a node leaves the ring after its links
 * are there. A deleted one stays a stone to step on, and is not returned, until a
 * sweep has taken its number out of all lists.
 *
 * Pages of code.C are there for chunks of which a node was linked; nothing else of it may be looked at.
 *
 *   graph   ring: head 8, tail 8, pad | EG_FRESH x 8 (1 << 63 | space 27 | class 6 | node 30; 0 = linked)
 *           then graphs of 1024 bytes: space 4 class 4 state 4 n_entries 4 linked 8 dead 8 pad | entries
 *
 * Sources: Malkov and Yashunin, HNSW (TPAMI 2020), the walk and the choice of
 * neighbours; Munyampirwa et al. 2024, why there are no upper layers; Fu et al., NSG
 * (VLDB 2019) and Subramanya et al., DiskANN (NeurIPS 2019), the choice relaxed by a
 * factor; Singh et al., FreshDiskANN 2021, deletions by a sweep.
 *
 * What a reader must do, in one epoch section: ask graph_ready; NULL: compare all vectors
 * of the space (node_walk); else graph_search, which looks through the ring, then walks. A hit's owner
 * may be a slot that does not show the node yet, or no more: it counts only if the slot's
 * body names that very node. So ask for more hits than are wanted. A graph may go back to BUILDING
 * or be dropped during the search: that is right for who began before.
 *
 * Writer: wal process (graph_write.h). Readers: everybody, in an epoch section.
 * Reclaimed by: the writer; a node after a sweep, then by epoch.
 */
#ifndef SHM_GRAPH_H
#define SHM_GRAPH_H

#include "common/code.h"
#include "shm/node.h"

#define EG_NODE_NONE UINT32_MAX
#define EG_GRAPH_MIN 2000u             /* vectors of a space; below, all of them are compared (hnsw_index.exact_below) */
#define EG_SWEEP_MIN 64u               /* dead nodes of a graph, and one in 16 of those linked: then it is swept */
#define EG_EF_MAX 4096u

enum graph_state {
	EG_GRAPH_NONE,                 /* to be used again */
	EG_GRAPH_BUILDING,             /* compare all; new nodes are met by the build */
	EG_GRAPH_CATCHING,             /* compare all; new nodes go into the ring */
	EG_GRAPH_READY                 /* walk, and look at the ring */
};

struct graph {                            /* 1024 bytes */
	_Atomic uint32_t space;
	_Atomic uint32_t class_;
	_Atomic uint32_t state;           /* enum graph_state */
	_Atomic uint32_t n_entries;
	_Atomic uint64_t linked;          /* nodes, dead ones too */
	_Atomic uint64_t dead;            /* nobody's, waiting for a sweep */
	uint64_t pad[2];
	_Atomic uint32_t entries[EG_GRAPH_ENTRIES];
};
_Static_assert(sizeof(struct graph) == 1024, "the picture above");

struct fresh {
	_Atomic uint64_t head;            /* next to be written; never wraps */
	_Alignas(64) _Atomic uint64_t tail; /* all below are linked */
	_Alignas(64) _Atomic uint64_t words[EG_FRESH];
};
#define EG_FRESH_WORD(space, class_, node) \
	(UINT64_C(1) << 63 | (uint64_t)(space) << 36 | (uint64_t)(class_) << 30 | (node))
#define EG_GRAPHS_AT ((sizeof(struct fresh) + 4095) / 4096 * 4096)

/* Where things are in a class, for one process. */
struct graph_view {
	const uint8_t *codes;
	const float *vectors;
	const struct node_chunk *owners;
	uint32_t limit;                   /* nodes below it exist */
	uint32_t coded;                   /* and below this one may have codes and links */
	uint32_t stride;                  /* floats of a vector */
	uint32_t dims, sign_bytes, low_bytes;
	uint32_t scale_at, low_at, links_at, chunk_bytes;
};
/* False, logged, when the class cannot be mapped. */
bool graph_view(const struct store *s, unsigned class_, struct graph_view *v) EG_MUST_USE;
/* Bytes of a chunk of codes and links. */
size_t graph_chunk_bytes(unsigned class_);

static inline const uint8_t *graph_chunk(const struct graph_view *v, uint32_t node)
{
	return v->codes + (size_t)(node / EG_CHUNK) * v->chunk_bytes;
}
static inline const uint8_t *graph_sign(const struct graph_view *v, uint32_t node)
{
	return graph_chunk(v, node) + node % EG_CHUNK * v->sign_bytes;
}
static inline const struct code_scale *graph_scale(const struct graph_view *v, uint32_t node)
{
	return (const struct code_scale *)(const void *)(graph_chunk(v, node) + v->scale_at) + node % EG_CHUNK;
}
static inline const uint8_t *graph_low(const struct graph_view *v, uint32_t node)
{
	return graph_chunk(v, node) + v->low_at + node % EG_CHUNK * v->low_bytes;
}
static inline const _Atomic uint32_t *graph_links(const struct graph_view *v, uint32_t node)
{
	return (const _Atomic uint32_t *)(const void *)(graph_chunk(v, node) + v->links_at) + node % EG_CHUNK * EG_LINKS;
}
static inline const float *graph_vector(const struct graph_view *v, uint32_t node)
{
	return v->vectors + (size_t)node * v->stride;
}
static inline uint64_t graph_owner(const struct graph_view *v, uint32_t node)
{
	return atomic_load_explicit(&v->owners[node / EG_CHUNK].owner[node % EG_CHUNK], memory_order_acquire);
}

const struct fresh *graph_fresh(const struct store *s);
/* The graph of a space when a search may walk it, else NULL: compare all. */
const struct graph *graph_ready(const struct store *s, const struct space *sp);

/* Over all graphs, for status and metrics; nothing is exact while it changes. */
struct graph_totals {
	uint64_t graphs[EG_GRAPH_READY + 1];   /* by state */
	uint64_t indexed;                 /* vectors that are linked and not deleted */
	uint64_t ring;                    /* that wait in the ring */
	uint64_t build;                   /* that wait for a build to end */
};
void graph_totals(const struct store *s, struct graph_totals *t);

/* ---- one thread's memory for searches ---- */
struct beam { float score; uint32_t node; };     /* best first; the top bit of node: looked at */
#define EG_BEAM_SEEN UINT32_C(0x80000000)

struct graph_scratch {
	uint32_t *visited;                /* hash set of node + 1 */
	uint32_t visited_mask, visited_n;
	struct beam *beam;
	uint32_t n, ef, cap;
	float *rotated;                   /* EG_CODE_DIMS_MAX */
	int8_t *r;                        /* the same, 64-byte aligned */
	uint64_t looked, coded, exact;    /* signs, full codes, vectors read by the last search */
};
void graph_scratch_init(struct graph_scratch *sc);   /* aborts without memory */
void graph_scratch_fini(struct graph_scratch *sc);

/* Walk from the graph's entries towards the query; the scratch then has the best
 * ef (1 .. EG_EF_MAX) in its beam, scored by codes, deleted ones among them. */
void graph_walk(const struct graph_view *v, const struct graph *g, struct graph_scratch *sc,
                const struct code_query *q, unsigned ef);
/* Standard deviation of the beam's scores, for queries of unit length. */
float graph_score_error(unsigned dims);

struct graph_hit { float cosine; uint32_t node; uint64_t owner; };
/* The k nearest of a space by cosine, best first, into hits (k of them); returns how
 * many. query: unit length, stride floats of the space's class (zeros behind
 * its dimension). ef < k counts as k. Within an epoch section; hits are owners'
 * words, to be checked against the owner's body. */
size_t graph_search(const struct store *s, const struct graph *g, struct graph_scratch *sc,
                    const float *query, unsigned ef, unsigned k, struct graph_hit *hits);

#endif
