/* See wait.h. */
#include "workers/api/wait.h"

#include <string.h>

#include "common/fault.h"
#include "workers/api/http_flow.h"

void request_wait(struct request *r, const struct ticket *t)
{
	EG_ASSERT(r->n_tickets < EG_REQUEST_TICKETS);
	r->ticket[r->n_tickets++] = *t;
}

void wait_forget(struct request *r, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		submit_forget(&r->ticket[i]);
	memmove(r->ticket, r->ticket + n, (r->n_tickets - n) * sizeof *r->ticket);
	r->n_tickets -= n;
}

void wait_add(struct request *r)
{
	struct loop *l = r->loop;

	r->prev = NULL;
	r->next = l->waiting;
	if (r->next)
		r->next->prev = r;
	l->waiting = r;
}

static void take_out(struct request *r)
{
	if (r->prev)
		r->prev->next = r->next;
	else
		r->loop->waiting = r->next;
	if (r->next)
		r->next->prev = r->prev;
	r->next = r->prev = NULL;
}

static bool answered(const struct request *r)
{
	enum err err;
	uint64_t lsn;
	bool durable;

	for (unsigned i = 0; i < r->n_tickets; i++)
		if (!submit_poll(&r->ticket[i], &err, &lsn, &durable))
			return false;
	if (r->until && !r->until(r))
		return false;
	FAULT(WORKER_ANSWERED);
	return true;
}

/* True when r has its answer and was resumed. */
static bool go_on(struct request *r)
{
	struct loop *l = r->loop;

	if (r->finish_pool != POOL_INLINE) {
		l->service->push(l->service, r->finish_pool, &r->work, true);
		return false;
	}
	http_run(r, &l->thread);
	return http_returned(r);
}

bool wait_check(struct loop *l)
{
	bool resumed = false;

	for (struct request *r = l->waiting, *next; r; r = next) {
		next = r->next;
		if (answered(r)) {
			take_out(r);
			resumed |= go_on(r);
		} else if (l->now_ms >= r->deadline_ms) {
			take_out(r);
			wait_forget(r, r->n_tickets);
			reply_error(r, EG_E_WRITER, NULL, NULL, "the writer did not answer within limits.request_seconds; the outcome of this request is unknown");
			resumed |= http_returned(r);
		}
	}
	return resumed;
}
