/* POST /api/v1/memories/batch. A handler's contract is in workers/api/http.h. */
#ifndef API_BATCH_H
#define API_BATCH_H

#include "workers/api/http.h"

enum verdict memories_batch(struct request *r, struct worker_thread *t);

#endif
