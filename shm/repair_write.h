/* Repair: a new writer takes over a store that the last one left at any instruction.
 *
 * All stores of the dead writer were correct code (it was killed, not confused),
 * so each object is whole or not yet published. Headers alone tell what is live:
 *
 *   spaces  the last one counts once it is LIVE
 *   slots   FILLING and RETIRED become FREE; LIVE ones keep their body
 *   nodes   an owner that does not name them back is cleared
 *   graphs  kept while they fit their space; one that was being built is built on
 *   chunks  reserved but not linked into their space are free
 *   heap    all that no live slot or id table refers to is free
 *   ids     words of slots that do not live are removed; a live slot whose
 *           record was not yet counted as applied gets its word
 *   counts  are added up anew
 *
 * Afterwards the caller applies the log's records above each shard's applied LSN;
 * a record whose version is there already (same content LSN) changes nothing.
 */
#ifndef SHM_REPAIR_WRITE_H
#define SHM_REPAIR_WRITE_H

#include "shm/store_write.h"

struct repair_report {
	uint64_t live, freed_slots, freed_nodes, freed_chunks, removed_ids, added_ids;
	uint64_t graphs_dropped, graphs_rebuilt;
};

/* verify: the last writer may have stored anywhere, so every live object's CRC is
 * checked. EG_E_INTERNAL when something is not as any prefix of our code leaves it: then
 * the store must be built anew from the log. */
enum err store_repair(struct store_writer *w, bool verify, struct repair_report *r, struct fault *f) EG_MUST_USE;

#endif
