/* Control entries: what a process tells the wal process through its lane without a change
 * to be logged. Type EG_RECORD_CHECKPOINT, the message is the packed part.
 *
 *   ASK     somebody wants a checkpoint: the answer's version is the number of the demand
 *   PLACE   one was written into tmp/: put it in force
 *   FAILED  it could not be written
 *   BACKUP  make one: the answer's version is the number of the demand (backup.h)
 *
 * Such an entry is answered when it was understood. How a checkpoint ended is told
 * in the page of the wal process (checkpoint_page, backup_page); every doorbell is rung then.
 */
#ifndef WAL_CONTROL_H
#define WAL_CONTROL_H

#include "wal/submit.h"
#include "wal/superblock.h"

enum control_what { EG_CONTROL_ASK = 1, EG_CONTROL_PLACE, EG_CONTROL_FAILED, EG_CONTROL_BACKUP };

struct control {
	uint32_t what;                 /* enum control_what */
	uint32_t err;                  /* FAILED: enum err */
	uint64_t nonce;                /* of the attempt: told back when it has ended */
	uint64_t demands;              /* those that this attempt answers */
	char name[64];                 /* PLACE: file in tmp/; BACKUP: its name */
	char base[64];                 /* BACKUP: an earlier one's name, "" = none */
	struct checkpoint_place place;
	uint32_t generation, pad;      /* PLACE: root's, of the memory that it tells of */
	uint64_t work_ns;              /* root's when it began */
	uint64_t written;              /* bytes of its file */
	int64_t begun_ns;              /* CLOCK_MONOTONIC */
};

/* The draft of one; *c must live until it is pushed. */
void control_draft(const struct control *c, struct draft *d);
/* Is that the packed part of one? */
bool control_read(const void *packed, size_t bytes, struct control *c);

#endif
