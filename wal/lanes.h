/* The writer's side of the lanes: take entries in the order they were published.
 *
 * A round reads the time first, then all heads, takes what is older than that
 * time and merges it by stamp, so that no dead worker's old change can overtake a
 * client's newer one. Entries are checked here (sizes, sequence); what they say
 * is checked by admission, on copies.
 */
#ifndef WAL_LANES_H
#define WAL_LANES_H

#include "shm/desk.h"
#include "wal/lane.h"
#include "wal/round.h"

struct lane_reader {
	uint64_t at;                   /* bytes taken */
	uint64_t next_seq;
	uint64_t head;                 /* as seen by this round */
	uint64_t resume;               /* head when this writer began */
	struct lane_entry entry;       /* copy of the next entry's head, when `peeked` */
	bool peeked, solo;
	bool broken;                   /* its bytes made no sense: ignored until its process is dead */
};

struct lanes {
	struct desks *desks;
	size_t bytes;                  /* taken by this round */
	bool solo;                     /* its only entry is about a space, or such a one is next */
	struct lane_reader readers[EG_DESKS_MAX][EG_LANES_MAX];
};

/* Begin where the last writer had answered. */
void lanes_open(struct lanes *l, struct desks *d);

/* Add to the round's entries what was published since (lanes_begin empties the
 * account of the round before). An entry that must be alone in its round (about a
 * space) ends the round before it, or is the only one. Returns their number. */
void lanes_begin(struct lanes *l);
unsigned lanes_gather(struct lanes *l, struct round *r);

/* May nothing more be added to this round? */
bool lanes_full(const struct lanes *l, const struct round *r);

/* Is anything published that has not been taken? */
bool lanes_pending(const struct lanes *l);
/* Has everything been answered that was published when this writer began? */
bool lanes_resumed(const struct lanes *l);
/* Has everything been answered that this desk published, whose process is dead? */
bool lanes_drain(struct lanes *l, unsigned desk);

#endif
