/* Listening sockets: made by the master, never closed while it runs.
 *
 * Each worker has, for each address, one SO_REUSEPORT socket per event thread;
 * the kernel spreads connections over all of them. A worker that replaces a dead
 * one gets the same sockets, so connections that wait in their queues are
 * served by the successor and nobody is refused.
 *
 * A reload compares addresses as they are written: what both configurations name
 * stays untouched, new ones are opened before anything else changes, dropped
 * ones are given to no new worker and closed when the last old one is gone.
 * Sockets of event threads that a reload takes away stay and go to the remaining
 * threads (a queue that nobody reads would swallow connections); so a worker may
 * get more sockets than event threads x addresses, and has to serve all.
 */
#ifndef MASTER_SOCKETS_H
#define MASTER_SOCKETS_H

#include <stdbool.h>
#include <stdio.h>
#include <sys/socket.h>

#include "common/config.h"
#include "shm/heritage.h"

#define EG_ADDRESSES_MAX 64u           /* listening addresses of a server */
#define EG_SOCKETS_MAX 4096u           /* of all workers together */

struct sockets_address {
	char *written;                 /* as in the configuration; owned */
	struct sockaddr_storage at;    /* with the real port, once bound */
	socklen_t at_bytes;
	char text[64];                 /* numeric, as shown */
	bool wanted;                   /* by the configuration in force */
};

_Static_assert(sizeof(((struct listener *)0)->text) == sizeof(((struct sockets_address *)0)->text), "copied whole");

struct sockets_one {
	struct listener listener;
	unsigned address;              /* index; row of its address */
	unsigned worker;
};

struct sockets {
	unsigned n_addresses, n;
	unsigned patience_ms;          /* an address in use is waited for so long: at the start, when the
	                                  processes of a killed server may still be on their way out */
	struct sockets_address addresses[EG_ADDRESSES_MAX];
	struct sockets_one v[EG_SOCKETS_MAX];
};

/* Opens what [server] listen asks for and is not there yet: for each address one
 * socket per worker and event thread. EG_E_INPUT, with the address and the reason
 * in f, when one cannot be had; then nothing has changed.
 * Addresses that are not listed any more are only marked. */
enum err sockets_update(struct sockets *s, const struct config *cfg, unsigned workers,
                        struct fault *f) EG_MUST_USE;
/* To another program image: writes addresses and descriptors as lines, and
 * reads them back (workers: how many there are now; sockets of others are dealt
 * out among them). EG_E_INPUT: it is not such a text. */
void sockets_write(const struct sockets *s, FILE *out);
enum err sockets_read(struct sockets *s, FILE *in, unsigned workers, struct fault *f) EG_MUST_USE;
/* Whether they stay open over exec. */
void sockets_inherit(const struct sockets *s, bool on);
/* The sockets of a worker into out (room for EG_SOCKETS_MAX); returns how many. */
unsigned sockets_of(const struct sockets *s, unsigned worker, struct listener *out);
/* In a child: close all but those of `worker`; UINT_MAX closes all. */
void sockets_keep(const struct sockets *s, unsigned worker);
/* Close the addresses that nobody wants any more; returns how many. */
unsigned sockets_sweep(struct sockets *s);
void sockets_close(struct sockets *s);

#endif
