/* Requests that wait for the writer: found when the desk's doorbell rings. */
#ifndef API_WAIT_H
#define API_WAIT_H

#include "workers/api/loop.h"

/* r has tickets. Own thread of its loop only. */
void wait_add(struct request *r);
/* Look at all tickets of this loop: requests whose tickets are all answered go
 * on to finish(), those over their deadline are answered 503. True when some
 * request was resumed, so that loop_serve must follow. */
bool wait_check(struct loop *l);
/* Give the first n tickets of r back. */
void wait_forget(struct request *r, unsigned n);

#endif
