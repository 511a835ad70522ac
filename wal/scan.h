/* Scanning the log at start: every valid record from an LSN on, in order, and
 * what is wrong with the end.
 *
 * A later segment supersedes an older one from its start LSN. The first place
 * that is no valid group is a torn tail (an unacknowledged commit that did not
 * finish) unless something shows that it held durable records: a later group's
 * witness, or a later segment that starts behind it. Then it is rot, and the
 * start is refused with the LSN range.
 */
#ifndef WAL_SCAN_H
#define WAL_SCAN_H

#include "wal/datadir.h"
#include "wal/segment.h"

/* Whole groups, one after another, as they stand at the end of the last segment. While it is
 * scanned only their places are noted: most turn out to be durable. */
struct scan_tail {
	uint8_t *groups;
	size_t bytes;
	struct scan_group { uint64_t offset, last_lsn; } *at;
	size_t first, n, cap;          /* of `at` */
};

struct scan {
	uint64_t last_lsn;             /* of the last valid record, 0 = none */
	uint64_t durable_lsn;          /* up to here surely on stable storage */
	uint64_t last_number;
	uint32_t last_crc;             /* of the last valid group */
	uint32_t incarnation;          /* highest met */
	unsigned segments;             /* files in wal/ */
	uint64_t log_bytes;            /* used */
	uint64_t records;              /* handed to the callback */
	struct scan_tail tail;         /* groups of the last segment that may not be durable */
	uint64_t last_start;           /* start LSN of the last segment */
	uint64_t last_used;            /* its used bytes; nothing but zeros follows if `blank` */
	bool blank;
	struct segment_reader early;   /* of scan_early, until it is scanned */
	bool is_early;                 /* there is one */
	uint64_t want_salt[2];         /* set by the caller: of two segments one must be there */
	segment_moves *moves;          /* set by a caller who keeps records, as in segment.h; may be NULL */
	bool found;                    /* it is, */
	uint64_t found_salt;           /* and this is its salt (of both: the later one's) */
};

typedef enum err scan_fn(void *arg, const struct record *r, const struct segment_header *h, struct fault *f);

/* The scan from this LSN on comes later: its first segment is read already meanwhile, as far as there
 * is room in some memory. A wish: what hinders it, the scan will meet. */
void scan_early(const struct datadir *d, uint64_t from, struct scan *s);
/* Call fn for each record from `from` on. Records and headers are
 * valid as segment.h says; none is kept after the end. *s is zero but for want_*, moves and what scan_early did. EG_E_VALIDATION: rot or a gap, with the
 * LSN range in the message. The caller frees with scan_free. */
enum err scan_log(const struct datadir *d, uint64_t from, scan_fn *fn, void *arg,
                  struct scan *s, struct fault *f) EG_MUST_USE;
/* Does the log have that segment, and does it reach as far as this LSN? By headers
 * alone: for who must know quickly, before a scan verifies it. */
bool scan_reaches(const struct datadir *d, uint64_t number, uint64_t salt, uint64_t lsn);
void scan_free(struct scan *s);

#endif
