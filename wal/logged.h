/* Logged: which operations of unanswered lane entries the log has already.
 *
 * A new writer reads a lane again from what was answered last. An operation that
 * its predecessor had logged must not be logged twice: it is answered from the
 * log. Filled while the log's tail is read, empty in normal running.
 */
#ifndef WAL_LOGGED_H
#define WAL_LOGGED_H

#include <stdbool.h>
#include <stdint.h>

#include "shm/record.h"

struct logged_op { uint64_t entry, lsn, version; uint32_t producer; uint16_t op; bool commit; };

struct logged { struct logged_op *at; uint64_t n, cap; bool sorted; };

void logged_add(struct logged *l, const struct record *r, bool commit);
/* The operation (or, with commit, the COMMIT of that entry), or NULL. */
const struct logged_op *logged_find(struct logged *l, uint32_t producer, uint64_t entry, uint16_t op, bool commit);
void logged_clear(struct logged *l);

/* Who sent a record: a seat and which process sat there. Incarnations count by
 * desk, so the desk's number is part of it. Never 0, which means the writer itself. */
static inline uint32_t logged_producer(unsigned desk, uint32_t incarnation)
{
	return (uint32_t)desk << 26 | (incarnation & 0x3ffffff);
}

/* The entry word of a record: lane << 56 | sequence. */
static inline uint64_t logged_entry(unsigned lane, uint64_t seq) { return (uint64_t)lane << 56 | seq; }

#endif
