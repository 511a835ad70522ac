/* What operators ask for: POST /api/v1/admin/checkpoint. */
#include <string.h>

#include "shm/desk.h"
#include "wal/control.h"
#include "workers/api/loop.h"
#include "workers/api/memory_json.h"
#include "workers/api/routes.h"

static const struct checkpoint_page *page_of(const struct request *r)
{
	return &desk_wal(r->loop->service->desks)->checkpoint;
}

/* The number of the demand; 0: it was refused. */
static uint64_t demand_of(const struct request *r)
{
	struct api_outcome o;
	struct fault f;

	return api_outcome(&r->ticket[0], 0, &o, &f) == EG_E_OK ? o.op.version : 0;
}

/* A demand is met by an attempt that began after it. */
static bool is_met(const struct request *r)
{
	uint64_t demand = demand_of(r);

	return demand == 0 || atomic_load(&page_of(r)->answered) >= demand;
}

static enum verdict checkpoint_finish(struct request *r, struct worker_thread *t)
{
	const struct checkpoint_page *p = page_of(r);
	struct api_outcome o;
	struct fault f;
	enum err e;
	(void)t;

	if (api_outcome(&r->ticket[0], 0, &o, &f))
		return reply_fault(r, &f, NULL);
	e = (enum err)atomic_load(&p->err);
	if (e != EG_E_OK)
		return reply_error(r, e, NULL, NULL, "the checkpoint could not be made, the one before it stays in force: %s; "
		                   "the log says more", err_text(e));
	buf_printf(&r->out, "{\"id\":%lu,\"start_lsn\":%lu,\"rows\":%lu,\"bytes\":%lu,\"seconds\":%.6f}",
	           atomic_load(&p->id), atomic_load(&p->start_lsn), atomic_load(&p->rows), atomic_load(&p->bytes),
	           (double)atomic_load(&p->ns) / 1e9);
	return reply_json(r, 200);
}

/* Clients that always send an object may send an empty one. */
static bool body_is_empty(struct request *r, struct fault *f)
{
	static const struct fields none = { NULL, 0, sizeof(uint64_t), NULL };
	uint64_t given;

	return r->body_bytes == 0 || fields_parse(r->body, r->body_bytes, &none, &given, &r->arena, f) == EG_E_OK;
}

enum verdict admin_checkpoint(struct request *r, struct worker_thread *t)
{
	static const char *const no_names[] = { NULL };
	struct control c = { .what = EG_CONTROL_ASK };
	struct mind m = api_mind(r, t);
	struct draft d;
	struct fault f;

	control_draft(&c, &d);
	if (request_query_check(r, no_names, &f) || !body_is_empty(r, &f) || api_push(r, &m, &d, 1, 0, &f))
		return reply_fault(r, &f, NULL);
	r->until = is_met;
	r->finish = checkpoint_finish;
	r->finish_pool = POOL_INLINE;
	return WAITING;
}
