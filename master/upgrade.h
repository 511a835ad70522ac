/* A new program image on the same sockets and the same data (USR2).
 *
 * The old master starts argv[0] again, with the listening sockets and one end of a
 * channel. What is said on it, and what both do:
 *
 *   old                                       new
 *   starts it                                 configuration, sockets, own desks
 *                                       <- P  prepared; has no children yet
 *   workers leave, then consolidation,
 *   then the writer, which says in the
 *   root of shared memory at which LSN
 *   it has left it complete
 *   gives LOCK free                     G ->  takes LOCK, starts a writer, which
 *                                             adopts the memory or, if its layout is
 *                                             another one, reads the log; then workers
 *                                       <- R  ready
 *   ends, leaving memory and sockets
 *
 * There is one writer because there is one LOCK, and no reader of the old family is
 * left when the new writer starts. Clients wait, nobody is refused: while no
 * worker runs, connections wait in the queues of the sockets, which both
 * masters hold. That gap is the time of two short processes' lives, because
 * workers first answer for two seconds with "Connection: close" (worker.c).
 *
 * Until R the old master can come back: when the new one does not get prepared in
 * time, ends, or cannot keep a child alive, the old one takes LOCK again and fills
 * its roles as it was. After R the way back is another USR2 with the old
 * program in place.
 */
#ifndef MASTER_UPGRADE_H
#define MASTER_UPGRADE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/err.h"

struct master;                         /* master/master.h */

enum upgrade_phase {
	UPGRADE_NONE,
	UPGRADE_STARTING, UPGRADE_LEAVING, UPGRADE_GIVEN, UPGRADE_RECLAIMING,   /* old master */
	UPGRADE_WAITING, UPGRADE_TAKING, UPGRADE_ENTERING,                      /* new master */
};

struct upgrade {
	enum upgrade_phase phase;
	int channel;                   /* -1 = none */
	int handle;                    /* pidfd of the new master, -1 = none */
	pid_t pid;                     /* of the new master */
	int64_t deadline;              /* of STARTING and TAKING, monotonic ns */
	enum err end;                  /* why this new master gives up; EG_E_OK = it does not */
};

enum upgrade_rule {                    /* what the master may do in this round */
	UPGRADE_SERVE,                 /* as ever */
	UPGRADE_BACKSTAGE,             /* roles that serve stay empty for now */
	UPGRADE_HOLD,                  /* nobody is started */
	UPGRADE_GONE,                  /* this master is done, the other one serves */
};

/* Was this image started by an old master? */
bool upgrade_expected(void);
/* New master: the sockets and the channel, from the environment, which is cleared. */
enum err upgrade_join(struct master *m, struct fault *f) EG_MUST_USE;
/* New master: everything before the first fork has gone well. */
void upgrade_prepared(struct master *m);

/* Old master, at USR2. */
void upgrade_begin(struct master *m, int64_t now);
/* One step of either side, in each round of the cycle. */
enum upgrade_rule upgrade_step(struct master *m, int64_t now);
/* A stop was asked for: the new master is called off. */
void upgrade_cancel(struct master *m);

#endif
