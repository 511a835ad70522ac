/* Checkpoints: files from which a store is loaded without the whole log.
 *
 * A checkpoint holds no text and no vector (those are written once, in the log): one
 * row for each live memory and the table of spaces, in extents that are written only
 * when something in them changed. It is a *manifest*: the complete list of extents,
 * each in the file in which it was written last. Id tables, the heap, chunk lists and
 * counts are made from it and from the records that the rows name by LSN.
 *
 *   checkpoints/<id, 16 hex>.ckpt
 *        0  struct checkpoint_header   4 KiB, written last
 *     4096  extents: struct extent_header (64 bytes), entries; a multiple of 64 bytes
 *           manifest: struct manifest_header (64 bytes), struct extent_ref (64 bytes) each, sorted by (kind, first)
 *      end  struct checkpoint_footer   64 bytes: the manifest's place, once more
 *
 * What the rows promise (start = start_lsn of the header):
 *   1. Every record up to start is in them: each memory that lived at start and still
 *      lived when its chunk was dumped has a row; each row is one whole version.
 *   2. A row's LSN may be above start: it was dumped later. Then its record and all
 *      later ones are in the log (the checkpoint is put in force when all that had an LSN at
 *      its end is durable), and replay from start + 1 goes on: per memory by content LSN.
 *   3. Rows first, spaces last: the space of a row is in the table; when it is DELETED there,
 *      the row is dropped. Every space record above start is applied again.
 *   4. As chunks are dumped one after another, two rows may bear one id (deleted and stored
 *      again meanwhile) or name one node (given away meanwhile). The row with the higher
 *      LSN is right; the other memory's next record is above start. The row of an id
 *      that is older is dropped; the row of a node that is older gets another node.
 *   5. Free slots of an extent get a generation above its `generation`.
 *   6. Who loads it says so in the root (checkpoint_id) and leaves changed_lsn of chunks at 0: the next
 *      checkpoint keeps every extent without a mark as it is. When a row was dropped or
 *      got another node, checkpoint_id stays 0, and the next one is written in full.
 *   7. Counts of accesses are of the time of the dump, and do not make an extent change.
 *   8. Slot, generation, class and node are hints: a build with this very layout puts each
 *      memory where it was; any other one reserves slots and nodes anew. All else in rows
 *      and spaces means what the format says, whatever shared memory looks like: who
 *      changes the meaning of a word there converts it in dump.c and in the loader, or
 *      raises the format and reads the older one, too.
 *
 * Written by the consolidation process (dump.h), put in force by the wal process
 * (install.h). Read by the loader, the offline checker and backups.
 */
#ifndef WAL_CHECKPOINT_H
#define WAL_CHECKPOINT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/err.h"
#include "wal/superblock.h"

#define EG_CHECKPOINT_MAGIC UINT64_C(0x31504b434d415247)   /* "GRAMCKP1" */
#define EG_CHECKPOINT_FORMAT 2u       /* written; read are 1 .. this (wal/README.md, Formats and downgrades) */
#define EG_CHECKPOINT_DATA 4096u       /* offset of the first extent */
#define EG_EXTENT_MAGIC 0x58454745u    /* "EGEX" */
#define EG_MANIFEST_MAGIC 0x414d4745u  /* "EGMA" */
#define EG_FOOTER_MAGIC 0x46434745u    /* "EGCF" */
#define EG_EXTENT_BYTES_MAX (64u + 1024u * 128u)

enum extent_kind {
#define X(name, number, entries, bytes, text) EG_EXTENT_##name = number,
#include "wal/extent.def"
#undef X
};

struct checkpoint_header {
	uint64_t magic;
	uint32_t format, timeline;
	uint8_t uuid[16];              /* of the data directory */
	uint64_t id;
	uint64_t base_id;              /* checkpoint whose extents it shares, 0 = none */
	uint64_t start_lsn, max_lsn;
	int64_t created_us;            /* real time of start_lsn */
	uint64_t rows, spaces;         /* entries in all extents of the manifest */
	uint64_t bytes;                /* of this file */
	uint32_t stores;               /* of the data directory */
	uint32_t layout;               /* store_layout() of who wrote it; in format 1 a number that no build has */
	uint8_t pad[EG_CHECKPOINT_DATA - 108];
	uint32_t crc;                  /* CRC-32C of all before */
};
_Static_assert(sizeof(struct checkpoint_header) == EG_CHECKPOINT_DATA, "one block");

struct extent_header {
	uint32_t magic, crc;           /* CRC-32C of bytes 8 .. bytes - 1 */
	uint64_t file;                 /* id of the checkpoint that wrote it */
	uint32_t kind, n;              /* enum extent_kind; entries that follow */
	uint64_t first;                /* first slot or space number that it covers */
	uint32_t bytes;                /* with this header, a multiple of 64 */
	uint32_t generation;           /* ROWS: highest of any slot that it covers, live or not */
	uint64_t min_lsn, max_lsn;     /* of its entries; 0 when there are none */
	uint64_t pad;
};
_Static_assert(sizeof(struct extent_header) == 64, "entries stay 64-byte aligned");

struct manifest_header {
	uint32_t magic, crc;           /* CRC-32C of bytes 8 .. bytes - 1 */
	uint64_t id;
	uint64_t bytes;                /* with this header */
	uint32_t n, pad;               /* refs that follow */
	uint64_t start_lsn, max_lsn;
	uint64_t rows, spaces;
};
_Static_assert(sizeof(struct manifest_header) == 64, "the picture above");

struct extent_ref {                    /* an extent, as the manifest knows it */
	uint32_t kind, n;
	uint64_t first;
	uint64_t file, offset;         /* checkpoint file, and where in it */
	uint32_t bytes, crc;           /* of its extent_header */
	uint32_t generation, pad;
	uint64_t min_lsn, max_lsn;
};
_Static_assert(sizeof(struct extent_ref) == 64, "the picture above");

struct checkpoint_footer {
	uint32_t magic, crc;           /* CRC-32C of bytes 8 .. 63 */
	uint64_t id;
	uint64_t manifest_offset, manifest_bytes;
	uint32_t manifest_crc, pad;
	uint64_t bytes;                /* of the file */
	uint64_t pad2[2];
};
_Static_assert(sizeof(struct checkpoint_footer) == 64, "the picture above");

struct checkpoint_row {                /* a live memory */
	uint32_t slot, generation;
	uint32_t class_, node;         /* EG_NONE = no vector */
	uint64_t lsn;                  /* of its content: the record with body and vector */
	uint64_t truth, memory;        /* words of its slot (shm/slot.h) */
	uint64_t last_access_ms, accesses;
	uint32_t tier, flags;          /* enum tier; 0 */
};
_Static_assert(sizeof(struct checkpoint_row) == 64, "one line");

struct checkpoint_space {
	uint32_t number, state;        /* enum space_state; NONE: a number that was never used */
	int64_t created_us;
	uint64_t lsn;                  /* of the record that made or changed it last */
	char id[64];
	uint64_t vectors, settings;    /* words of shm/space.h */
	uint64_t quota_memories, quota_bytes;
	uint64_t pad;
};
_Static_assert(sizeof(struct checkpoint_space) == 128, "the picture above");

unsigned extent_entries(uint32_t kind);        /* that a whole one covers; 0 = no such kind */
unsigned extent_entry_bytes(uint32_t kind);
void checkpoint_name(char out[32], uint64_t id);

/* ---- reading ------------------------------------------------------------------- */

struct checkpoint {                    /* open: its manifest is read and verified */
	struct checkpoint_header header;
	struct checkpoint_place place;
	struct extent_ref *refs;       /* sorted by (kind, first) */
	uint32_t n_refs;
	struct checkpoint_file { uint64_t id; int fd; uint64_t bytes; } *files;  /* all that refs name, sorted by id */
	uint32_t n_files;
};

/* Open the checkpoint at that place (of the folder checkpoints/): header, footer, manifest,
 * every file that it names are there, each ref lies within its file, and kinds and
 * numbers make sense. EG_E_VALIDATION with the reason when not: use another place.
 * EG_E_LATER: a newer build wrote it; nobody may go on as if it were not there. */
enum err checkpoint_open(struct checkpoint *c, int folder_fd, const uint8_t uuid[16],
                         const struct checkpoint_place *place, struct fault *f) EG_MUST_USE;
/* The same for a single file by its name, without a superblock (tmp/, offline). */
enum err checkpoint_open_file(struct checkpoint *c, int folder_fd, const char *name, int shared_folder_fd,
                              const uint8_t uuid[16], struct fault *f) EG_MUST_USE;
void checkpoint_close(struct checkpoint *c);

/* Read an extent and verify all of it: header against ref, CRC, entries in order and
 * within what it covers. buf: EG_EXTENT_BYTES_MAX, 64-byte aligned; the entries begin at
 * *entries within it. Any thread, at the same time as others. EG_E_VALIDATION: damaged. */
enum err checkpoint_read(const struct checkpoint *c, const struct extent_ref *ref, void *buf,
                         const void **entries, struct fault *f) EG_MUST_USE;
/* Read all its extents so; own: only those in its own file. */
enum err checkpoint_verify(const struct checkpoint *c, bool own, struct fault *f) EG_MUST_USE;
/* The ref that covers this number, or NULL. */
const struct extent_ref *checkpoint_ref(const struct checkpoint *c, uint32_t kind, uint64_t first);

/* ---- writing ------------------------------------------------------------------- */

struct checkpoint_writer {
	int fd;
	uint64_t offset;               /* where the next extent will be */
	struct checkpoint_header header;
	struct checkpoint_place place; /* complete after checkpoint_end */
	struct extent_ref *refs;
	uint32_t n_refs, cap_refs;
	uint8_t *buf;                  /* EG_EXTENT_BYTES_MAX, 64-byte aligned */
	uint64_t written;              /* bytes */
};

/* Begin a file (in tmp/). head: uuid, timeline, id, base_id, start_lsn, created_us, stores,
 * layout (0: this build's); the rest is filled in. */
enum err checkpoint_begin(struct checkpoint_writer *w, int tmp_fd, const char *name,
                          const struct checkpoint_header *head, struct fault *f) EG_MUST_USE;
/* Room for the entries of the next extent: fill it, then checkpoint_add. */
void *checkpoint_entries(struct checkpoint_writer *w);
/* Write an extent of n entries that covers numbers from `first` on (a multiple of what a whole
 * one covers). Not written when it says nothing: no entry, and generation 0. Extents
 * come in order of (kind, first). */
enum err checkpoint_add(struct checkpoint_writer *w, enum extent_kind kind, uint64_t first, uint32_t n,
                        uint32_t generation, struct fault *f) EG_MUST_USE;
/* An extent that did not change: it stays where it is. */
void checkpoint_keep(struct checkpoint_writer *w, const struct extent_ref *ref);
/* Manifest, footer, header, sync. Then w->place says where it is. */
enum err checkpoint_end(struct checkpoint_writer *w, struct fault *f) EG_MUST_USE;
void checkpoint_free(struct checkpoint_writer *w);   /* after the end, or to give up */

/* Write a full checkpoint of given rows (ascending by slot) and spaces (by number, from
 * 0, without a gap) as a file of that folder: for tests, and for whoever has no store. */
enum err checkpoint_write_all(int folder_fd, const char *name, const struct checkpoint_header *head,
                              const struct checkpoint_row *rows, uint64_t n_rows,
                              const struct checkpoint_space *spaces, uint64_t n_spaces,
                              struct checkpoint_place *place, struct fault *f) EG_MUST_USE;

#endif
