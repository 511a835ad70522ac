/* Restoring: a data directory from a backup, offline.
 *
 * The backup is verified in full (MANIFEST, every CRC, and what `check` looks at), copied
 * into a folder beside the target, synced, and renamed: so there is the whole or nothing. The new
 * directory has a timeline of its own, drawn at random (two restorings of one backup are
 * two): its log goes on otherwise than the original's did after the backup's LSN, and what is
 * of another timeline is never mixed with it.
 */
#ifndef WAL_RESTORE_H
#define WAL_RESTORE_H

#include "wal/manifest.h"

struct restored {
	uint64_t lsn, bytes;
	unsigned files;
	uint32_t timeline;
	int64_t created_us;            /* of the backup */
};

/* to must not exist or be an empty folder; one that a file system is mounted on gets the files
 * in its root, the SUPERBLOCK last. EG_E_NOT_FOUND: no backup there. EG_E_CONFLICT: the
 * target is in use. EG_E_VALIDATION: the backup is damaged. EG_E_NO_STORAGE. */
enum err restore_run(const char *backup, const char *to, struct restored *r, struct fault *f) EG_MUST_USE;

#endif
