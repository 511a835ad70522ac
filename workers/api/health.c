/* GET /health, /health/alive, /health/ready, /api/v1/system/health. */
#include "config.h"

#include "workers/api/health.h"

#include "common/clock.h"
#include "workers/api/routes.h"
#include "wal/mirror.h"

const char *health_trouble(const struct service *s)
{
	const struct seat *seat = &desk_master(s->desks)->seats[EG_DESK_WAL];

	if (atomic_load(&s->state) != SERVICE_READY)
		return "the store is not there yet";
	if (!store_is_current(&s->store, s->desks))
		return "the store is being built";
	if (atomic_load(&seat->state) != EG_DESK_BUSY)
		return "the writer is not running";
	switch ((enum wal_state)atomic_load(&desk_wal(s->desks)->state)) {
	case EG_WAL_STARTING: return "the writer is starting";
	case EG_WAL_READ_ONLY: return "the store is read-only at present; reads go on";
	case EG_WAL_RUNNING: break;
	}
	return NULL;
}

enum verdict health_alive(struct request *r, struct worker_thread *t)
{
	(void)t;
	r->canned = true;
	r->status = 200;
	return REPLIED;
}

enum verdict health_ready(struct request *r, struct worker_thread *t)
{
	const char *trouble = health_trouble(r->loop->service);
	bool read_only = atomic_load(&desk_wal(t->desks)->state) == EG_WAL_READ_ONLY;

	if (trouble)
		return reply_error(r, read_only ? EG_E_READ_ONLY : EG_E_WRITER, NULL, NULL, "not ready: %s", trouble);
	buf_puts(&r->out, "{\"status\":\"ready\"}\n");
	return reply_json(r, 200);
}

static const char *mirror_trouble(const struct desks *d)
{
	switch ((enum mirror_state)atomic_load(&desk_wal(d)->mirror_state)) {
	case MIRROR_LOST: return "the mirror of the log is lost; the data directory has all";
	case MIRROR_MAIN_LOST: return "the data directory cannot be written; the log goes on in its mirror";
	case MIRROR_REBUILDING: return "a copy of the log is being rebuilt";
	case MIRROR_NONE: case MIRROR_WHOLE: break;
	}
	return NULL;
}

/* Nothing can be recalled, or nothing can be stored until an operator has looked. */
static bool unhealthy(const struct service *s)
{
	return atomic_load(&s->state) != SERVICE_READY || !store_is_current(&s->store, s->desks)
	       || atomic_load(&desk_wal(s->desks)->state) == EG_WAL_READ_ONLY;
}

/* Degraded is still 200: it serves, and says what is missing. */
enum verdict health_get(struct request *r, struct worker_thread *t)
{
	const char *trouble = health_trouble(r->loop->service);
	bool sick = unhealthy(r->loop->service);
	struct buf *b = &r->out;
	char now[EG_CLOCK_TEXT];

	clock_format(clock_real_us(), now);
	buf_printf(b, "{\"status\":\"%s\",\"service\":\"engram\",\"version\":", sick ? "unhealthy" : trouble ? "degraded" : "healthy");
	buf_json_text(b, PACKAGE_VERSION);
	buf_printf(b, ",\"timestamp\":\"%s\",\"reasons\":[", now);
	if (trouble)
		buf_json_text(b, trouble);
	else if (atomic_load(&desk_wal(t->desks)->no_room))
		buf_json_text(b, "no room for the log: stores are refused, all else goes on");
	else if (mirror_trouble(t->desks))
		buf_json_text(b, mirror_trouble(t->desks));
	else if (atomic_load(&desk_wal(t->desks)->checkpoint.fell_back))
		buf_json_text(b, "the newest checkpoint could not be used at start; an older one or the log was");
	else if (atomic_load(&desk_wal(t->desks)->lost_ranges) > 0)
		buf_json_text(b, "loss was accepted: see LOSS in the data directory");
	buf_puts(b, "]}\n");
	return reply_json(r, sick ? 503 : 200);
}
