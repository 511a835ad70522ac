/* Routes that search: recall (POST and GET) and the lexical search. A handler's
 * contract is in workers/api/http.h. */
#ifndef API_RECALL_API_H
#define API_RECALL_API_H

#include "workers/api/http.h"

enum verdict recall_post(struct request *r, struct worker_thread *t);
enum verdict recall_get(struct request *r, struct worker_thread *t);
enum verdict recall_search(struct request *r, struct worker_thread *t);

#endif
