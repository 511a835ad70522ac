/* Backups: a copy of the data directory up to an LSN, made while the server works.
 *
 * The third hand of the wal process, a thread of its own. A backup is a folder
 * [storage] backup_dir/NAME with the files of a data directory and a MANIFEST:
 *
 *   pin      nothing that the two checkpoints need is moved or removed meanwhile
 *   read     the SUPERBLOCK: which checkpoints are in force
 *   wait     until all that has an LSN now is on stable storage; that is the backup's LSN
 *   copy     checkpoints, segments up to the LSN; every extent and group is verified,
 *            every file synced. Sealed files that the base has, too, are taken over from it
 *            (a hard link, read again first): so an incremental backup is whole by itself
 *   seal     MANIFEST, folders, then the rename that makes it one
 *
 * A kill at any step leaves a folder .part-..., which the next backup removes. Of a
 * backup and the live directory no file is shared: rot in one is not in the other.
 */
#ifndef WAL_BACKUP_H
#define WAL_BACKUP_H

#include <pthread.h>

#include "wal/control.h"
#include "wal/install.h"

struct backup {
	const struct datadir *dir;
	struct desks *desks;
	struct install *install;
	char folder[4096];             /* where backups go */
	pthread_t thread;
	pthread_mutex_t lock;          /* the fields below */
	pthread_cond_t changed;
	struct control job;
	uint64_t demand;               /* number of the job */
	bool has_job, running;
	_Atomic bool stop;
};

/* folder: [storage] backup_dir; "" is the folder backup of the data directory. */
enum err backup_open(struct backup *b, const struct datadir *dir, struct desks *d, struct install *i,
                     const char *folder, struct fault *f) EG_MUST_USE;
/* Gives up what it is at. After the log thread has synced all, or said that it cannot. */
void backup_close(struct backup *b);
/* Log thread: a control entry BACKUP. Its number into *demand; EG_E_CONFLICT while one is made. */
enum err backup_take(struct backup *b, const struct control *c, uint64_t *demand);

#endif
