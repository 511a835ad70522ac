/* Appending to the log: groups of records, one write and one sync a round.
 *
 * The log thread alone. Records are laid out in a buffer of the caller's (which
 * keeps them until they are applied); groups are closed at 4 KiB boundaries and
 * when a segment is full, the rest goes on in the next one. Rotation syncs the
 * full segment first, so a later segment's existence says that all before it is
 * durable.
 */
#ifndef WAL_APPEND_H
#define WAL_APPEND_H

#include "wal/mirror.h"

struct append {
	const struct datadir *dir;
	struct sink main;              /* the copy in the data directory */
	struct mirror *mirror;         /* the other one, NULL = none is wanted; owned */
	struct segment_header header;  /* of the present segment */
	uint64_t offset;               /* where the next group will be written */
	uint64_t limit;                /* no group reaches beyond this offset */
	uint32_t prev_crc;
	uint32_t begin_crc;            /* prev_crc and next_lsn behind what was written last */
	uint64_t begin_lsn;
	size_t begin_copy;             /* and copy.bytes */
	uint64_t next_lsn, durable_lsn;
	uint64_t boot_id;
	uint32_t incarnation;
	_Atomic uint64_t *announced;   /* gets the salt of a segment before it is shown: root's segment_next_salt; NULL = nobody asks */
	uint64_t redo_lsn;             /* start LSN of the checkpoint in force, for new headers */
	uint32_t segments;             /* put into wal/, and there at start */
	uint64_t log_bytes;            /* used bytes of all of them */
	uint8_t *buf;                  /* of the present round; 4 KiB aligned */
	size_t cap, len, written;      /* its size; bytes laid out; bytes written */
	size_t group;                  /* offset of the open group in buf, SIZE_MAX = none */
	bool unsynced;                 /* something was written since the last sync */
	bool witnessed;                /* what was written last is a witness group, */
	bool witness_unsynced;         /* and no sync followed */
	struct append_copy {           /* groups written since the last sync, as they are */
		uint8_t *at;
		size_t bytes, cap;
	} copy;
	uint32_t durable_crc;          /* of the last group that is on stable storage */
	int64_t rescued_ns;            /* of the last rescue, 0 = never */
	bool rescuing;
};

/* More than this is synced whatever the mode: the copy is kept in memory. */
#define EG_UNSYNCED_MAX ((size_t)32 << 20)

/* Begin a segment at header->start_lsn and write to it from now on. Used at start
 * (prev_* of the header tell what is before) and by rotation. EG_E_NO_STORAGE: the
 * present segment goes on; anything else: it may have been superseded. */
enum err append_segment(struct append *a, uint64_t start_lsn, struct fault *f) EG_MUST_USE;

/* Begin a segment that supersedes another one's records: it is made in tmp/ with
 * room for records_bytes in all, and shown in wal/ by append_show alone, after what
 * it repeats is on stable storage. Until then the old copies stand. */
enum err append_hidden(struct append *a, uint64_t start_lsn, size_t records_bytes, struct fault *f) EG_MUST_USE;
enum err append_show(struct append *a, struct fault *f) EG_MUST_USE;

/* Lay records out in this buffer (cap a multiple of 4096) from now on. */
void append_begin(struct append *a, uint8_t *buf, size_t cap);
/* Take back what was laid out and is not written: its LSNs are given again. */
void append_cancel(struct append *a);
/* Before the first record of a round of records_bytes: is there a segment to go on
 * with, should it not fit into this one? EG_E_NO_STORAGE otherwise. */
enum err append_ready(struct append *a, size_t records_bytes, struct fault *f) EG_MUST_USE;
/* Bytes that a buffer needs for records of that many bytes in all. */
size_t append_buffer_bytes(size_t records_bytes, uint64_t segment_bytes);

/* Room for a record of r->bytes (at most half a segment); *r is copied there, with
 * the next LSN. The caller then fills in what follows the header and calls
 * append_done, which computes its CRC. May rotate. */
enum err append_record(struct append *a, const struct record *r, struct record **out, struct fault *f) EG_MUST_USE;
void append_done(struct append *a, struct record *r);

/* Write what is laid out; then, for append_sync, put it on stable storage. */
enum err append_write(struct append *a, struct fault *f) EG_MUST_USE;
enum err append_sync(struct append *a, struct fault *f) EG_MUST_USE;

/* A write or sync of the present segment failed: never try it again there. The
 * segment is given up, and what is not known to be durable is written again from
 * memory, LSN for LSN, into a new one, and synced. A second time within a minute
 * the log has failed (EG_E_READ_ONLY). append_write and append_sync call it. */
enum err append_rescue(struct append *a, const char *what, int error, struct fault *f) EG_MUST_USE;
/* Go on in a new segment that begins with whole groups of another one: it supersedes
 * that one once they are written there and synced (append_hidden, append_show). */
enum err append_again(struct append *a, uint64_t start_lsn, const uint8_t *groups, size_t bytes, struct fault *f) EG_MUST_USE;

/* A copy that was given up is tried again, when it is time: in a fresh segment of both. Between
 * rounds. EG_E_OK too when it failed again and the other copy goes on. */
enum err append_rejoin(struct append *a, struct fault *f) EG_MUST_USE;

/* After a sync with nothing behind it: a group without records, whose witness says that all
 * before it is on stable storage, so that a damaged last group is not taken for a torn one.
 * It is not synced (the next sync takes it along), and there is one at a time. False: there is
 * no room, or a copy failed; nothing rests on it. */
static inline bool append_wants_witness(const struct append *a)
{
	return !a->unsynced && !a->witnessed && a->offset > EG_SEGMENT_DATA && a->offset + EG_BLOCK <= a->limit;
}
bool append_witness(struct append *a);

/* No copy has a segment any more: it was given up, and none could take its place. */
static inline bool append_given_up(const struct append *a)
{
	return a->main.fd < 0 && (a->mirror == NULL || a->mirror->sink.fd < 0);
}

void append_close(struct append *a);

#endif
