/* The wal process: the only writer of the log and the store.
 *
 * Entered by the master's spawn with desk EG_DESK_WAL taken, TERM, INT and QUIT
 * ending the process at once, HUP, WINCH, USR1, USR2 and PIPE ignored, until it
 * sets its own. QUIT (also sent when the master dies): take everything that is
 * in the lanes, write SHUTDOWN, sync, return; TERM: the same without waiting
 * for more; USR1: log_reopen(). Lives through reloads: it takes reload-safe keys
 * anew when the master page's config_generation rises (its bell is rung).
 */
#ifndef WAL_WRITER_H
#define WAL_WRITER_H

#include "shm/heritage.h"

/* Returns the exit status of the process. */
int wal_main(const struct heritage *h);

#endif
