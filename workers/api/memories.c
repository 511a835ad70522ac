/* Routes about single memories: store, read, list, search, delete. */
#include "workers/api/memories.h"

#include <string.h>

#include "common/clock.h"
#include "shm/body.h"
#include "workers/api/memory_json.h"
#include "workers/mind/browse.h"
#include "workers/mind/forget.h"

/* ---- POST /api/v1/memories/remember */

struct remember_state {
	struct str space, id;
	struct str reasoning;
	int64_t observed_us;
	float confidence;
};

static void write_near(struct buf *out, const struct mind *m, const struct space *sp,
                       const struct engram *stored, uint32_t detail)
{
	struct near near;

	buf_puts(out, ",\"near_duplicates\":[");
	if (stored->body && remember_near(m, sp, stored, detail, &near)) {
		buf_puts(out, "{\"memory_id\":");
		buf_json_string(out, body_id(near.engram.body), near.engram.body->record.id_bytes);
		buf_puts(out, ",\"similarity\":");
		buf_json_float(out, near.similarity);
		buf_putc(out, '}');
	}
	buf_putc(out, ']');
}

/* Times and truth as stored; a later version or a deletion by somebody else may
 * have come between, then those of this request. */
static void write_stored(struct buf *out, const struct remember_state *s, const struct mind *m,
                         const struct api_outcome *o)
{
	const struct space *sp = space_find(m->store, s->space.at, s->space.len);
	struct engram e = { 0 };
	int64_t observed_us = s->observed_us, stored_us = m->now_us;
	uint64_t word = 0;

	if (sp && slot_find(m->store, sp, s->id.at, s->id.len, &e) && e.body->record.version == o->op.version) {
		observed_us = e.body->record.observed_us;
		stored_us = e.body->record.stored_us;
		word = atomic_load_explicit(&e.slot->truth, memory_order_relaxed);
	} else {
		e.body = NULL;
	}
	buf_puts(out, ",\"storage_confidence\":");
	memory_confidence(out, truth_of(word, s->confidence), s->reasoning);
	buf_puts(out, ",\"consolidation_state\":\"Recent\",\"observed_at\":");
	memory_time(out, observed_us);
	buf_puts(out, ",\"stored_at\":");
	memory_time(out, stored_us);
	buf_puts(out, ",\"tier\":");
	buf_json_text(out, browse_tier_name(e.body ? browse_tier(&e) : EG_TIER_HOT));
	write_near(out, m, sp, &e, o->op.detail);
}

static enum verdict remember_finish(struct request *r, struct worker_thread *t)
{
	const struct remember_state *s = r->state;
	struct mind m = api_mind(r, t);
	struct api_outcome o;
	struct fault f;

	if (api_outcome(&r->ticket[r->n_tickets - 1], 0, &o, &f))
		return reply_fault(r, &f, NULL);
	buf_puts(&r->out, "{\"memory_id\":");
	memory_str(&r->out, s->id);
	buf_printf(&r->out, ",\"version\":%llu,\"created\":%s,\"durable\":%s,\"lsn\":%llu",
	           (unsigned long long)o.op.version, o.op.created ? "true" : "false",
	           o.durable ? "true" : "false", (unsigned long long)api_lsn(&m, o.lsn));
	epoch_enter(&t->epoch);
	write_stored(&r->out, s, &m, &o);
	epoch_leave(&t->epoch);
	buf_puts(&r->out, ",\"auto_links\":[],\"links\":{},\"system_message\":");
	buf_json_text(&r->out, o.op.created ? "stored" : "the id was known: its newest version is shown");
	buf_putc(&r->out, '}');
	reply_header(r, "ETag", "\"%llu\"", (unsigned long long)o.op.version);
	return reply_json(r, o.op.created ? 201 : 200);
}

static const char *const no_names[] = { NULL };        /* a route without query parameters */

static enum err remember_prepare(struct request *r, struct mind *m, struct remember_space *sp,
                                 struct draft *d, unsigned *flags, struct fault *f)
{
	struct remember_state *s = arena_array(&r->arena, 1, sizeof *s);
	struct api_conditions c;
	struct memory_body body;
	struct remember in;
	struct text named, id;
	enum err e;

	if (!s)
		return err_set(f, EG_E_OVERLOADED, NULL, NULL, "the request needs more memory than one may have");
	if ((e = request_query_check(r, no_names, f)) ||
	    (e = fields_parse(r->body, r->body_bytes, &memory_fields, &body, &r->arena, f)))
		return e;
	named = (struct text){ body.space.text, body.space.len };
	if ((e = request_space(r, named.at ? &named : NULL, &id, f)) || (e = api_conditions(r, &c, f)) ||
	    (e = memory_take(&body, &r->arena, true, &in, f)) || (e = remember_space(m, str_of(id), sp, f)) ||
	    (e = remember_check(m, sp, &in, f)))
		return e;
	in.expect_version = c.expect_version;
	*flags = c.durable ? EG_SUBMIT_DURABLE : 0;
	e = remember_draft(m, &r->arena, sp, &in, d, f);
	*s = (struct remember_state){
		.space = sp->id, .id = { d->id, d->head.id_bytes }, .reasoning = in.text.reasoning,
		.observed_us = d->head.observed_us, .confidence = (float)in.confidence,
	};
	r->state = s;
	return e;
}

enum verdict memories_remember(struct request *r, struct worker_thread *t)
{
	struct mind m = api_mind(r, t);
	struct remember_space sp;
	struct draft d;
	struct fault f;
	unsigned flags = 0;

	if (remember_prepare(r, &m, &sp, &d, &flags, &f) || api_push(r, &m, &d, 1, flags, &f))
		return reply_fault(r, &f, NULL);
	r->finish = remember_finish;
	r->finish_pool = POOL_INLINE;
	return WAITING;
}

/* ---- GET /api/v1/memories/{id} */

struct get_query { uint64_t given; bool include_embeddings; };
static const struct field get_rows[] = {
	{ "include_embeddings", FIELD_BOOL, offsetof(struct get_query, include_embeddings), .flags = 0 },
};
static const struct fields get_fields = FIELDS(get_rows, struct get_query, NULL);

static enum err get_write(struct request *r, const struct mind *m, const struct get_query *q, struct fault *f)
{
	const struct space *sp;
	struct engram e;
	enum err err;
	unsigned flags = q->include_embeddings ? MEMORY_EMBEDDING
	               : field_given(q, &get_fields, "include_embeddings") ? 0 : MEMORY_OWN_EMBEDDING;

	if ((err = api_space(r, m, NULL, &sp, f)) || (err = browse_memory(m, sp, str_of(r->path_param[0]), &e, f)))
		return err;
	buf_putc(&r->out, '{');
	err = memory_write(&r->out, &r->arena, m, sp, &e, flags, f);
	buf_puts(&r->out, ",\"memory_space_id\":");
	buf_json_text(&r->out, sp->id);
	buf_putc(&r->out, '}');
	reply_header(r, "ETag", "\"%llu\"", (unsigned long long)e.body->record.version);
	desk_access_note(m->desks, e.number, e.generation, EG_ACCESS_READ, (uint64_t)(m->now_us / 1000));
	return err;
}

enum verdict memories_get(struct request *r, struct worker_thread *t)
{
	struct mind m = api_mind(r, t);
	struct get_query q;
	struct fault f;
	enum err e = api_query(r, &get_fields, &q, &f);

	if (!e) {
		epoch_enter(&t->epoch);
		e = get_write(r, &m, &q, &f);
		epoch_leave(&t->epoch);
	}
	return e ? reply_fault(r, &f, NULL) : reply_json(r, 200);
}

/* ---- DELETE /api/v1/memories/{id} */

static enum verdict delete_finish(struct request *r, struct worker_thread *t)
{
	struct api_outcome o;
	struct fault f;

	(void)t;
	if (api_outcome(&r->ticket[0], 0, &o, &f))
		return reply_fault(r, &f, NULL);
	buf_puts(&r->out, "{\"memory_id\":");
	memory_str(&r->out, str_of(r->path_param[0]));
	buf_printf(&r->out, ",\"deleted\":true,\"durable\":%s,\"lsn\":%llu}", o.durable ? "true" : "false",
	           (unsigned long long)o.lsn);
	return reply_json(r, 200);
}

enum verdict memories_delete(struct request *r, struct worker_thread *t)
{
	struct mind m = api_mind(r, t);
	struct api_conditions c;
	const struct space *sp;
	struct str id = str_of(r->path_param[0]);
	struct draft d;
	struct fault f;

	if (request_query_check(r, no_names, &f) || api_conditions(r, &c, &f) || api_space(r, &m, NULL, &sp, &f))
		return reply_fault(r, &f, NULL);
	if (id.len > EG_ID_MAX)
		return reply_error(r, EG_E_NOT_FOUND, "id", NULL, "there is no such memory: ids have at most %d bytes", EG_ID_MAX);
	forget_memory((struct str){ sp->id, strlen(sp->id) }, id, &d);
	d.expect_version = c.expect_version;
	if (api_push(r, &m, &d, 1, c.durable ? EG_SUBMIT_DURABLE : 0, &f))
		return reply_fault(r, &f, NULL);
	r->finish = delete_finish;
	r->finish_pool = POOL_INLINE;
	return WAITING;
}

/* ---- GET /api/v1/memories */

static const char *const tier_names[] = { "hot", "warm", "cold", "all", NULL };    /* by enum tier, then all */

struct list_query { uint64_t given; int tier; int64_t offset, limit; bool include_embeddings; };
static const struct list_query list_defaults = { .tier = EG_TIER_HOT, .limit = 100 };
static const struct field list_rows[] = {
	{ "tier", FIELD_ENUM, offsetof(struct list_query, tier), .names = tier_names },
	{ "offset", FIELD_INT, offsetof(struct list_query, offset), .min = 0, .max = 1e12 },
	{ "limit", FIELD_INT, offsetof(struct list_query, limit), .min = 1, .max = EG_RESULTS_MAX },
	{ "include_embeddings", FIELD_BOOL, offsetof(struct list_query, include_embeddings), .flags = 0 },
};
static const struct fields list_fields = FIELDS(list_rows, struct list_query, &list_defaults);

static enum err list_write(struct request *r, const struct mind *m, const struct list_query *q, struct fault *f)
{
	struct buf *out = &r->out;
	const struct space *sp;
	struct browse_page page;
	enum err e;

	if ((e = api_space(r, m, NULL, &sp, f)) ||
	    (e = browse_list(m, &r->arena, sp, (unsigned)q->tier, (uint64_t)q->offset, (unsigned)q->limit, &page, f)))
		return e;
	buf_puts(out, "{\"memories\":[");
	for (unsigned i = 0; i < page.n && !e; i++) {
		buf_puts(out, i ? ",{" : "{");
		e = memory_write(out, &r->arena, m, sp, &page.rows[i], q->include_embeddings ? MEMORY_EMBEDDING : 0, f);
		buf_putc(out, '}');
	}
	buf_printf(out, "],\"count\":%u,\"pagination\":{\"offset\":%lld,\"limit\":%lld,\"returned\":%u}", page.n,
	           (long long)q->offset, (long long)q->limit, page.n);
	buf_printf(out, ",\"tier_counts\":{\"hot\":%llu,\"warm\":%llu,\"cold\":%llu,\"total\":%llu}}",
	           (unsigned long long)page.counts.tiers[EG_TIER_HOT], (unsigned long long)page.counts.tiers[EG_TIER_WARM],
	           (unsigned long long)page.counts.tiers[EG_TIER_COLD], (unsigned long long)page.counts.total);
	return e;
}

enum verdict memories_list(struct request *r, struct worker_thread *t)
{
	struct mind m = api_mind(r, t);
	struct list_query q;
	struct fault f;
	enum err e = api_query(r, &list_fields, &q, &f);

	if (!e) {
		epoch_enter(&t->epoch);
		e = list_write(r, &m, &q, &f);
		epoch_leave(&t->epoch);
	}
	return e ? reply_fault(r, &f, NULL) : reply_json(r, 200);
}
