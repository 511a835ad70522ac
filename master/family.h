/* The family: which roles there are, who plays them, and when somebody has to go.
 *
 * A role is a place that has to be filled: the wal process, worker 0, worker 1...
 * A child is a living process at a desk. During a reload one role has two
 * children, the old one until the new one is ready. All times are monotonic ns.
 */
#ifndef MASTER_FAMILY_H
#define MASTER_FAMILY_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "master/spawn.h"

#define EG_ROLES_MAX EG_DESKS_MAX
#define EG_DEATHS_FREE 5u               /* in a row before ready, until there is a pause */
#define EG_PAUSE_MIN_MS 100
#define EG_PAUSE_MAX_MS 10000
#define EG_READER_WARN_NS INT64_C(1000000000)    /* a reader in one section for so long is named */
#define EG_READER_KILL_NS INT64_C(30000000000)   /* ... and its process ended */

enum family_told { FAMILY_STAY, FAMILY_LEAVE, FAMILY_STOP };   /* what a child was asked to do */

struct child {                          /* at its desk's index; pid 0 = none */
	pid_t pid;
	unsigned role;
	uint32_t generation;            /* configuration that it was born with */
	uint32_t incarnation;
	enum family_told told;
	bool killed;                    /* SIGKILL is on its way */
	int64_t leave_by;               /* once told; killed after that */
	uint64_t beat;                  /* last heartbeat seen */
	int64_t silent_ns;              /* how long the master has watched without a new one */
	uint64_t held;                  /* oldest epoch that its threads were seen in behind the global one, 0 = none */
	int64_t held_ns;                /* how long the master has watched that */
};

struct role {
	const struct kind *kind;
	uint32_t index, node;
	unsigned deaths;                /* in a row, before being ready */
	uint32_t restarts;
	int64_t not_before;             /* pause after too many deaths */
};

struct family {
	struct spawn spawn;
	struct desks *desks;
	struct role roles[EG_ROLES_MAX];
	unsigned n_roles;
	struct child children[EG_DESKS_MAX];
	int64_t watched;                /* when family_watch last looked */
	int hopeless;                   /* exit status of a child that no restart can mend
	                                 * (EX_DATAERR before it was ready), 0 = none */
};

/* Roles from the table: a serving kind gets `workers` of them, per_node a node. */
void family_init(struct family *fam, const struct kinds *kinds, struct desks *desks,
                 unsigned workers, unsigned per_node);

/* How long a role waits before its next try after so many deaths in a row. */
int64_t family_pause_ms(unsigned deaths);

/* Collects dead children: seats become DEAD (the wal process's FREE at once: its
 * successor takes the same desk), the wal process is rung to drain them. */
void family_reap(struct family *fam, int64_t now);
/* DEAD seats that the wal process has drained are FREE again. True: some still wait. */
bool family_release(struct family *fam);
/* Kills who has not beaten for heartbeat_ns while the master watched, who was told
 * to go and did not in time, and who reads for too long: a thread in an epoch
 * behind the global one keeps the writer from reclaiming anything. */
void family_watch(struct family *fam, int64_t heartbeat_ns, int64_t now);

/* Fills every role that nobody plays (in this generation, for serving kinds) as
 * far as desks and pauses allow. `serve` false: serving roles stay empty.
 * Returns how many are still empty. */
unsigned family_fill(struct family *fam, bool serve, int64_t now);
/* Asks workers of an older generation to leave once a later one is at work in their place.
 * Returns how many old ones are still there. */
unsigned family_retire(struct family *fam, int64_t patience_ns, int64_t now);

/* Tell children to leave (QUIT) or stop (TERM), once each; `rank` of their kind. */
void family_tell(struct family *fam, unsigned rank, enum family_told what, int64_t patience_ns, int64_t now);
/* Send a signal to all. */
void family_signal(const struct family *fam, int number);
/* Ring every living child. */
void family_ring(const struct family *fam);

/* Children whose kind has this rank; UINT_MAX: all. */
unsigned family_count(const struct family *fam, unsigned rank);
bool family_ready(const struct family *fam);    /* every role is played by somebody who is ready */
bool family_writer_ready(const struct family *fam);
unsigned family_serving(const struct family *fam);  /* children of kinds that serve */
bool family_hopeless(const struct family *fam); /* some role has died too often before it was ready */
bool family_beats(const struct family *fam, int64_t heartbeat_ns);  /* no child is silent for so long */
/* The next moment after `now` at which a pause or somebody's patience is over, or INT64_MAX. */
int64_t family_deadline(const struct family *fam, int64_t now);

#endif
