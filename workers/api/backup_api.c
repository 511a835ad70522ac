/* POST /api/v1/admin/backup: have the wal process make one (wal/backup.h).
 *
 * The folder is the operator's choice ([storage] backup_dir); a request only names a backup
 * in it, so no client writes anywhere else. One that takes longer than a request may is
 * answered with 202; /api/v1/system/introspect then tells how it ended.
 */
#include <string.h>

#include "common/clock.h"
#include "wal/control.h"
#include "wal/manifest.h"
#include "workers/api/backup_api.h"
#include "workers/api/loop.h"
#include "workers/api/memory_json.h"
#include "workers/api/routes.h"

enum { ANSWER_EARLY_MS = 2000 };

struct backup_body { uint64_t given; struct field_text to, base; };
static const struct field backup_rows[] = {
	FIELD("to", STRING, struct backup_body, to, FIELD_NULLABLE, .min = 1, .max = 4096),
	FIELD("base", STRING, struct backup_body, base, FIELD_NULLABLE, .min = 1, .max = 4096),
};
static const struct fields backup_fields = FIELDS(backup_rows, struct backup_body, NULL);

static const struct backup_page *page_of(const struct request *r)
{
	return &desk_wal(r->loop->service->desks)->backup;
}

/* A name, or the path of one in the folder for backups. */
static enum err name_of(const struct request *r, const char *field, struct field_text given, char out[64],
                        struct fault *f)
{
	const struct config *c = r->loop->service->heritage->config;
	char folder[4200];
	size_t n = (size_t)snprintf(folder, sizeof folder, *c->storage_backup_dir ? "%s/" : "%s/backup/",
	                            *c->storage_backup_dir ? c->storage_backup_dir : c->server_data_dir);

	if (given.len > n && memcmp(given.text, folder, n) == 0) {
		given.text += n;
		given.len -= n;
	}
	if (given.len <= EG_BACKUP_NAME) {
		memcpy(out, given.text, given.len);
		out[given.len] = 0;
		if (strlen(out) == given.len && manifest_name_valid(out))
			return EG_E_OK;
	}
	return err_set(f, EG_E_VALIDATION, field, "60 bytes", "\"%s\" is a name of letters, digits, dot, dash and underscore, in %s "
	               "([storage] backup_dir)", field, folder);
}

/* Named by the time, when the request names none. */
static void name_by_time(char out[64])
{
	char when[EG_CLOCK_TEXT];
	size_t n = 0;

	clock_format(clock_real_us(), when);
	for (const char *p = when; *p && *p != '.'; p++)
		if (*p != ':' && *p != '-' && *p != 'Z')
			out[n++] = *p;
	out[n++] = 'Z';
	out[n] = 0;
}

static enum err read_body(struct request *r, struct control *c, struct fault *f)
{
	struct backup_body b = { 0 };
	enum err e = EG_E_OK;

	if (r->body_bytes > 0)
		e = fields_parse(r->body, r->body_bytes, &backup_fields, &b, &r->arena, f);
	if (e == EG_E_OK && b.to.text)
		e = name_of(r, "to", b.to, c->name, f);
	else if (e == EG_E_OK)
		name_by_time(c->name);
	if (e == EG_E_OK && b.base.text)
		e = name_of(r, "base", b.base, c->base, f);
	return e;
}

/* The number of the demand; 0: it was refused. */
static uint64_t demand_of(const struct request *r)
{
	struct api_outcome o;
	struct fault f;

	return api_outcome(&r->ticket[0], 0, &o, &f) == EG_E_OK ? o.op.version : 0;
}

/* Made, or not to be made any more by this writer, or taking too long for one request. */
static bool is_over(const struct request *r)
{
	const struct backup_page *p = page_of(r);
	uint64_t demand = demand_of(r);

	return demand == 0 || atomic_load_explicit(&p->answered, memory_order_acquire) >= demand
	       || !atomic_load(&p->running) || r->loop->now_ms + ANSWER_EARLY_MS >= r->deadline_ms;
}

/* A copy: the page's text may be written anew meanwhile. */
static const char *copy_text(char *to, const char *from, size_t bytes)
{
	memcpy(to, from, bytes);
	to[bytes - 1] = 0;
	return to;
}

void backup_json(struct buf *b, const struct backup_page *p)
{
	char text[sizeof p->message], when[EG_CLOCK_TEXT] = "";
	int64_t created = atomic_load(&p->created_us);
	enum err e = (enum err)atomic_load(&p->err);

	if (created)
		clock_format(created, when);
	buf_puts(b, "{\"name\":");
	buf_json_text(b, created ? copy_text(text, p->name, sizeof p->name) : NULL);
	buf_puts(b, ",\"created_at\":");
	buf_json_text(b, *when ? when : NULL);
	buf_printf(b, ",\"lsn\":%lu,\"files\":%u,\"linked_files\":%u,\"bytes\":%lu,\"copied_bytes\":%lu,\"seconds\":%.6f,"
	           "\"running\":%s,\"error\":", atomic_load(&p->lsn), atomic_load(&p->files), atomic_load(&p->linked),
	           atomic_load(&p->bytes), atomic_load(&p->copied_bytes), (double)atomic_load(&p->ns) / 1e9,
	           atomic_load(&p->running) ? "true" : "false");
	buf_json_text(b, e == EG_E_OK ? NULL : copy_text(text, p->message, sizeof p->message));
	buf_putc(b, '}');
}

static enum verdict backup_finish(struct request *r, struct worker_thread *t)
{
	static const char *const fields[] = { [EG_BACKUP_NO_FIELD] = NULL, [EG_BACKUP_TO] = "to", [EG_BACKUP_BASE] = "base" };
	const struct backup_page *p = page_of(r);
	char text[sizeof p->message];
	struct api_outcome o;
	struct fault f;
	enum err e = api_outcome(&r->ticket[0], 0, &o, &f);
	(void)t;

	if (e == EG_E_CONFLICT)
		return reply_error(r, e, NULL, NULL, "a backup is being made already");
	if (e != EG_E_OK)
		return reply_fault(r, &f, NULL);
	if (atomic_load_explicit(&p->answered, memory_order_acquire) < demand_of(r)) {
		if (!atomic_load(&p->running))
			return reply_error(r, EG_E_WRITER, NULL, NULL, "the writer was replaced meanwhile; the backup was not made");
		backup_json(&r->out, p);
		return reply_json(r, 202);
	}
	e = (enum err)atomic_load(&p->err);
	if (e != EG_E_OK)
		return reply_error(r, e, fields[atomic_load(&p->field) % 3], NULL, "%s", copy_text(text, p->message, sizeof text));
	backup_json(&r->out, p);
	return reply_json(r, 200);
}

enum verdict admin_backup(struct request *r, struct worker_thread *t)
{
	static const char *const no_names[] = { NULL };
	struct control c = { .what = EG_CONTROL_BACKUP };
	struct mind m = api_mind(r, t);
	struct draft d;
	struct fault f;

	if (request_query_check(r, no_names, &f) || read_body(r, &c, &f))
		return reply_fault(r, &f, NULL);
	control_draft(&c, &d);
	if (api_push(r, &m, &d, 1, 0, &f))
		return reply_fault(r, &f, NULL);
	r->until = is_over;
	r->finish = backup_finish;
	r->finish_pool = POOL_INLINE;
	return WAITING;
}
