/* A history that certifies itself: a sender that journals what it asks for and what
 * was acknowledged, and a checker that holds the store against the journal.
 *
 * The journal lies in memory shared by the test's processes, so it survives all of
 * them but the test. The sender has one entry in flight at a time. A value is the
 * number of the operation that wrote it; the text follows from space, key and value.
 * What may be found: the last acknowledged value, or the one in flight, and of an
 * atomic entry all of it or nothing.
 */
#ifndef T_WAL_HISTORY_H
#define T_WAL_HISTORY_H

#include "t/unit/wal_family.h"

#define HISTORY_SPACES 3u
#define HISTORY_KEYS 60u
#define HISTORY_BATCH 12u
#define HISTORY_DELETED UINT64_C(1)    /* lowest bit of a value: the memory is gone */

struct history {
	uint64_t seed;
	_Atomic uint32_t pause;        /* the sender is asked to rest between two entries */
	_Atomic uint32_t resting;
	_Atomic uint32_t refusal;      /* enum err of a refused entry, after which it rests too */
	_Atomic uint32_t broken;       /* an answer that must not be; its line in the source */
	_Atomic uint64_t entries;      /* answered */
	_Atomic uint64_t next;         /* value of the next operation, even */
	_Atomic uint64_t acked[HISTORY_SPACES][HISTORY_KEYS];      /* 0: never written */
	_Atomic uint64_t flight[HISTORY_SPACES][HISTORY_KEYS];     /* 0: nothing in flight */
	_Atomic uint32_t flying, atomic_entry;     /* operations in flight */
	_Atomic uint32_t dim[HISTORY_SPACES], next_dim[HISTORY_SPACES];
	/* A space that was deleted is made again by a SPACE_PUT, never by a write. */
	_Atomic uint32_t state[HISTORY_SPACES], next_state[HISTORY_SPACES];    /* enum space_state */
	/* the checker's */
	_Atomic uint64_t lost, phantom, torn, corrupt, checks, digest;
};

struct history *history_new(uint64_t seed);
void history_free(struct history *h);
/* Another data directory: everything is forgotten but the counters. */
void history_reset(struct history *h);

/* Children of a family, for family_spawn and family_child; arg: the history. The
 * sender runs until it is killed. The checker looks at everything, counts what is
 * wrong, and takes over as acknowledged what it found of the entry in flight. */
int history_send(struct wal_family *f, void *history);
int history_check(struct wal_family *f, void *history);
uint64_t history_wrong(const struct history *h);

/* A sender that is told what to send, one entry after another, in a child at a desk. */
enum history_what { HISTORY_STORE, HISTORY_LARGE, HISTORY_MANY, HISTORY_BATCH_ALL, HISTORY_DELETE, HISTORY_SETTINGS,
	HISTORY_SPACE_END };
struct history_entry { enum history_what what; unsigned space, key, n; };   /* n memories from key on */
struct history_sender;
struct history_sender *history_sender_new(struct wal_family *f, struct history *h);
void history_sender_free(struct history_sender *s);
/* Send one and wait for its answer. EG_E_OK: it is the state now. EG_E_WRITER: not known, it stays in flight
 * until the next check. Else it was refused for good, and must never be found. What makes no sense now (a memory
 * of a space that was deleted, the deletion of nothing) is not sent: *sent is false then. */
enum err history_entry(struct history_sender *s, const struct history_entry *e, bool *sent);

/* Numbers from a seed. */
uint64_t history_random(uint64_t *state);

#endif
