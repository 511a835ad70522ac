/* A round: what the log thread takes from the lanes at once, on its way from
 * admission to the answers. It lives until all its records are applied; a few
 * rounds are under way at the same time.
 */
#ifndef WAL_ROUND_H
#define WAL_ROUND_H

#include <stdatomic.h>

#include "wal/apply.h"
#include "wal/submit.h"

struct entry {                         /* a lane entry, as taken */
	unsigned desk, lane;
	uint64_t seq, first_result, stamp_ns;
	uint64_t end;                  /* lane position behind it: the new tail */
	const uint8_t *data;           /* in the ring: header and operations */
	uint32_t bytes, n_ops, flags, producer;
	bool solo;                     /* alone in its round */
	uint64_t lsn;                  /* highest, 0 = nothing logged */
	uint32_t first_bad;
	enum err err;
};

struct change {                        /* an admitted operation */
	struct plan plan;
	struct record head;            /* final but for LSN and CRC */
	const uint8_t *payload;        /* what follows the head, in the ring; NULL: it is in `own`, which moves
	                                * when the round grows */
	uint64_t promise;              /* overlay position, UINT64_MAX = none */
	int64_t raw_delta, count_delta; /* what it added to its space's admitted sums */
	uint32_t old_dimension;        /* what its space's vectors were before, for undo */
	uint8_t old_source;
	uint32_t entry;                /* index into entries, EG_NONE = the writer's own */
	uint8_t own[256];              /* packed part of records that the writer makes */
};

#define EG_ROUND_ENTRIES 2048u
#define EG_ROUND_BYTES ((size_t)8 << 20)

struct round {
	uint8_t *buf;                  /* of the log; 4 KiB aligned */
	size_t cap;
	struct entry *entries;         /* EG_ROUND_ENTRIES */
	unsigned n_entries;
	struct change *changes;
	size_t n_changes, cap_changes;
	uint64_t last_lsn;             /* of the round, 0 = nothing logged */
	bool durable;                  /* synced before it is answered */
	_Atomic unsigned left;         /* apply threads that still work on it */
	bool applied;                  /* all done; guarded by the finisher's lock */
	bool busy;                     /* under way */
};

void round_init(struct round *r);
void round_fini(struct round *r);
/* Empty it for reuse. */
void round_begin(struct round *r);
struct entry *round_add_entry(struct round *r);      /* NULL when full */
struct change *round_add_change(struct round *r);    /* zeroed but for `own` */
/* A log buffer for what has been admitted; returns the bytes of its records. */
size_t round_reserve_buffer(struct round *r, uint64_t segment_bytes);

#endif
