/* Salvage: a segment read in spite of damage.
 *
 * Recovery (segment.h) stops at the first place that is no valid group. Who looks
 * after a damaged directory has to know more: which groups are whole, wherever
 * they stand, what lies between them, and whether each byte that must be zero is.
 * The whole file is taken into memory (one at a time, so one segment's size is the
 * cost), and each group found is named by its place.
 *
 * Called offline (check, mend, restore) and at start, before the log is opened, by
 * the repair from a mirror. Never by the running writer; never writes.
 */
#ifndef WAL_SALVAGE_H
#define WAL_SALVAGE_H

#include "wal/segment.h"

struct piece {                         /* a whole group, verified */
	uint64_t offset, first_lsn, durable_lsn;
	uint32_t bytes, n_records, crc;
	bool chained;                  /* follows the piece before (or the header) by place and CRC */
	bool padded;                   /* zeros where zeros belong */
};

struct salvage {
	uint8_t *image;                /* the file's bytes, 4 KiB aligned; unreadable blocks are zeros */
	uint64_t size, unreadable;     /* bytes of the file; of those that could not be read */
	uint64_t unreadable_at;        /* the first of them */
	struct segment_header header;  /* of a valid copy; else rebuilt from a group */
	bool copy_valid[2];            /* whole, and zeros to the end of its block */
	bool header_known;             /* false: neither copy nor a group says what this is */
	struct piece *pieces;          /* by place */
	size_t n, cap;
	uint64_t end;                  /* behind the last piece, at least EG_SEGMENT_DATA */
	uint64_t junk;                 /* first byte at or behind end that is not zero; size = none */
};

/* Read name in the folder. An error only when the file cannot be opened or held in
 * memory; what its bytes are worth stands in *s, freed by salvage_free. */
enum err salvage_open(struct salvage *s, int dir_fd, const char *name, struct fault *f) EG_MUST_USE;
void salvage_free(struct salvage *s);

static inline const struct group_header *salvage_group(const struct salvage *s, const struct piece *p)
{
	return (const struct group_header *)(const void *)(s->image + p->offset);
}

/* May the invalid place behind piece `before` (n: before the first) be a torn tail:
 * does no later piece's witness say that lsn was durable? */
bool salvage_torn(const struct salvage *s, size_t next_piece, uint64_t lsn);
/* Nothing but zeros? */
bool salvage_blank(const uint8_t *at, size_t bytes);

#endif
