/* Routes about memory spaces. A handler's contract is in workers/api/http.h. */
#ifndef API_SPACES_H
#define API_SPACES_H

#include "workers/api/http.h"

enum verdict spaces_create(struct request *r, struct worker_thread *t);
enum verdict spaces_list(struct request *r, struct worker_thread *t);
enum verdict spaces_stats(struct request *r, struct worker_thread *t);
enum verdict spaces_delete(struct request *r, struct worker_thread *t);

#endif
