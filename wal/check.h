/* Checking a data directory, byte by byte, while no server runs on it.
 *
 * Every file of it is read in full and held against its format: superblock, both
 * headers of each segment, each group (CRC, chain, LSNs in sequence, zeros where
 * zeros belong), each record (CRC, field rules), checkpoints (every extent, manifest
 * and footer; every row has its record), spare segments. What recovery would
 * make of it is judged by recovery's own rule (scan.h): a place that no witness and
 * no later segment vouches for is a torn tail, which is no damage; all else is.
 *
 * Called by `engram check`, by mend.h and by tests. Writes nothing but LOCK.
 */
#ifndef WAL_CHECK_H
#define WAL_CHECK_H

#include "wal/datadir.h"
#include "wal/salvage.h"

enum check_kind { CHECK_SUPERBLOCK, CHECK_SEGMENT, CHECK_SPARE, CHECK_CHECKPOINT, CHECK_OTHER, CHECK_KINDS };

/* How bad it is: worth a word; wrong, but nothing is lost by mending it; records
 * that were durable cannot be read. */
enum check_level { CHECK_NOTE, CHECK_WRONG, CHECK_LOST };

struct check_trouble {
	unsigned file;                 /* index of the file */
	enum check_level level;
	uint64_t offset;
	uint64_t first_lsn, last_lsn;  /* 0: it concerns none; last UINT64_MAX: and later */
	char what[128];
};

struct check_file {
	char name[80];                 /* within the data directory */
	enum check_kind kind;
	uint64_t bytes;
	uint64_t first_lsn, last_lsn;  /* of what is in force in it, 0 = nothing */
	uint64_t groups, records;
	unsigned wrong;                /* troubles above CHECK_NOTE */
};

#define CHECK_TROUBLES_MAX 10000u      /* kept; all are counted */

struct check {
	struct check_file *files;
	unsigned n_files, cap_files;
	struct check_trouble *troubles;
	unsigned n_troubles, cap_troubles;
	uint64_t counted[CHECK_LOST + 1];
	uint64_t last_lsn, groups, records, bytes;
	uint8_t uuid[16];
	uint32_t timeline, stores;
	bool uuid_known;
	struct check_space { char id[64]; } *spaces;   /* by number; "" = no record named it */
	unsigned n_spaces;
	struct check_row { uint64_t lsn; unsigned file; bool found; } *rows;   /* by LSN, of all checkpoints in force */
	uint64_t n_rows, cap_rows;
	uint64_t start_lsn;            /* lowest of the checkpoints in force; below it only rows' records count */
	/* Records in force are shown to it, in LSN order; may be NULL. */
	void (*record)(void *arg, const struct record *r);
	void *arg;
};

/* Take LOCK without waiting. *fd is to be closed. EG_E_CONFLICT: a server runs there;
 * EG_E_NOT_FOUND: this is no data directory. */
enum err check_lock(const char *dir, int *fd, struct fault *f) EG_MUST_USE;
/* Check dir into *c, which is zero but for record and arg. EG_E_OK whatever was found; else it could not be
 * looked at. Freed by check_free. */
enum err check_run(struct check *c, const char *dir, struct fault *f) EG_MUST_USE;
void check_free(struct check *c);
bool check_damaged(const struct check *c);

/* For those who check a part (check_*.c). */
unsigned check_add_file(struct check *c, enum check_kind kind, const char *name, uint64_t bytes);
void check_say(struct check *c, unsigned file, enum check_level level, uint64_t offset,
               uint64_t first_lsn, uint64_t last_lsn, const char *fmt, ...) EG_PRINTF(7, 8);
void check_superblock(struct check *c, const struct datadir *d);
/* The checkpoints; their rows wait for their records; which of them came is told at the end. */
void check_checkpoints(struct check *c, const struct datadir *d);
void check_row_found(struct check *c, uint64_t lsn);
uint64_t check_rows_within(const struct check *c, uint64_t first_lsn, uint64_t last_lsn);
void check_rows_told(struct check *c, uint64_t first_lsn, uint64_t last_lsn);
void check_rows(struct check *c);
void check_space_name(struct check *c, uint32_t number, const char *id);
void check_log(struct check *c, const struct datadir *d);
void check_other_files(struct check *c, const struct datadir *d);
extern const char *const check_kind_names[CHECK_KINDS];

#endif
