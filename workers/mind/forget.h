/* Forgetting for good: the drafts that delete a memory or a space. (Suppressing
 * and overwriting are to join them.) */
#ifndef MIND_FORGET_H
#define MIND_FORGET_H

#include "wal/submit.h"
#include "workers/mind/mind.h"

/* id must stay in place until the draft was pushed. */
void forget_memory(struct str space, struct str id, struct draft *d);
void forget_space(struct str space, struct draft *d);

#endif
