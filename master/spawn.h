/* One way to become a child, for all kinds of processes. */
#ifndef MASTER_SPAWN_H
#define MASTER_SPAWN_H

#include <sys/types.h>

#include "master/files.h"
#include "master/kinds.h"
#include "master/sockets.h"

struct spawn {                         /* what children are made of; the master's, between forks */
	struct heritage heritage;      /* what is the same for all; config of this generation */
	const struct sockets *sockets;
	struct files_owner owner;
	int private_fds[4];            /* the master's own, closed in children; -1 = none */
};

/* Seats a process of this kind at a FREE desk (its incarnation rises and its state
 * becomes BUSY before the fork) and forks it. Returns its pid; -1 with errno when
 * fork fails, and then the desk is FREE again. Never returns in the child. */
pid_t spawn_child(const struct spawn *s, const struct kind *kind, unsigned desk, uint32_t index,
                  uint32_t node, uint32_t restarts);

#endif
