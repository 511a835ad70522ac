/* What the service manager is told (sd_notify), when there is one: NOTIFY_SOCKET
 * in the environment. Built without libsystemd, nothing is said. */
#ifndef MASTER_NOTIFY_H
#define MASTER_NOTIFY_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct family;                         /* master/family.h */

void notify_ready(void);               /* also: the reload is over */
void notify_reloading(void);
void notify_stopping(void);
void notify_successor(pid_t master);   /* the main process is another one now */

/* Once a round: the state of the start while the family is not ready, and a sign of
 * life at half of WATCHDOG_USEC as long as every child beats. */
void notify_round(const struct family *fam, bool ready, int64_t heartbeat_ns, int64_t now);
/* Longest wait that keeps the watchdog fed, ns; INT64_MAX = there is none. */
int64_t notify_watchdog_ns(void);

#endif
