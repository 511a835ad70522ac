/* Mending a damaged data directory, at the price of what cannot be read.
 *
 * Offline, under LOCK. First the plan: which files are damaged, which records can
 * still be read (each has a CRC of its own, so a damaged group costs only the
 * records that were hit), and which LSNs are lost. Then, when the operator accepts
 * that: the damaged file is kept in quarantine/<time>/ beside a NOTE, and a file of
 * the same start takes its place, with all readable records and a LOSS record for
 * each range that is gone. So replay goes on behind a loss, and every later reader of
 * the log knows of it. The file LOSS in the directory says it to the server.
 *
 * Nothing is deleted. Called by `engram recover` and by tests.
 */
#ifndef WAL_MEND_H
#define WAL_MEND_H

#include "common/buf.h"
#include "wal/check.h"

struct mend_range { uint64_t first, last; };

struct mend_id { uint64_t lsn; char id[256 + 1]; };    /* what a damaged record seems to have been */

struct mend {
	struct check found;            /* what is wrong, before */
	struct mend_range *lost;       /* ascending */
	unsigned n_lost, cap_lost;
	uint64_t lost_records;
	uint64_t rows;                 /* memories of the checkpoint whose record is among them */
	uint64_t saved;                /* records of damaged groups that can be read */
	struct mend_id *ids;           /* at most MEND_IDS_MAX */
	unsigned n_ids;
	unsigned moved;                /* files that went, or would go, to quarantine */
	char quarantine[64];           /* folder in the data directory, "" = none made */
};

#define MEND_IDS_MAX 100u

/* Make the plan, and with `accept` carry it out. EG_E_OK; EG_E_VALIDATION when what
 * is there cannot be mended. *m is freed by mend_free. */
enum err mend_run(struct mend *m, const char *dir, bool accept, struct fault *f) EG_MUST_USE;
void mend_free(struct mend *m);

/* Losses that were accepted, by the file LOSS: how many ranges and records; 0 when
 * there is none. */
struct losses { unsigned ranges; uint64_t records, first, last; };
void losses_read(int dir_fd, struct losses *l);

/* For mend_*.c. */
struct mending {                       /* under way */
	struct mend *m;
	struct datadir *d;
	bool accept;
	int quarantine_fd;
	uint64_t last_number;          /* of the segment before */
};
enum err mend_fail(struct fault *f, const char *what, int error);
enum err mend_segments(struct mending *w, struct fault *f) EG_MUST_USE;
enum err mend_checkpoints(struct mending *w, struct fault *f) EG_MUST_USE;
void mend_lost(struct mend *m, uint64_t first, uint64_t last);
bool mend_is_lost(const struct mend *m, uint64_t lsn);
/* Keep folder/name in the quarantine too (a second name for the same file), then it may be
 * replaced or unlinked. */
enum err mend_keep(struct mending *w, int folder_fd, const char *name, const char *as, struct fault *f) EG_MUST_USE;

#endif
