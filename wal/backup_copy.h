/* Copying the files of a data directory into a backup: verified on the way, or taken over
 * from an earlier backup as a second name of the same file. For backup.c and restore.c. */
#ifndef WAL_BACKUP_COPY_H
#define WAL_BACKUP_COPY_H

#include "wal/datadir.h"
#include "wal/manifest.h"

struct backup_out {
	struct datadir to;                 /* the folder that is being made */
	struct manifest m;                 /* of it, so far */
	int base_fd;                       /* an earlier backup, -1 = none */
	struct manifest base;
	uint64_t bytes, copied_bytes;      /* of all files; of these, written anew */
	unsigned linked;
	bool (*stop)(void *arg);           /* give up now? */
	void *arg;
};

/* A folder `name` in folder_fd with those of a data directory in it. */
enum err backup_make_folder(struct datadir *to, int folder_fd, const char *name, struct fault *f) EG_MUST_USE;
/* Take it away again with all that is in it (two levels, files only below). */
void backup_remove_folder(int folder_fd, const char *name);

/* A segment, up to lsn (nothing when it begins behind it). Each group is verified. next: where the
 * next segment begins (UINT64_MAX: there is none). EG_E_VALIDATION when it is the last one and ends below lsn. */
enum err backup_copy_segment(struct backup_out *b, const struct datadir *from, uint64_t start, uint64_t lsn,
                             uint64_t next, struct fault *f) EG_MUST_USE;
/* The files of the checkpoints that a superblock names, each extent verified. */
enum err backup_copy_checkpoints(struct backup_out *b, const struct datadir *from, const struct superblock *s,
                                 struct fault *f) EG_MUST_USE;
/* A file as it is, into the same folder of b->to; its row is added. Its CRC into *crc. */
enum err backup_copy_file(struct backup_out *b, int from_fd, const char *name, struct fault *f) EG_MUST_USE;
/* Both blocks, with these checkpoints in force. */
enum err backup_put_superblock(struct backup_out *b, const struct superblock *s, struct fault *f) EG_MUST_USE;
/* Sync all folders, write the MANIFEST, sync again. */
enum err backup_seal(struct backup_out *b, struct fault *f) EG_MUST_USE;

#endif
