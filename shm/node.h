/* Nodes: the vectors of a space, in chunks of 16, in a slab per dimension class.
 *
 * The class of a dimension rounds it up so that a vector starts on a cache line
 * and kernels need no tail: multiples of 16 up to 256, of 64 up to 1024, of 256
 * up to 4096 (40 classes). Unused components are zero. Node n of a class lies
 * at vec + n * stride; its owner word says whose it is:
 *
 *   owner   slot << 32 | generation; EG_NODE_FREE when nobody's
 *
 * Vectors have unit length, so a dot product is the cosine.
 *
 * Writer: wal process. Readers: everybody, in an epoch section. A hit is served
 * only after its owner's body names this very node. Reclaimed by: the writer, by epoch.
 */
#ifndef SHM_NODE_H
#define SHM_NODE_H

#include "shm/space.h"

#define EG_NODE_FREE 0xffffffff00000000u  /* no slot has that number */

/* A link to a chunk of nodes: class << 26 | chunk. A space has one list of them;
 * chunks of another class than its present dimension stay in it after an
 * embedder was replaced by client vectors, and are passed over by a recall. */
#define EG_LINK_SHIFT 26
#define EG_LINK_MASK ((1u << EG_LINK_SHIFT) - 1)

struct node_chunk {                       /* 256 bytes; chunk c holds nodes c * 16 .. */
	_Atomic uint32_t space;           /* EG_NONE = free */
	_Atomic uint32_t next;            /* link, of the same space, EG_NONE = last */
	_Atomic uint32_t named;           /* bit a node: links of a graph may name it */
	_Atomic uint32_t linked;          /* bit a node: and it has been linked, both ways */
	uint64_t pad[14];
	_Atomic uint64_t owner[EG_CHUNK];
};
_Static_assert(sizeof(struct node_chunk) == 256, "one chunk of owners");

unsigned node_class(unsigned dim);        /* 0 .. EG_CLASSES - 1 */
unsigned node_stride(unsigned class_);    /* floats */

/* Walk the vectors of a space, chunk by chunk. */
struct node_span {
	const float *vectors;             /* EG_CHUNK of them, stride floats apart */
	const _Atomic uint64_t *owners;   /* EG_CHUNK */
	unsigned stride;
	uint32_t first;                   /* node number of the first */
	unsigned class_;
};
struct node_walk { const struct store *store; uint32_t link; uint32_t space; };
void node_walk(const struct store *s, const struct space *sp, struct node_walk *w);
bool node_next(struct node_walk *w, struct node_span *span);

/* The full vector of a body's node, stride floats, or NULL when it has none. */
struct body;
const float *node_vector(const struct store *s, const struct body *b);

#endif
