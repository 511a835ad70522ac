/* Apply: make one admitted record visible. The same function serves the running
 * writer, the repair after its death, and the load of the log at start.
 *
 * A plan holds what admission (or replay) has reserved for the record; after that
 * nothing can fail. Guards against a second application: a shard's applied LSN,
 * and the object's own content LSN; one object's LSN never guards another.
 */
#ifndef WAL_APPLY_H
#define WAL_APPLY_H

#include "shm/slot.h"
#include "shm/store_write.h"

struct plan {
	const struct record *record;   /* in its final place, CRC set */
	uint32_t slot, generation;
	uint32_t class_, node;         /* EG_NONE = no vector */
	uint64_t body;                 /* reserved heap block */
	uint32_t body_bytes;
	bool fresh;                    /* the slot is new: PUT of an id that was not there */
};

/* Reserve what a PUT needs (log thread; when fresh, the id table has room:
 * ids_has_room). On failure nothing stays reserved. plan->record need not be set;
 * plan->slot and generation are given unless fresh. */
enum err plan_reserve(struct store_writer *w, struct plan *p, const struct record *head, struct fault *f) EG_MUST_USE;
void plan_undo(struct store_writer *w, struct plan *p, const struct record *head);

/* Carry out a PUT or DELETE, of this shard's thread. */
void apply_plan(struct store_writer *w, struct plan *p);

/* A memory that a checkpoint's row names, into an empty slot of a store that nobody
 * sees yet (any thread; slots, nodes and blocks of others are others'). Its id word and
 * counts come later, when all are there. */
struct slot_words { uint64_t truth, memory, last_access_ms, accesses, tier; };
void apply_loaded(struct store_writer *w, const struct plan *p, const struct slot_words *words);
uint32_t apply_body_bytes(const struct record *r);   /* the heap block of a record */

/* SPACE_PUT and SPACE_DELETE: no other apply may run. The space was reserved. */
void apply_space_put(struct store_writer *w, const struct record *r);
void apply_space_delete(struct store_writer *w, const struct record *r);

#endif
