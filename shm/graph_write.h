/* Graphs, the writing side: linking, taking out, sweeping.
 *
 * Three kinds of threads of the wal process: the log thread gives nodes out and takes
 * them back, apply threads say who owns them, one linking thread makes codes and links
 * (wal/linker.h). Locks, in this order:
 *
 *   node_locks   256, shared by nodes: owner and `named` change under it together, and so do
 *                a node's links. No thread holds two.
 *   graph_lock   which record a space has, state, entries and counts of records, the free records
 *   fresh_lock   the ring, and the spaces that are to be looked at
 *
 * Who retires a dead node is decided under its lock, once: `named` was set, then whoever clears
 * the mark does (graph_forget after a sweep, graph_release after a drop), else the apply thread.
 */
#ifndef SHM_GRAPH_WRITE_H
#define SHM_GRAPH_WRITE_H

#include "shm/graph.h"
#include "shm/store_write.h"

/* What a linking thread has of its own. */
struct linker {
	struct graph_scratch scratch;
	uint8_t *levels;               /* of nodes compared with each other */
	uint8_t *code;                 /* the new node's, before it is stored */
	struct beam *near;             /* candidates */
	uint32_t ef;                   /* candidates that a new node is linked from */
	uint64_t n_links;              /* links written so far */
};
void linker_init(struct linker *l, unsigned ef);
void linker_fini(struct linker *l);

/* ---- graphs of spaces: the linking thread ---- */
/* A graph for a space that has none, state BUILDING. NULL with EG_E_NO_STORAGE in f. No node of
 * the space may be marked as named. */
struct graph *graph_make(struct store_writer *w, uint32_t space, unsigned class_, struct fault *f);
/* That space has no graph any more; its record may serve another one when readers have left
 * (epoch). Its nodes stay marked as named: graph_release for each chunk must follow, unless the
 * space is deleted. */
void graph_drop(struct store_writer *w, uint32_t space);
/* What was published before is seen by whoever looks after this; what is published after it sees
 * the state (graph_offer). */
void graph_set_state(struct store_writer *w, struct graph *g, enum graph_state state);
struct graph *graph_for_write(struct store_writer *w, uint32_t space);   /* NULL: none */
struct graph *graph_at(struct store_writer *w, uint32_t number);
/* A sweep is due: so many of its nodes are dead. */
bool graph_due(struct store_writer *w, const struct graph *g);

/* ---- linking ---- */
/* Codes and links of a chunk exist from now on. */
enum err graph_room(struct store_writer *w, unsigned class_, uint32_t chunk, struct fault *f) EG_MUST_USE;
/* Make the code of a published node and link it both ways. Does nothing when the
 * node has been deleted or is linked. In an epoch section; after graph_room. */
void graph_link(struct store_writer *w, struct graph *g, struct linker *l, uint32_t node);

/* ---- apply threads ---- */
/* A published node, before its slot shows it: into the ring, if its space has a graph that needs
 * that. Waits while the ring is full, as long as a linking thread is there; else that
 * graph is to be built again. */
void graph_offer(struct store_writer *w, uint32_t space, unsigned class_, uint32_t node);
/* With the node's lock held: it is marked as named and has no owner any more. True when
 * the space is to be looked at (graph_look) for that. */
bool graph_note_dead(struct store_writer *w, uint32_t space, unsigned class_) EG_MUST_USE;
/* Any thread: the linking thread shall look at that space. */
void graph_look(struct store_writer *w, uint32_t space);

/* ---- taking deleted nodes out: a sweep is these in order, each for all chunks ---- */
/* Nodes of one chunk that links may name but nobody owns: a set bit each. */
uint32_t graph_dead(struct store_writer *w, unsigned class_, uint32_t chunk);
/* Replace what names deleted nodes in the lists of a chunk, and entries of the graph. In an
 * epoch section. */
void graph_sweep_chunk(struct store_writer *w, struct graph *g, struct linker *l, uint32_t chunk);
void graph_sweep_entries(struct store_writer *w, struct graph *g, uint32_t living);   /* some linked node with an owner, or EG_NODE_NONE */
/* No link names a node any more that was dead before the sweep began: retire it. */
void graph_forget(struct store_writer *w, struct graph *g, uint32_t node);
/* A chunk of a dropped graph: no mark, dead nodes retired. */
void graph_release(struct store_writer *w, uint32_t space, unsigned class_, uint32_t chunk);

/* ---- the ring of nodes not linked yet ---- */
/* Push: false when it is full and nobody empties it. Next: each word once, 0 = none; *at is its
 * place. Done: linked, or not to be. */
bool fresh_push(struct store_writer *w, uint64_t word) EG_MUST_USE;
uint64_t fresh_next(struct store_writer *w, uint64_t *at);
void fresh_done(struct store_writer *w, uint64_t at);
/* Words that nobody has taken yet. */
uint64_t fresh_waiting(struct store_writer *w);
/* Linking thread: sleep until there is a word, or a space to be looked at, or *stop. Wake: look at
 * *stop again. */
void fresh_wait(struct store_writer *w, const _Atomic bool *stop);
void fresh_wake(struct store_writer *w);

/* ---- repair (store_repair) ---- */
/* The last writer may have stored anywhere: no graph, and nothing in the ring. */
void graph_distrust(struct store_writer *w);
/* Which graphs there are still: those of another class, or of no space, are dropped; one that was
 * not READY is to be built again. Then for each node graph_repair_node, then the end. */
struct graph_repair { uint64_t *ring; uint32_t n_ring; uint64_t dropped, rebuilt; };
void graph_repair_begin(struct store_writer *w, struct graph_repair *r);
/* owned: it has an owner that names it. True when it stays named by links without an owner: not free. */
bool graph_repair_node(struct store_writer *w, struct graph_repair *r, uint32_t space, unsigned class_, uint32_t node,
                       bool owned);
void graph_repair_end(struct graph_repair *r);

#endif
