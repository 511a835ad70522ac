/* The MANIFEST of a backup: what it holds, up to which LSN, each file's length and CRC.
 *
 * A text, so that a person can read it, closed by a CRC-32C of all lines before:
 *
 *	engram-backup 1                        format; a newer one is refused
 *	uuid 32 hex
 *	timeline N
 *	lsn N                                  all up to it is there, nothing behind it
 *	created 2026-01-31T12:00:00Z
 *	base NAME                              - : none
 *	file NAME BYTES CRC SALT               once a file; SALT of a segment, else 0
 *	crc 8 hex
 *
 * A backup is a folder with the files of a data directory (datadir.h): SUPERBLOCK, wal/,
 * warm/, checkpoints/. Written by backup.h; read by the next backup, check, restore.
 */
#ifndef WAL_MANIFEST_H
#define WAL_MANIFEST_H

#include <stdbool.h>
#include <stdint.h>

#include "common/err.h"

#define EG_BACKUP_MANIFEST "MANIFEST"
#define EG_BACKUP_FORMAT 1u
#define EG_BACKUP_NAME 60u             /* longest name of a backup */

struct manifest_file { char name[64]; uint64_t bytes, salt; uint32_t crc; };

struct manifest {
	uint8_t uuid[16];
	uint32_t timeline;
	uint64_t lsn;
	int64_t created_us;
	char base[EG_BACKUP_NAME + 1];     /* "" = none */
	struct manifest_file *files;
	unsigned n, cap;
};

/* Letters, digits, dot, dash, underscore; the first is a letter or digit; at most EG_BACKUP_NAME. */
bool manifest_name_valid(const char *name);

void manifest_add(struct manifest *m, const char *name, uint64_t bytes, uint32_t crc, uint64_t salt);
/* The file whose name ends so, in whatever folder ("0000000000000001.log"); NULL: none. */
const struct manifest_file *manifest_find(const struct manifest *m, const char *last_part);
void manifest_free(struct manifest *m);

/* As a file MANIFEST of that folder, synced. 0 or an errno. */
int manifest_write(const struct manifest *m, int dir_fd);
/* EG_E_NOT_FOUND: none there. EG_E_VALIDATION: damaged, or of a newer format. The caller frees. */
enum err manifest_read(struct manifest *m, int dir_fd, struct fault *f) EG_MUST_USE;
/* Read a file of the folder in full and hold it against its row. */
enum err manifest_verify(const struct manifest_file *row, int dir_fd, struct fault *f) EG_MUST_USE;

#endif
