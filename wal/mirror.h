/* The mirror: a second copy of the log, the superblock and the checkpoints.
 *
 * Every group is written and synced in both copies before it is acknowledged; a thread
 * of the mirror's own does its half at the same time, so a commit takes as long as the
 * slower of the two. Files have the same names and the same groups at the same places, so
 * whatever is damaged or missing in one copy is repaired from the other, group by group
 * (mirror_mend, before the log is opened). Only the files of a segment's end may differ in
 * their unused bytes; and the mirror keeps all segments in wal/.
 *
 * A copy whose write or sync failed is given up; the service goes on with the other one.
 * A note in the good copy (STALE) says from which segment on the other is not to be
 * trusted, whatever the page cache shows of it. Then the log goes on in a fresh segment in
 * both, and a second thread writes anew what the failed copy lacks. The same thread
 * follows checkpoints, and removes from the mirror what the other copy has let go.
 */
#ifndef WAL_MIRROR_H
#define WAL_MIRROR_H

#include <pthread.h>

#include "wal/sink.h"

enum mirror_state { MIRROR_NONE, MIRROR_WHOLE, MIRROR_LOST, MIRROR_MAIN_LOST, MIRROR_REBUILDING };

struct mirror {
	struct sink sink;
	struct datadir dir;
	const struct datadir *main;
	char path[4096 - 64];
	_Atomic bool open;             /* dir is; the worker tries again until it is */

	pthread_t writer;              /* does the mirror's half of each step */
	pthread_mutex_t lock;
	pthread_cond_t changed;
	const struct sink_op *op;      /* under way, NULL = none */
	int error;                     /* of the last one */
	bool stop, running;

	pthread_t worker;              /* rebuilds and follows; its own lock */
	pthread_mutex_t work_lock;
	pthread_cond_t work;
	bool rebuild;                  /* asked for */
	bool to_main;                  /* the copy that is rebuilt */
	uint64_t stale_from, below;    /* segments that start in [stale_from, below) are written anew */
	uint64_t seq;                  /* of the superblock that the mirror has */
	_Atomic bool whole;            /* nothing is lacking */

	int64_t retry_ns;              /* log thread: when the lost copy is tried again; 0 = none is lost */
	unsigned attempts;
	uint64_t lost_start;           /* lowest start of a segment that the copy was lost in */
	bool lost_main;                /* which copy it is */
	_Atomic uint64_t losses;
	uint64_t main_losses;          /* log thread: of these, of the data directory's own copy */
};

/* Before the log is opened: each file that is missing or damaged in one copy is repaired from the other. A
 * directory that is not there is made from the other. trusted: this family has looked at all of it already, so only what can have changed is read.
 * EG_E_VALIDATION: two data directories that do not belong together, or both are
 * damaged at the same place; anything else: the mirror cannot be used now. */
enum err mirror_mend(const char *main_path, const char *mirror_path, bool trusted, struct fault *f) EG_MUST_USE;

/* Start the threads. usable: mirror_mend succeeded. NULL: no memory or thread. */
struct mirror *mirror_open(const struct datadir *main, const char *path, bool usable, bool direct,
                           uint64_t segment_bytes, struct fault *f);
void mirror_close(struct mirror *m);

/* One step in the mirror, at the same time as something else. */
void mirror_begin(struct mirror *m, const struct sink_op *op);
int mirror_end(struct mirror *m) EG_MUST_USE;

/* The copy was given up, in a segment that starts there. */
void mirror_note_loss(struct mirror *m, bool of_main, uint64_t segment_start);
/* There was no room to take it in again. */
void mirror_retry_later(struct mirror *m);
/* The lost copy takes part again, from a segment on that starts at `below`. */
void mirror_rebuild(struct mirror *m, bool of_main, uint64_t below);
enum mirror_state mirror_state(const struct mirror *m, bool main_lost);
/* What the data directory's own files are worth to who reads them beside the log thread, as in
 * wal_page.main_doubt: even and the same before and after, they had all that was durable. */
uint64_t mirror_main_doubt(const struct mirror *m, bool main_lost);

/* ---- for mirror_*.c: both copies of a file ---- */

#define EG_STALE "STALE"
#define EG_AHEAD "AHEAD"               /* in the data directory: the mirror alone has the newest records */
/* Open a directory with all its folders, made if need be. */
enum err mirror_open_folders(struct datadir *d, const char *path, struct fault *f) EG_MUST_USE;
/* Write image as folder/name, by way of tmp/, all synced. 0 or an errno. */
int mirror_put(const struct datadir *to, int folder_fd, const char *name, const void *image, uint64_t bytes);
/* Copy a whole file, unless the same bytes are there and `anew` is not set. 0, errno. */
int mirror_copy(int from_fd, const char *name, const struct datadir *to, int to_fd, bool anew);
/* Checkpoints, then the superblock that names them. */
int mirror_copy_checkpoints(const struct datadir *from, const struct datadir *to);
/* The STALE note of `good` about the other one: first untrusted segment, UINT64_MAX = none. */
uint64_t mirror_read_stale(const struct datadir *good);

#endif
