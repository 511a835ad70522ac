/* The metrics page: every row of shm/metrics.def, and what is computed when asked. */
#ifndef API_PROM_H
#define API_PROM_H

#include "workers/api/loop.h"

/* Prometheus text format 0.0.4. store may be NULL: not attached yet. */
void prom_page(struct buf *b, const struct desks *d, const struct store *store);

#endif
