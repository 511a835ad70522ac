/* Loading: a new store from a checkpoint and the records that its rows name.
 *
 * The checkpoint holds no text and no vector, only which memories live, in which
 * slots and nodes, and the LSN of the record of each. So loading is a join: rows in
 * order of LSN against the log's segments, a thread a segment, each read once
 * in large windows. Numbers of slots and nodes are kept (of
 * a checkpoint of another layout: made anew); the heap, id tables,
 * lists of chunks and counts are made anew. Afterwards the caller replays the log from
 * start_lsn + 1; a record that a row has brought already changes nothing.
 *
 * Nobody sees the store meanwhile (BUILDING), so a kill costs only the time.
 * A damaged checkpoint is no damage of the data: another one, or the whole log, may
 * serve. A row whose record is not in the log is: the log has rotted.
 */
#ifndef WAL_LOAD_H
#define WAL_LOAD_H

#include "shm/store_write.h"
#include "wal/datadir.h"

enum load_phase { EG_LOAD_ROWS, EG_LOAD_FRAME, EG_LOAD_RECORDS, EG_LOAD_IDS, EG_LOAD_LISTS, EG_LOAD_PHASES };

struct load_report {
	uint64_t ns[EG_LOAD_PHASES];   /* how long each took */
	uint64_t memories;             /* live now */
	uint64_t dropped;              /* rows of deleted spaces, and of ids with a newer row */
	uint64_t parted;               /* rows that got another node than theirs */
	bool anew;                     /* all got other slots and nodes: it was of another layout */
	uint64_t bytes;                /* read: of checkpoint files and segments */
	bool rot;                      /* EG_E_VALIDATION because of the log, not of the checkpoint */
};

/* Into an empty store (store_create). threads: at a time, 1 .. 64. EG_E_VALIDATION: the
 * checkpoint is damaged, or (r->rot) a record that it needs is, with the LSN range. */
enum err load_checkpoint(struct store_writer *w, const struct datadir *d, const struct checkpoint_place *place,
                         unsigned threads, struct load_report *r, struct fault *f) EG_MUST_USE;

#endif
