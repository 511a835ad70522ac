/* Power loss, simulated: the parts of t/unit/wal_powerloss.c.
 *
 *   model   what was sent, in what order, and what was acknowledged when
 *   run     one recording: a writer, a sender, kills and failing syncs, on the tape
 *   dump    the writing of checkpoints in it
 *   disk    what a disk may hold when the power fails at some time of the tape
 *   check   the real recovery on such a disk, held against the model
 *
 * There is one sender with one lane, a few entries under way at a time: so the order
 * of all changes is known, and what a recovered store may be is one of a row of
 * states, from the last one that was acknowledged as durable to the last one sent.
 */
#ifndef T_WAL_POWERLOSS_H
#define T_WAL_POWERLOSS_H

#include <stdbool.h>

#include "shm/store.h"
#include "t/unit/wal_family.h"

#define PL_SEGMENT (160u << 10)        /* bytes of a segment of the log */
#define PL_SPACES 3u
#define PL_KEYS 40u
#define PL_BATCH 10u
#define PL_STATES 16384u
#define PL_ENTRIES 4096u
#define PL_BRANCHES 16u

/* ---- the model; in memory that all processes of a recording share ---------------- */

struct pl_memory { uint64_t value; uint64_t version; };   /* value 0: not there */
struct pl_space { uint32_t live, made, dim; uint64_t quota; struct pl_memory at[PL_KEYS]; };

struct pl_world { struct pl_space spaces[PL_SPACES]; uint64_t digest; };

struct pl_entry {
	uint32_t last;             /* state when all of it is done */
	uint32_t durable;          /* the answer said so */
	uint64_t sent, acked;      /* times of the tape; 0: never answered */
	uint64_t lsn;              /* of the answer */
	uint64_t durable_lsn;      /* published when it was answered */
};

struct pl_branch {                 /* a family's life: what it found, and went on from */
	uint64_t from;             /* time of the tape */
	uint32_t state;            /* what it found */
	uint32_t first, first_entry;   /* states and entries from here on are its own */
};

struct pl_model {
	uint64_t root;             /* inode of the data directory */
	uint64_t seed;
	_Atomic uint32_t stop;     /* the sender shall come to an end */
	_Atomic uint32_t refused;  /* enum err of an entry that was refused */
	_Atomic uint32_t no_room;  /* one was refused for want of a spare segment, later ones may not have been */
	_Atomic uint32_t broken;   /* an answer that must not be: its line */
	_Atomic uint32_t answered; /* entries */
	_Atomic uint32_t stop_dumps, checkpoints;      /* the dumper shall end; checkpoints put in force */
	struct pl_world world;     /* when all that was sent is done */
	uint64_t value;            /* of the next operation */
	uint32_t n_states, n_entries, n_branches;
	uint64_t states[PL_STATES];    /* digests */
	struct pl_entry entries[PL_ENTRIES];
	struct pl_branch branches[PL_BRANCHES];
};

struct pl_found {                  /* what a store holds */
	struct pl_world world;
	uint32_t extra;            /* the memory that a check adds is there */
	uint32_t space;            /* number of some live space, EG_NONE = none */
	char wrong[160];           /* what cannot be, "" = nothing */
};

void model_begin(struct pl_model *m, uint64_t seed);
/* Another family goes on from what was found; false when no such state is allowed. */
bool model_branch(struct pl_model *m, const struct pl_found *found, uint64_t time);
/* For family_spawn; arg: the model. */
int model_send(struct wal_family *f, void *model);
int model_dump(struct wal_family *f, void *model);
void model_look(const struct store *s, struct pl_found *found);

/* Which states are allowed when the power fails at that time: `from` .. `to`, or the
 * one that a branch began with. */
struct pl_allowed { uint32_t from, to, also; };
struct pl_allowed model_allowed(const struct pl_model *m, uint64_t time);
enum pl_verdict { PL_GOOD, PL_LOST, PL_TOO_NEW, PL_TORN, PL_WRONG, PL_REFUSED, PL_UNSTABLE, PL_VERDICTS };
enum pl_verdict model_judge(const struct pl_model *m, struct pl_allowed a, const struct pl_found *found);

/* ---- a recording ------------------------------------------------------------------ */

struct pl_counts { uint64_t entries, rotations, kills, rescues, reboots, refusals, checkpoints, events, bytes, images, nested; };
/* Fills the tape and the model. PL_BAD: something is wrong (said on stdout). PL_AGAIN: a store
 * was refused in the midst of others, so their order is no prefix; take another seed. */
enum pl_recorded { PL_RECORDED, PL_BAD, PL_AGAIN };
enum pl_recorded run_record(struct pl_model *m, uint64_t seed, struct pl_counts *c);

/* ---- checking --------------------------------------------------------------------- */

struct disk;
/* The image of that number: builds it in f's folder, recovers, judges. Says what is
 * wrong in text (size bytes). */
enum pl_verdict check_image(struct wal_family *f, const struct pl_model *m, const struct disk *d, uint64_t number,
                            unsigned *kind, uint32_t *nested, char *text, size_t size);

extern bool pl_frugal, pl_loud;    /* this process only looks at images; at one, and says more */
/* Only build it, in an empty folder; text says what it is. */
void check_build(const struct pl_model *m, const struct disk *d, uint64_t number, const char *at, char *text, size_t size);

uint64_t pl_random(uint64_t *state);

#endif
