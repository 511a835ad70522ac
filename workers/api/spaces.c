/* Memory spaces over HTTP: create, list, numbers, delete. */
#include "workers/api/spaces.h"

#include <string.h>

#include "workers/api/memory_json.h"
#include "workers/mind/browse.h"
#include "workers/mind/forget.h"

static const char *const profile_names[] = { "facts", "dialogue", NULL };
static const char *const source_names[] = { "none", "client", "builtin" };     /* by enum vector_source */

/* ---- writing */

static void write_weight(struct buf *out, const char *name, float own, double server)
{
	buf_printf(out, ",\"%s\":", name);
	buf_json_float(out, own >= 0 ? own : (float)server);
}

/* The settings and counters of a space, without braces. */
static void write_space(struct buf *out, const struct space *sp, const struct config *config)
{
	struct space_settings set = space_settings(sp);
	unsigned profile = set.profile == EG_PROFILE_DEFAULT ? (unsigned)config->recall_profile
	                 : set.profile == EG_PROFILE_FACTS ? 0 : 1;

	buf_puts(out, "\"id\":");
	buf_json_text(out, sp->id);
	buf_puts(out, ",\"created_at\":");
	memory_time(out, sp->created_us);
	buf_printf(out, ",\"memories\":%llu,\"dimension\":",
	           (unsigned long long)atomic_load_explicit(&sp->memories, memory_order_relaxed));
	if (space_dimension(sp))
		buf_json_uint(out, space_dimension(sp));
	else
		buf_puts(out, "null");
	buf_puts(out, ",\"vector_source\":");
	buf_json_text(out, source_names[space_source(sp)]);
	buf_puts(out, ",\"profile\":");
	buf_json_text(out, profile_names[profile]);
	buf_puts(out, ",\"forgetting\":");
	buf_json_bool(out, set.forgetting);
	write_weight(out, "lexical_weight", set.lexical_weight, config->recall_lexical_weight);
	write_weight(out, "vector_weight", set.vector_weight, config->recall_vector_weight);
	buf_printf(out, ",\"quota\":{\"memories\":%llu,\"bytes\":%llu}",
	           (unsigned long long)atomic_load_explicit(&sp->quota_memories, memory_order_relaxed),
	           (unsigned long long)atomic_load_explicit(&sp->quota_bytes, memory_order_relaxed));
}

/* ---- POST /api/v1/spaces */

struct space_quota { uint64_t given; int64_t memories, bytes; };
struct space_body {
	uint64_t given;
	struct field_text id;
	int64_t dimension;
	int profile;
	bool forgetting;
	double lexical_weight, vector_weight;
	struct space_quota quota;
};
static const struct field quota_rows[] = {
	{ "memories", FIELD_INT, offsetof(struct space_quota, memories), .min = 1, .max = 1e15 },
	{ "bytes", FIELD_INT, offsetof(struct space_quota, bytes), .min = 1, .max = 1e18 },
};
static const struct fields quota_fields = FIELDS(quota_rows, struct space_quota, NULL);
static const struct space_body space_defaults = { .forgetting = true, .lexical_weight = -1, .vector_weight = -1 };
#define AT(field) offsetof(struct space_body, field)
static const struct field space_rows[] = {
	{ "id", FIELD_STRING, AT(id), .flags = FIELD_REQUIRED },
	{ "dimension", FIELD_INT, AT(dimension), .min = 1, .max = EG_DIM_MAX },
	{ "profile", FIELD_ENUM, AT(profile), .names = profile_names },
	{ "forgetting", FIELD_BOOL, AT(forgetting), .flags = 0 },
	{ "lexical_weight", FIELD_DOUBLE, AT(lexical_weight), .min = 0, .max = 1 },
	{ "vector_weight", FIELD_DOUBLE, AT(vector_weight), .min = 0, .max = 1 },
	{ "quota", FIELD_OBJECT, AT(quota), .inner = &quota_fields },
};
#undef AT
static const struct fields space_fields = FIELDS(space_rows, struct space_body, &space_defaults);

static enum err valid_id(struct str id, struct fault *f)
{
	if (space_valid_id(id.at, id.len))
		return EG_E_OK;
	return err_set(f, EG_E_INPUT, "id", "1..63", "a memory space's id has 1 to 63 characters of a-z, 0-9, - and _, "
	               "and begins with a letter or a digit");
}

static enum err take_settings(const struct space_body *in, struct browse_settings *out, struct fault *f)
{
	float lexical = (float)in->lexical_weight, vector = (float)in->vector_weight;

	*out = (struct browse_settings){
		.id = str_of_field(in->id), .dimension = (unsigned)in->dimension,
		.quota_memories = (uint64_t)in->quota.memories, .quota_bytes = (uint64_t)in->quota.bytes,
		.set = { EG_PROFILE_DEFAULT, in->forgetting, lexical, vector },
	};
	if (field_given(in, &space_fields, "profile"))
		out->set.profile = in->profile ? EG_PROFILE_DIALOGUE : EG_PROFILE_FACTS;
	if (lexical == 0 && vector == 0)
		return err_set(f, EG_E_INPUT, "vector_weight", NULL, "lexical_weight and vector_weight cannot both be 0");
	return valid_id(out->id, f);
}

static enum verdict create_finish(struct request *r, struct worker_thread *t)
{
	const struct browse_settings *in = r->state;
	struct mind m = api_mind(r, t);
	const struct space *sp;
	struct api_outcome o;
	struct fault f;

	if (api_outcome(&r->ticket[0], 0, &o, &f))
		return reply_fault(r, &f, NULL);
	sp = space_find(t->store, in->id.at, in->id.len);
	if (!sp)
		return reply_error(r, EG_E_NO_SPACE, "id", NULL, "the space was made and has been deleted since");
	buf_putc(&r->out, '{');
	write_space(&r->out, sp, r->config);
	buf_printf(&r->out, ",\"created\":%s,\"durable\":%s,\"lsn\":%llu}", o.op.created ? "true" : "false",
	           o.durable ? "true" : "false", (unsigned long long)api_lsn(&m, o.lsn));
	return reply_json(r, o.op.created ? 201 : 200);
}

static enum err conditions(const struct request *r, struct api_conditions *c, struct fault *f)
{
	enum err e = api_conditions(r, c, f);

	if (e == EG_E_OK && c->expect_version)
		return err_set(f, EG_E_REQUEST, "If-Match", NULL, "If-Match does not go with spaces");
	return e;
}

static enum err create_prepare(struct request *r, const struct mind *m, struct browse_settings *in,
                               struct draft *d, unsigned *flags, struct fault *f)
{
	static const char *const no_names[] = { NULL };
	uint64_t spaces = atomic_load_explicit(&m->store->root->counts.spaces, memory_order_relaxed);
	struct api_conditions c;
	struct space_body body;
	enum err e;

	if ((e = request_query_check(r, no_names, f)) || (e = conditions(r, &c, f)) ||
	    (e = fields_parse(r->body, r->body_bytes, &space_fields, &body, &r->arena, f)) ||
	    (e = take_settings(&body, in, f)))
		return e;
	if (spaces >= (uint64_t)m->config->limits_spaces && !space_find(m->store, in->id.at, in->id.len))
		return err_set(f, EG_E_QUOTA, "limits.spaces", NULL, "there are %llu memory spaces already",
		               (unsigned long long)spaces);
	*flags = c.durable ? EG_SUBMIT_DURABLE : 0;
	return browse_make_space(&r->arena, in, d, f);
}

enum verdict spaces_create(struct request *r, struct worker_thread *t)
{
	struct browse_settings *in = arena_array(&r->arena, 1, sizeof *in);
	struct mind m = api_mind(r, t);
	struct draft d;
	struct fault f;
	unsigned flags = 0;

	if (!in)
		return reply_error(r, EG_E_OVERLOADED, NULL, NULL, "the request needs more memory than one may have");
	if (create_prepare(r, &m, in, &d, &flags, &f) || api_push(r, &m, &d, 1, flags, &f))
		return reply_fault(r, &f, NULL);
	r->state = in;
	r->finish = create_finish;
	r->finish_pool = POOL_INLINE;
	return WAITING;
}

/* ---- GET /api/v1/spaces */

struct spaces_query { uint64_t given; int64_t offset, limit; };
static const struct spaces_query spaces_defaults = { .limit = 1000 };
static const struct field spaces_rows[] = {
	{ "offset", FIELD_INT, offsetof(struct spaces_query, offset), .min = 0, .max = 1e12 },
	{ "limit", FIELD_INT, offsetof(struct spaces_query, limit), .min = 1, .max = 10000 },
};
static const struct fields spaces_fields = FIELDS(spaces_rows, struct spaces_query, &spaces_defaults);

enum verdict spaces_list(struct request *r, struct worker_thread *t)
{
	struct spaces_query q;
	struct fault f;
	int64_t seen = 0, shown = 0;

	if (api_query(r, &spaces_fields, &q, &f))
		return reply_fault(r, &f, NULL);
	buf_puts(&r->out, "{\"spaces\":[");
	for (uint32_t i = 0, n = space_count(t->store); i < n; i++) {
		const struct space *sp = space_get(t->store, i);

		if (!sp || atomic_load_explicit(&sp->state, memory_order_acquire) != EG_SPACE_LIVE)
			continue;
		if (seen++ < q.offset || shown == q.limit)
			continue;
		buf_puts(&r->out, shown++ ? ",{" : "{");
		write_space(&r->out, sp, r->config);
		buf_putc(&r->out, '}');
	}
	buf_printf(&r->out, "],\"count\":%lld,\"total\":%lld}", (long long)shown, (long long)seen);
	return reply_json(r, 200);
}

/* ---- GET /api/v1/spaces/{id}/stats, DELETE /api/v1/spaces/{id} */

/* The space of the path. One named in a header as well is validated, not used. */
static enum err path_space(const struct request *r, const struct mind *m, const struct space **sp, struct fault *f)
{
	static const char *const no_names[] = { NULL };
	struct str id = str_of(r->path_param[0]);
	struct text named;
	enum err e;

	if ((e = request_query_check(r, no_names, f)) || (e = request_space(r, NULL, &named, f)))
		return e;
	if (!space_valid_id(id.at, id.len))
		return err_set(f, EG_E_REQUEST, "space", "1..63", "the path names no valid memory space: 1 to 63 characters "
		               "of a-z, 0-9, - and _, beginning with a letter or a digit");
	return browse_space(m, id, sp, f);
}

enum verdict spaces_stats(struct request *r, struct worker_thread *t)
{
	struct mind m = api_mind(r, t);
	struct browse_counts counts;
	const struct space *sp;
	struct buf *out = &r->out;
	struct fault f;

	if (path_space(r, &m, &sp, &f))
		return reply_fault(r, &f, NULL);
	epoch_enter(&t->epoch);
	browse_count(&m, sp, &counts);
	epoch_leave(&t->epoch);
	buf_putc(out, '{');
	write_space(out, sp, r->config);
	buf_printf(out, ",\"with_vector\":%llu,\"terms\":%llu,\"bytes\":%llu",
	           (unsigned long long)atomic_load_explicit(&sp->with_vector, memory_order_relaxed),
	           (unsigned long long)atomic_load_explicit(&sp->terms, memory_order_relaxed),
	           (unsigned long long)atomic_load_explicit(&sp->raw_bytes, memory_order_relaxed));
	buf_printf(out, ",\"tier_counts\":{\"hot\":%llu,\"warm\":%llu,\"cold\":%llu,\"total\":%llu}}",
	           (unsigned long long)counts.tiers[EG_TIER_HOT], (unsigned long long)counts.tiers[EG_TIER_WARM],
	           (unsigned long long)counts.tiers[EG_TIER_COLD], (unsigned long long)counts.total);
	return reply_json(r, 200);
}

static enum verdict delete_finish(struct request *r, struct worker_thread *t)
{
	struct api_outcome o;
	struct fault f;

	(void)t;
	if (api_outcome(&r->ticket[0], 0, &o, &f))
		return reply_fault(r, &f, NULL);
	buf_puts(&r->out, "{\"id\":");
	memory_str(&r->out, str_of(r->path_param[0]));
	buf_printf(&r->out, ",\"deleted\":true,\"durable\":%s,\"lsn\":%llu}", o.durable ? "true" : "false",
	           (unsigned long long)o.lsn);
	return reply_json(r, 200);
}

enum verdict spaces_delete(struct request *r, struct worker_thread *t)
{
	struct mind m = api_mind(r, t);
	struct api_conditions c;
	const struct space *sp;
	struct draft d;
	struct fault f;

	if (path_space(r, &m, &sp, &f) || conditions(r, &c, &f))
		return reply_fault(r, &f, NULL);
	forget_space((struct str){ sp->id, strlen(sp->id) }, &d);
	if (api_push(r, &m, &d, 1, c.durable ? EG_SUBMIT_DURABLE : 0, &f))
		return reply_fault(r, &f, NULL);
	r->finish = delete_finish;
	r->finish_pool = POOL_INLINE;
	return WAITING;
}
