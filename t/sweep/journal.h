/* Clients that keep a journal of what they asked and were told, and hold the server
 * to it (RELIABILITY.md 2.9).
 *
 * Each client is a thread with an own connection and own ids; one request at a time.
 * Contents follow from seed, client and number, so they certify themselves. What an
 * id may hold: its last acknowledged value, or that of a change invoked later whose
 * outcome is unknown. An unknown batch of all or none is looked at as a whole.
 */
#ifndef T_SWEEP_JOURNAL_H
#define T_SWEEP_JOURNAL_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "t/sweep/client.h"

#define JOURNAL_CLIENTS_MAX 16u

struct counts {
	/* wrong, each of them */
	_Atomic uint64_t lost, phantom, torn, corrupt, resurrected, order, refused_connects;
	/* work */
	_Atomic uint64_t acked, refused, unknown, reads, checks;
	_Atomic uint64_t no_room, read_only;   /* refused with 507, with another 5xx that is definite */
};

enum load_phase { LOAD_REST, LOAD_CHECK, LOAD_CHECK_ALL, LOAD_RUN, LOAD_END };

struct load {
	unsigned n, port;
	uint64_t seed;
	struct counts counts;
	_Atomic uint32_t phase, round;         /* round: raised with each phase */
	_Atomic bool down;                     /* the whole server may be away: refused connects are no fault */
	_Atomic unsigned downs;                /* how often it was said to be */
	_Atomic uint32_t pause_us;             /* between two requests of a client */
	struct journal *clients[JOURNAL_CLIENTS_MAX];
};

void load_open(struct load *l, unsigned n, unsigned port, uint64_t seed);
void load_close(struct load *l);
/* Forget everything: another data directory. In rest only. */
void load_forget(struct load *l);
/* The whole server may be away from now on, or is there. */
void load_down(struct load *l, bool down);
void load_run(struct load *l);
/* Waits until all clients have come to rest, and have looked at what they touched
 * since the last time (all: at each id they ever had). The server must serve. */
void load_check(struct load *l, bool all);
/* The listing of the server against the journals: nothing else is there. Returns a digest of
 * ids and contents; 0 and a count when it could not be read. In rest only. */
uint64_t load_list(struct load *l);
uint64_t load_wrong(const struct load *l);
uint64_t load_entries(const struct load *l);

uint64_t journal_random(uint64_t *state);

#endif
