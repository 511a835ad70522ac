/* Segments: the files of the log, and how to read them.
 *
 *   block 0, 1   struct segment_header, the same twice, 4 KiB each
 *   group        struct group_header (64 bytes), records, zeros up to 4 KiB
 *   group ...
 *   zeros        what was preallocated and not used
 *
 * A group is what one commit wrote; it begins on a fresh 4 KiB boundary, so a
 * block with acknowledged data is never written again. Its CRC covers the salt
 * of the segment, so stale bytes of a reused file never validate; it carries the
 * CRC of the group before (a chain) and the last LSN known durable when it was
 * written (a witness). Format version and timeline stand in each segment.
 */
#ifndef WAL_SEGMENT_H
#define WAL_SEGMENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/err.h"
#include "shm/record.h"

#define EG_BLOCK 4096u
#define EG_SEGMENT_MAGIC UINT64_C(0x31474f4c4d415247)  /* "GRAMLOG1" */
#define EG_SEGMENT_FORMAT 1u
#define EG_GROUP_MAGIC 0x50524745u                     /* "EGRP" */
#define EG_SEGMENT_DATA (2u * EG_BLOCK)                /* offset of the first group */

struct segment_header {
	uint64_t magic;
	uint32_t format, timeline;
	uint8_t uuid[16];              /* of the data directory */
	uint64_t number;               /* counts segments, from 1 */
	uint64_t start_lsn;            /* of its first record; supersedes older copies from here */
	uint64_t prev_number;
	uint32_t prev_crc;             /* of the last group of the segment before */
	uint32_t incarnation;          /* of the writer, rises with each start of a wal process */
	uint64_t salt;
	uint64_t boot_id;              /* of the family that wrote it */
	uint64_t redo_lsn;             /* of the newest checkpoint when it was made, 0 = none */
	int64_t created_us;
	uint64_t bytes;                /* of the file */
	uint32_t stores;               /* number of stores of the data directory */
	uint32_t crc;                  /* CRC-32C of all before */
};

struct group_header {
	uint32_t magic;
	uint32_t crc;                  /* CRC-32C of bytes 8 .. bytes - 1 */
	uint64_t salt;
	uint32_t incarnation;
	uint32_t n_records;
	uint64_t first_lsn;
	uint32_t bytes;                /* a multiple of 4096, with padding */
	uint32_t prev_crc;
	uint64_t durable_lsn;          /* witness */
	uint64_t pad[2];
};
_Static_assert(sizeof(struct group_header) == 64, "records stay 64-byte aligned");

/* Called before a reader uses the memory again in which the groups lay that it gave before the last call:
 * so whoever still needs one may keep it over one call, and no longer. */
typedef void segment_moves(void *arg);

struct segment_reader {
	int fd;
	struct segment_header header;
	uint64_t offset;               /* of the next group */
	uint64_t size;                 /* of the file */
	uint32_t prev_crc;             /* of the group before */
	const struct group_header *group; /* the present one, within the window */
	uint8_t *window;               /* what was read: bytes from window_at on; 4096-byte aligned */
	uint64_t window_at;
	size_t window_bytes, window_cap;
	segment_moves *moves;          /* set by who keeps groups for longer: there are two windows, by turns; else NULL */
	void *moves_arg;
	uint8_t *other;                /* the window before this one; NULL: none yet */
	size_t other_cap;
	int error;                     /* errno of a read that failed; 0: none did */
	bool direct;                   /* past the page cache */
	struct ahead *ahead;           /* reads on meanwhile; NULL: nobody does */
};

/* Open a segment; EG_E_VALIDATION when neither header is valid, EG_E_INTERNAL when neither can be read. */
enum err segment_open(struct segment_reader *s, const char *path, struct fault *f) EG_MUST_USE;
/* The same, to be read once from end to end: past the page cache, unless the file is there
 * already (where O_DIRECT is not to be had: through it), and so many bytes `ahead` by a thread of
 * its own, from now on; 0: none. */
enum err segment_open_once(struct segment_reader *s, const char *path, size_t ahead, struct fault *f) EG_MUST_USE;
void segment_close(struct segment_reader *s);      /* with a moves function: calls it twice, nothing is kept then */

/* The next group, whole and verified (CRC, chain, LSNs in sequence within it), or
 * NULL: *why then says whether the file ends here (EG_E_OK: nothing but zeros or
 * the end), or something is there that is no valid group (EG_E_VALIDATION, with
 * the reason), or what is there cannot be read (EG_E_INTERNAL): that says nothing
 * about it, least of all that it is a torn tail. Valid until the next call, or as `moves` says. */
const struct group_header *segment_next(struct segment_reader *s, enum err *why, struct fault *f);
/* Pass the next group by what its head says, unverified: its first and last LSN. False
 * where no group begins. */
bool segment_skip(struct segment_reader *s, uint64_t *first_lsn, uint64_t *last_lsn);
/* Pass on to the first whole group that begins in these bytes of the file (from: a multiple of a
 * block); it is s->group, its chain taken as right, and segment_next has it next. False: there is none, or
 * with s->error: it cannot be read. */
bool segment_seek(struct segment_reader *s, uint64_t from, uint64_t to) EG_MUST_USE;
/* Bytes that were read before, once more: whole blocks. False with s->error. */
bool segment_read_again(struct segment_reader *s, void *to, size_t bytes, uint64_t offset);
uint64_t segment_offset(const struct segment_reader *s);  /* of the group got last */

/* Walk the records of a group: start with NULL; NULL at the end. */
const struct record *group_next(const struct group_header *g, const struct record *before);

/* After an invalid place: is there a later valid group of this segment whose
 * witness says that `lsn` was durable? Then the place is rot, not a torn tail. False with
 * s->error: not all of it could be read. */
bool segment_has_witness(struct segment_reader *s, uint64_t lsn);

bool segment_header_valid(const struct segment_header *h);
/* What is wrong with a group in memory, of which `room` bytes may be looked at (at
 * least one block): its length, CRC, records. NULL: nothing. */
const char *group_fault(const struct group_header *g, uint64_t room);

/* Finish a header or group before it is written. */
void segment_seal_header(struct segment_header *h);
void group_seal(struct group_header *g);

#endif
