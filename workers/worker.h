/* The worker process: serves HTTP, recalls, thinks; never writes the store.
 *
 * Entered by the master's spawn with the desk taken, the comm name and title
 * set, TERM, INT and QUIT ending the process at once, HUP, WINCH, USR1, USR2 and
 * PIPE ignored, until it sets its own. QUIT (also sent when the master dies)
 * means: finish what has begun, take nothing new, return; TERM: return now;
 * USR1: log_reopen().
 */
#ifndef WORKERS_WORKER_H
#define WORKERS_WORKER_H

#include "shm/heritage.h"

/* Returns the exit status of the process. */
int worker_main(const struct heritage *h);

#endif
