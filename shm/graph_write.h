/* Graphs, the writing side: linking, taking out, sweeping.
 *
 * Three kinds of threads of the wal process: the log thread gives nodes out and takes
 * them back, apply threads say who owns them, linking threads make codes and links.
 * A node has a lock, shared with others (256 in all): owner and `named` change under it
 * together, and so do its links. No thread holds two.
 */
#ifndef SHM_GRAPH_WRITE_H
#define SHM_GRAPH_WRITE_H

#include "shm/graph.h"
#include "shm/store_write.h"

/* What a linking thread has of its own. */
struct linker {
	struct graph_scratch scratch;
	uint8_t *levels;               /* of nodes compared with each other */
	struct beam *near;             /* candidates */
	uint32_t ef;                   /* candidates that a new node is linked from */
};
void linker_init(struct linker *l, unsigned ef);
void linker_fini(struct linker *l);

/* The graph of a space for its present class, made (state BUILDING) when there
 * is none. One thread at a time. NULL with EG_E_NO_STORAGE in f. */
struct graph *graph_make(struct store_writer *w, uint32_t space, unsigned class_, struct fault *f);
/* That space has no graph any more; its record may serve another one. */
void graph_drop(struct store_writer *w, uint32_t space);
struct graph *graph_for_write(struct store_writer *w, uint32_t space);   /* NULL: none */

/* Make the code of a published node and link it both ways. Does nothing when the
 * node has been deleted or is linked. In an epoch section. */
void graph_link(struct store_writer *w, struct graph *g, struct linker *l, uint32_t node);

/* Apply thread: a node that links may name has no owner any more. False when the
 * space has no graph of that class (any more): nothing names it then. */
bool graph_note_dead(struct store_writer *w, uint32_t space, unsigned class_) EG_MUST_USE;
/* Nodes of one chunk that links may name but nobody owns: a set bit each. */
uint32_t graph_dead(struct store_writer *w, unsigned class_, uint32_t chunk);
/* Replace what names deleted nodes in the lists of a chunk. In an epoch section. */
void graph_sweep_chunk(struct store_writer *w, struct graph *g, struct linker *l, uint32_t chunk);
void graph_sweep_entries(struct store_writer *w, struct graph *g);

/* The ring of nodes not linked yet. Push: apply threads; false when it is full.
 * Next: linking threads, each word once, 0 = none. Done: linked, or not to be. */
bool fresh_push(struct store_writer *w, uint64_t word) EG_MUST_USE;
uint64_t fresh_next(struct store_writer *w, uint64_t *at);
void fresh_done(struct store_writer *w, uint64_t at);

#endif
