/* Replay: records of the log through the running writer's apply function, one by
 * one in LSN order. Batches take effect at their COMMIT; a run that was not closed
 * never happened. Per shard only what is above its applied LSN; per object only
 * what is newer than its content.
 */
#ifndef WAL_REPLAY_H
#define WAL_REPLAY_H

#include "wal/apply.h"
#include "wal/logged.h"
#include "wal/segment.h"

struct replay {
	struct store_writer *w;
	uint8_t *run;                  /* records of an open batch, one after another */
	size_t run_bytes, run_cap;
	uint64_t run_entry, run_parts;
	uint32_t run_producer;
	struct logged *logged;         /* filled with what lanes may still hold; may be NULL */
	uint64_t boot_id, acked_lsn;   /* only this boot's records above it */
	uint64_t applied, skipped;
	uint64_t cpu_ns;               /* processor time counted so far, of the thread that applies */
	bool torn;                     /* a loss lies before the present batch: it may lack parts */
	bool loss;                     /* a loss was met: what made a space may be gone */
	uint64_t homeless;             /* records of spaces that no record made, after a loss */
};

/* A record that comes soon: its id is brought from memory meanwhile. */
void replay_peek(const struct replay *p, const struct record *r);
/* A scan_fn (wal/scan.h); arg is a struct replay. */
enum err replay_record(void *arg, const struct record *r, const struct segment_header *h, struct fault *f) EG_MUST_USE;
/* The processor time that it took since the last call goes to the store's count (root's work_ns). It is a thread's
 * own: called by the thread that applied, when it will apply no more. */
void replay_count(struct replay *p);
/* All records were seen: every shard stands at last_lsn. */
void replay_end(struct replay *p, uint64_t last_lsn);

#endif
