/* The bytes of a lane: how submit.c writes entries and lanes.c reads them.
 *
 * A lane is a byte ring on the sender's desk with one producer. `head` counts
 * bytes published, `tail` (on the wal process's desk) bytes answered; both only
 * rise. An entry is contiguous and 64-byte aligned; what does not fit before the
 * end of the ring is preceded by a filler.
 *
 *   entry    64 bytes: magic, bytes, seq, stamp, n_ops, flags, first result
 *   op       128 bytes: bytes, expected version, the space's id
 *            record (shm/record.h), as it will stand in the log
 *   op ...
 */
#ifndef WAL_LANE_H
#define WAL_LANE_H

#include <stdint.h>

#include "shm/layout.h"

#define EG_LANE_MAGIC 0x4e4c4745u      /* "EGLN" */
#define EG_LANE_FILLER 0x46464c4cu     /* "LLFF": skip to the end of the ring */

struct lane_entry {
	uint32_t magic;
	uint32_t bytes;            /* with this header; a multiple of 64 */
	uint64_t seq;              /* from 1, by lane */
	uint64_t stamp_ns;         /* CLOCK_MONOTONIC of publication */
	uint32_t n_ops;
	uint32_t flags;            /* enum submit_flags */
	uint64_t first_result;     /* of n_ops consecutive ones, modulo EG_LANE_RESULTS */
	uint64_t pad[3];
};
_Static_assert(sizeof(struct lane_entry) == 64, "one cache line");

struct lane_op {
	uint32_t bytes;            /* with this header; a multiple of 64 */
	uint32_t space_bytes;
	uint64_t expect_version;
	char space_id[EG_SPACE_ID_MAX + 1];
	uint64_t pad[6];
};
_Static_assert(sizeof(struct lane_op) == 128, "keeps the record's vector aligned");

#endif
