/* Routes about single memories. A handler's contract is in workers/api/http.h. */
#ifndef API_MEMORIES_H
#define API_MEMORIES_H

#include "workers/api/http.h"

enum verdict memories_remember(struct request *r, struct worker_thread *t);
enum verdict memories_get(struct request *r, struct worker_thread *t);
enum verdict memories_list(struct request *r, struct worker_thread *t);
enum verdict memories_delete(struct request *r, struct worker_thread *t);

#endif
