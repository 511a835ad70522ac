/* The data directory: its folders, and the identity that everything in it bears.
 *
 *   SUPERBLOCK   identity, and the checkpoints in force (superblock.h)
 *   wal/         <start LSN, 16 hex digits>.log: what a recovery may have to replay
 *   warm/        the same files: below both checkpoints, with live memories in them
 *   checkpoints/ <id, 16 hex digits>.ckpt (checkpoint.h)
 *   spare/       segments made ahead
 *   tmp/         half-made files; the only folder that is swept at start
 *
 * Only the wal process renames here. LOCK is held by the master.
 */
#ifndef WAL_DATADIR_H
#define WAL_DATADIR_H

#include <stdbool.h>
#include <stdint.h>

#include "common/err.h"
#include "wal/superblock.h"

struct datadir {
	int fd, wal_fd, warm_fd, spare_fd, tmp_fd, checkpoints_fd;
	char path[4096 - 64];
	uint8_t uuid[16];
	uint32_t timeline, stores;
	bool created;                  /* made by this datadir_open */
	struct superblocks super;      /* as read at open; whoever writes it keeps `now` up to date */
};

/* Open, making what is missing. stores is used when the directory is new, else
 * what it was made with stands. EG_E_VALIDATION when the SUPERBLOCK is damaged or
 * of a newer format; an older one is written anew. The wal process alone. */
enum err datadir_open(struct datadir *d, const char *path, uint32_t stores, struct fault *f) EG_MUST_USE;
/* Open what is there: nothing is made, swept or written. */
enum err datadir_attach(struct datadir *d, const char *path, struct fault *f) EG_MUST_USE;
/* Open the folders in d->fd; make: those that are missing are made. For who has made d->fd himself. */
enum err datadir_folders(struct datadir *d, bool make, struct fault *f) EG_MUST_USE;
/* Sync all folders, then the directory itself; 0 or an errno. */
int datadir_sync_folders(const struct datadir *d);
void datadir_close(struct datadir *d);

/* Start LSNs of the segments in wal/ and warm/, sorted, each once; the caller frees the array. */
enum err datadir_segments(const struct datadir *d, uint64_t **start_lsns, unsigned *n, struct fault *f) EG_MUST_USE;
void datadir_segment_name(char out[32], uint64_t start_lsn);
/* Is it in wal/? A segment only ever goes from there to warm/: look again after an open failed. */
bool datadir_segment_in_wal(const struct datadir *d, uint64_t start_lsn);
/* Its path, wherever it lies. out: 4200 bytes. */
void datadir_segment_path(const struct datadir *d, char *out, uint64_t start_lsn);

#endif
