/* killstep's parts: a world (a store, a log in memory, operations), the scenes that
 * are stepped through, the deep check of what a kill left, and the stepping itself.
 *
 * A world's operations come from records that stand in `shared` before they are
 * applied, as in the log; so what is right after a kill is known from three numbers:
 * records logged, records applied, and the records themselves.
 */
#ifndef T_WAL_STEP_H
#define T_WAL_STEP_H

#include <stdarg.h>

#include "shm/epoch.h"
#include "shm/store_write.h"
#include "wal/linker.h"
#include "wal/replay.h"

#define STEP_LOG ((size_t)6 << 20)
#define STEP_HELD 4u
#define STEP_FUNCTIONS 128u

/* What a reader looks at since before the scene: it must not change. */
struct step_held {
	uint64_t body;
	uint32_t slot, generation, bytes, class_, node, vector_bytes;
	uint8_t copy[4096], vector[16384];
};

struct step_shared {                       /* between the writer and its watcher */
	uint64_t n_logged, n_applied, log_bytes, last_lsn;
	uint64_t ids_tried;                /* ids that exist in either model are below */
	uint32_t n_held, n_spaces;
	struct step_held held[STEP_HELD];
	uint8_t log[STEP_LOG];
};

struct step_world {
	struct desks desks, worker;
	struct store_writer w;
	struct replay replay;
	struct epoch reader;
	struct linkers links;              /* of scenes with graphs */
	char prefix[40];
	uint8_t uuid[16];
	uint64_t n_seen;                   /* records given to replay; parts are not applied yet */
	struct step_shared *s;
};

/* ---- world ---- */
#define STEP_BOOT 77u
void world_desks(struct step_world *x);            /* in the watcher, before the fork */
void world_create(struct step_world *x);           /* store_create and store_publish */
void world_adopt(struct step_world *x, bool verify);
void world_space(struct step_world *x, uint32_t number, const char *name, uint32_t quota);
/* Write a record; the caller applies, or world_apply does. id: number of the memory. */
struct step_put { uint32_t space, id; unsigned dim, packed, flags, entry; };   /* entry: of a PART */
const struct record *world_log_put(struct step_world *x, struct step_put p);
const struct record *world_log_delete(struct step_world *x, uint32_t space, uint32_t id);
const struct record *world_log_space(struct step_world *x, uint32_t number, const char *name, uint32_t quota);
const struct record *world_log_space_delete(struct step_world *x, uint32_t number);
const struct record *world_log_commit(struct step_world *x, unsigned entry, unsigned parts);
void world_apply(struct step_world *x);            /* all that is logged and was not applied */
void world_put(struct step_world *x, struct step_put p);
void world_hold(struct step_world *x, uint32_t space, uint32_t id);
void world_let_go(struct step_world *x);
void world_id(char out[24], uint32_t id);

/* Spaces of so many vectors get a graph from now on, by steps of the linking thread; all steps that there are. */
#define STEP_GRAPH_MIN 4u
void world_linker(struct step_world *x);
void world_settle(struct step_world *x);

/* Every record in order; NULL after the last. */
const struct record *world_record(const struct step_shared *s, size_t *at);

/* ---- scenes ---- */
enum { STEP_NEW = 1, STEP_BRIEF = 2, STEP_GRAPH = 4 };   /* no store before; in the short form; graphs are built */
struct step_scene {
	const char *name;
	unsigned flags;
	void (*setup)(struct step_world *x);
	void (*act)(struct step_world *x);
};
extern const struct step_scene step_scenes[];
extern const unsigned n_step_scenes;
extern const struct step_scene step_graphs[];
extern const unsigned n_step_graphs;

/* ---- the deep check of a state ---- */
struct step_verdict {
	uint32_t corrupt, leaked;          /* findings */
	uint32_t repaired, rebuilt;        /* 1: repair had something to do; there was no store yet */
	char why[400];                     /* the first finding */
};
/* In a forked copy of the watcher: everything it writes is its own. */
void step_check(struct step_world *x, const struct step_scene *scene, struct step_verdict *v);
/* A search of the space, if its graph may be searched, finds that memory. */
bool step_graph_finds(const struct store *s, const struct space *sp, const struct body *b);
/* What is wrong with the graph of that space at rest, or NULL. */
const char *step_graph_wrong(struct store_writer *w, uint32_t space);
/* From here on regions are mapped as private copies. */
extern bool step_private;
void step_copies_forget(void);

/* ---- functions ---- */
struct step_function {
	char name[48], header[48];
	uint64_t entry;
	bool is_inline;
	uint64_t calls, returns, steps, own;   /* entered, left, instructions within, of these its own */
	uint64_t code_bytes;
};
struct step_tally {                        /* shared by all watchers */
	_Atomic unsigned next_scene, failed;
	_Atomic uint64_t steps, points, states, distinct, repaired, rebuilt, corrupt, leaked, missed, syscalls, strings;
	unsigned n_functions;
	struct step_function functions[STEP_FUNCTIONS];
};
/* Read the *_write.h below top and this program's symbols. */
bool step_functions(struct step_tally *t, const char *top);

/* ---- stepping ---- */
struct step_options { unsigned stride; uint64_t seed; bool brief; const char *only; };
void step_scene_run(const struct step_scene *scene, const struct step_options *o, struct step_tally *t);

#endif
