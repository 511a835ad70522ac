/* Signals: a table turns them into wishes, which the master's cycle grants one by
 * one at the place where it may. Nothing runs in a handler: the master blocks
 * them and reads a signalfd in its one poll.
 */
#ifndef MASTER_SIGNALS_H
#define MASTER_SIGNALS_H

#include <stdbool.h>

#include "common/err.h"

enum signals_order {
#define X(signal, wish, verb, does) SIGNALS_ORDER_##signal,
#include "master/signals.def"
#undef X
	SIGNALS_ROWS
};

enum signals_wish {                 /* bits */
	SIGNALS_REAP = 1, SIGNALS_STOP = 2, SIGNALS_LEAVE = 4, SIGNALS_RELOAD = 8,
	SIGNALS_REOPEN = 16, SIGNALS_UPGRADE = 32, SIGNALS_DRAIN = 64,
};

/* Blocks the table's signals and returns a non-blocking descriptor that becomes
 * readable when one of them came; -1 and errno on failure. */
int signals_open(void);
/* All wishes that came since the last call; logs who asked. */
unsigned signals_take(int fd);
/* In a child: end at once at TERM, INT and QUIT, ignore the rest and PIPE, and let
 * them through again. Its main function then sets what it wants. */
void signals_child(void);

/* Signal number of a verb of -s, 0 = there is none. */
int signals_of_verb(const char *verb);
/* "stop|quit|reload|...", for the usage text. */
const char *signals_verbs(void);

#endif
