/* What the files of the loader share; nobody else includes it. */
#ifndef WAL_LOAD_PARTS_H
#define WAL_LOAD_PARTS_H

#include "wal/checkpoint.h"
#include "wal/load.h"

#define EG_LOAD_THREADS 64u
#define EG_LOAD_ROOMS (EG_CLASSES * 2u + 8u)

struct loaded {                        /* of a row: what its record said */
	uint64_t body, key;
	uint32_t space;
	uint8_t shard;
	bool live;                     /* the store has it */
};

struct load_lsn { uint64_t lsn; uint32_t row; };
struct load_key { uint64_t key; uint32_t row, slot; };

/* A piece of a segment: the groups that begin in some bytes of it. */
struct load_span {
	uint64_t start;                /* of the segment */
	uint64_t first, end;           /* the segment's part of `order` */
	uint64_t from, to;             /* bytes of the file */
	/* What was found: */
	bool found;                    /* a group */
	int error;                     /* errno when none was, for it could not be read; else 0 */
	uint64_t begins, ends;         /* offset of the first one, and behind the last one that was read */
	uint32_t crc_before, crc_after; /* of the group before the first one, and of the last one */
	uint64_t row_first, row_end;   /* the piece's part of `order` */
};

struct load {
	struct store_writer *w;
	const struct datadir *d;
	struct checkpoint c;
	bool anew;                     /* of another layout: slots and nodes are reserved anew */
	struct load_report *report;
	struct checkpoint_row *rows;
	struct loaded *loaded;
	uint64_t n;
	uint64_t *row_at;              /* per extent of the checkpoint: the first of its rows */
	uint32_t *generations;         /* per extent of rows: highest of its slots */
	uint32_t n_extents;
	struct load_lsn *order;        /* rows by LSN */
	uint64_t record_bytes;         /* of the log for a record, on the average; 0: not known */
	uint64_t tail;                 /* memories that the log brings above start_lsn, about */
	struct load_span *spans;
	unsigned n_spans;
	uint64_t spans_cap;
	uint8_t *live;                 /* per slot */
	uint8_t *taken[EG_CLASSES];    /* per node: 1 */
	struct load_key *by_shard;     /* rows that live, those of a shard side by side */
	uint64_t shard_first[EG_SHARDS + 1];
	struct { void *at; size_t bytes; } rooms[EG_LOAD_ROOMS];      /* of the arrays above */
	unsigned n_rooms;
	unsigned threads;
	_Atomic unsigned next;         /* piece of work to be taken */
	_Atomic bool failed, rot;
	_Atomic uint64_t bytes;
	pthread_mutex_t lock;          /* guards the heap and the first failure */
	struct fault fault;
};

struct record;
struct body;

/* load_rows.c: what the checkpoint says. */
enum err load_spaces(struct load *l, struct fault *f) EG_MUST_USE;
void load_size_up(struct load *l);     /* how many there are, and room for them */
void load_rows(struct load *l);        /* one thread of several */
void load_sort(struct load *l);
/* Slots and nodes exist, empty; rows of one node are parted. */
enum err load_frame(struct load *l, struct fault *f) EG_MUST_USE;

/* load_spans.c: where in the log it is. */
enum err load_plan_spans(struct load *l, struct fault *f) EG_MUST_USE;
/* All pieces were loaded: nothing lies between them. */
enum err load_join_spans(struct load *l, struct fault *f) EG_MUST_USE;
/* The first row of the piece's segment at or above this LSN. */
uint64_t load_row_from(const struct load *l, const struct load_span *p, uint64_t lsn);
/* f: records of these LSNs are missing; l->rot. EG_E_VALIDATION. */
enum err load_rotten(struct load *l, uint64_t from, uint64_t to, const char *why, struct fault *f);

/* load_segments.c: what the log says. */
void load_segments(struct load *l);    /* one thread of several */

/* load_anew.c: a slot and a node for the row of a checkpoint of another layout, and back. */
enum err load_place(struct load *l, struct checkpoint_row *row, const struct record *r, struct fault *f) EG_MUST_USE;
void load_unplace(struct load *l, const struct body *b, uint32_t slot);

/* load_lists.c: what follows from both. */
enum err load_prepare_ids(struct load *l, struct fault *f) EG_MUST_USE;
void load_ids(struct load *l);         /* one thread of several */
void load_lists(struct load *l);

/* Room for n things, all zero, until the end: in huge pages, for a page fault costs more than
 * what is done to a page. */
void *load_room(struct load *l, uint64_t n, size_t each);

/* Remember the first failure and let the other threads end. */
void load_fail(struct load *l, const struct fault *f);

/* Sums of one space after the other, so that threads do not fight for a word. */
struct load_sums { uint32_t space; uint64_t memories, terms, raw_bytes, with_vector, derived_bytes; };
void load_count(struct load *l, struct load_sums *s, const struct record *r, int64_t sign);
void load_count_end(struct load *l, struct load_sums *s);

#endif
