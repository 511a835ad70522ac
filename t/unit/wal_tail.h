/* The end of a test family's log: has the writer been idle long enough to say that all of it
 * was synced? */
#ifndef T_WAL_TAIL_H
#define T_WAL_TAIL_H

#include "t/unit/wal_family.h"

/* What ends the log: its witness, its last group with records, and that one's last LSN. */
struct tail { char path[4200]; uint64_t witness, group, end, lsn; };   /* offsets in the newest segment, 0 = none */
void tail_look(struct wal_family *f, struct tail *t);

void tail_await_witness(struct wal_family *f);   /* a minute at most */
void tail_cut_witness(struct wal_family *f);     /* if there is one; nobody writes */

#endif
