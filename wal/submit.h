/* The sender's side of a lane: hand changes to the wal process, learn the outcome.
 *
 * Called by store threads of workers and by the consolidation process. A lane
 * has one producer; threads that share one take turns under a lock of their own
 * process. Nothing here waits for the disk: push, then look at the ticket when
 * the desk's doorbell rang.
 */
#ifndef WAL_SUBMIT_H
#define WAL_SUBMIT_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "common/err.h"
#include "shm/desk.h"
#include "shm/ids.h"
#include "shm/record.h"

enum record_type {
#define X(name, number, logical, text) EG_RECORD_##name = number,
#include "wal/record.def"
#undef X
};

/* One change to be made. Everything pointed to is copied by submit_push.
 * head: bytes, crc, lsn, version, stored_us, producer, op, entry are filled in
 * on the way; shard, key, dim, id_bytes, n_tags, n_terms, packed_bytes by
 * draft_seal from the parts below. */
struct draft {
	struct record head;
	const char *space_id;          /* names the space; resolved by the writer */
	size_t space_id_bytes;
	const char *id;
	const float *vector;           /* head.dim floats of unit length */
	const uint64_t *terms;         /* head.n_terms */
	const uint64_t *tags;          /* head.n_tags */
	const uint8_t *packed;
	uint64_t expect_version;       /* 0 = any; else the version it must have now */
	size_t bytes;                  /* of the record, by draft_seal */
};

/* Compute key, shard and size. */
void draft_seal(struct draft *d);

struct submit {                        /* one a lane, process-private */
	pthread_mutex_t lock;          /* threads of this process that share the lane */
	pthread_cond_t room;           /* signalled by submit_wake */
	struct desks *desks;
	unsigned desk, lane;
	uint8_t *ring;
	size_t ring_bytes;
	_Atomic uint64_t *head;        /* on the own desk */
	uint64_t next_seq, next_result;
	uint64_t written;              /* bytes published */
	uint64_t low_seq;              /* oldest entry whose ticket is not forgotten */
	uint64_t first_result[EG_LANE_ENTRIES];
	bool forgotten[EG_LANE_ENTRIES];
	uint32_t incarnation;
	_Atomic uint32_t waiting;      /* threads in submit_push that lack room */
};

enum submit_flags {
	EG_SUBMIT_ATOMIC = 1,          /* all or none, closed by one COMMIT */
	EG_SUBMIT_DURABLE = 2,         /* answer only when on stable storage, whatever the mode */
};

struct ticket {                        /* of one pushed entry */
	struct submit *submit;
	uint64_t seq, first_result;
	unsigned n_ops;
};

struct outcome {                       /* of one operation */
	enum err err;
	uint64_t version;
	bool created;                  /* false: the id was there before */
	uint32_t detail;               /* EG_E_DIMENSION: the space's dimension; EG_E_OK: slot of
	                                * another memory of the space with the same text
	                                * fingerprint (a near-duplicate), EG_NONE = none */
};

void submit_init(struct submit *s, struct desks *d, unsigned lane);
void submit_fini(struct submit *s);

/* Publish n drafts as one entry. Waits for room at most wait_ms, then
 * EG_E_OVERLOADED; EG_E_TOO_LARGE (with the limit) when it can never fit. */
enum err submit_push(struct submit *s, const struct draft *drafts, unsigned n, unsigned flags,
                     unsigned wait_ms, struct ticket *t, struct fault *f) EG_MUST_USE;

/* Largest entry in bytes and operations that submit_push takes. */
size_t submit_max_bytes(const struct submit *s);
unsigned submit_max_ops(const struct submit *s);

/* Has the entry been answered? Then *err is its outcome (EG_E_OK also when
 * single operations of a non-atomic entry were refused), *lsn its highest LSN,
 * *durable whether it is on stable storage. */
bool submit_poll(const struct ticket *t, enum err *err, uint64_t *lsn, bool *durable);
/* Outcome of operation i; only after submit_poll said true and before the
 * ticket is forgotten by submit_forget. */
struct outcome submit_outcome(const struct ticket *t, unsigned i);
/* The results have been read (or nobody waits for them any more): their cells
 * may be used again. Must be called once for each ticket. */
void submit_forget(struct ticket *t);
/* Call when the desk's doorbell rang: wakes threads that wait for room. */
void submit_wake(struct submit *s);

#endif
