/* The consolidation process: beliefs, tier moves, checkpoints; sends changes
 * through its lanes like a worker. What holds at its entry and what signals
 * mean: see workers/worker.h. Lives through reloads: it takes reload-safe keys
 * anew when the master page's config_generation rises (its bell is rung).
 */
#ifndef WORKERS_CONSOLIDATOR_H
#define WORKERS_CONSOLIDATOR_H

#include "shm/heritage.h"

/* Returns the exit status of the process. */
int consolidator_main(const struct heritage *h);

#endif
