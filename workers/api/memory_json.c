/* Memories as JSON, see memory_json.h. */
#include "workers/api/memory_json.h"

#include <math.h>
#include <string.h>

#include "common/clock.h"
#include "common/fault.h"
#include "shm/body.h"
#include "shm/node.h"
#include "workers/mind/browse.h"

/* ---- in */

const char *const memory_type_names[] = { "semantic", "episodic", "procedural", NULL };

static const struct memory_body memory_defaults = { .confidence = EG_CONFIDENCE, .link_threshold = 0.7 };

#define AT(field) offsetof(struct memory_body, field)
static const struct field memory_rows[] = {
	{ "id", FIELD_STRING, AT(id), .flags = 0 },
	{ "content", FIELD_STRING, AT(content), .flags = FIELD_REQUIRED },
	{ "embedding", FIELD_VECTOR, AT(embedding), .flags = FIELD_NULLABLE },
	{ "confidence", FIELD_DOUBLE, AT(confidence), .min = 0, .max = 1 },
	{ "confidence_reasoning", FIELD_STRING, AT(reasoning), .flags = FIELD_NULLABLE },
	{ "tags", FIELD_STRINGS, AT(tags), .max = EG_TAGS_MAX },
	{ "memory_type", FIELD_ENUM, AT(memory_type), .names = memory_type_names },
	{ "timestamp", FIELD_TIME, AT(timestamp), .flags = FIELD_NULLABLE },
	{ "session", FIELD_STRING, AT(session), .flags = FIELD_NULLABLE },
	{ "metadata", FIELD_PAIRS, AT(metadata), .max = EG_META_KEYS_MAX },
	{ "auto_link", FIELD_BOOL, AT(auto_link), .flags = 0 },
	{ "link_threshold", FIELD_DOUBLE, AT(link_threshold), .min = 0, .max = 1 },
	{ "expires_at", FIELD_TIME, AT(expires_at), .flags = FIELD_NULLABLE },
	{ "pinned", FIELD_BOOL, AT(pinned), .flags = 0 },
	{ "memory_space_id", FIELD_STRING, AT(space), .flags = 0 },
};
#undef AT
const struct fields memory_fields = FIELDS(memory_rows, struct memory_body, &memory_defaults);

static enum err no_memory(struct fault *f)
{
	return err_set(f, EG_E_OVERLOADED, NULL, NULL, "the request needs more memory than one may have");
}

struct meta *memory_meta(const struct field_pairs *p, struct arena *a)
{
	struct meta *m = arena_array(a, p->n, sizeof *m);

	for (size_t i = 0; m && i < p->n; i++) {
		const struct field_pair *in = &p->item[i];

		m[i].key = str_of_field(in->name);
		switch (in->kind) {
		case JSON_STRING:
			m[i].kind = EG_META_TEXT;
			m[i].text = str_of_field(in->text);
			break;
		case JSON_INT:
			m[i].kind = EG_META_INT;
			m[i].integer = in->integer;
			break;
		case JSON_DOUBLE:
			m[i].kind = EG_META_NUMBER;
			m[i].number = in->number;
			break;
		default:
			m[i].kind = EG_META_FLAG;
			m[i].flag = in->kind == JSON_TRUE;
		}
	}
	return m;
}

enum err memory_take(const struct memory_body *in, struct arena *a, bool auto_link,
                     struct remember *out, struct fault *f)
{
	struct packed *t = &out->text;

	if (field_given(in, &memory_fields, "link_threshold"))
		return err_set(f, EG_E_LATER, "link_threshold", NULL,
		               "link_threshold is not supported yet: no links are made");
	memset(out, 0, sizeof *out);
	out->id = str_of_field(in->id);
	t->content = str_of_field(in->content);
	t->session = str_of_field(in->session);
	t->reasoning = str_of_field(in->reasoning);
	t->n_tags = (unsigned)in->tags.n;
	t->tags = arena_array(a, in->tags.n, sizeof *t->tags);
	t->n_metadata = (unsigned)in->metadata.n;
	t->metadata = memory_meta(&in->metadata, a);
	out->dim = (unsigned)in->embedding.n;
	if (out->dim && (out->vector = arena_alloc(a, out->dim * sizeof(float))))
		memcpy(out->vector, in->embedding.v, out->dim * sizeof(float));
	if (!t->tags || !t->metadata || (out->dim && !out->vector))
		return no_memory(f);
	for (size_t i = 0; i < in->tags.n; i++)
		t->tags[i] = str_of_field(in->tags.item[i]);
	out->type = (enum memory_type)in->memory_type;
	out->confidence = in->confidence;
	out->has_time = field_given(in, &memory_fields, "timestamp");
	out->observed_us = in->timestamp;
	out->expires_us = field_given(in, &memory_fields, "expires_at") && !in->expires_at ? 1 : in->expires_at;  /* 0 means never */
	out->pinned = in->pinned;
	out->auto_link = field_given(in, &memory_fields, "auto_link") ? in->auto_link : auto_link;
	return EG_E_OK;
}

/* ---- out */

void memory_str(struct buf *out, struct str s)
{
	if (s.at)
		buf_json_string(out, s.at, s.len);
	else
		buf_puts(out, "null");
}

void memory_time(struct buf *out, int64_t us)
{
	char text[EG_CLOCK_TEXT];

	buf_json_string(out, text, clock_format(us, text));
}

void memory_confidence(struct buf *out, struct truth t, struct str reasoning)
{
	static const char told[] = "as told by one source; the interval is that of one observation";

	buf_puts(out, "{\"value\":");
	buf_json_float(out, t.value);
	buf_puts(out, ",\"lower\":");
	buf_json_float(out, t.lower);
	buf_puts(out, ",\"upper\":");
	buf_json_float(out, t.upper);
	buf_puts(out, ",\"category\":");
	buf_json_text(out, truth_category(t.value));
	buf_puts(out, ",\"reasoning\":");
	memory_str(out, reasoning.len ? reasoning : (struct str){ told, sizeof told - 1 });
	buf_putc(out, '}');
}

static void write_tags(struct buf *out, const struct packed *p)
{
	buf_puts(out, ",\"tags\":[");
	for (unsigned i = 0; i < p->n_tags; i++) {
		if (i)
			buf_putc(out, ',');
		memory_str(out, p->tags[i]);
	}
	buf_putc(out, ']');
}

static void write_metadata(struct buf *out, const struct packed *p)
{
	buf_puts(out, ",\"metadata\":{");
	for (unsigned i = 0; i < p->n_metadata; i++) {
		const struct meta *m = &p->metadata[i];

		if (i)
			buf_putc(out, ',');
		memory_str(out, m->key);
		buf_putc(out, ':');
		switch (m->kind) {
		case EG_META_TEXT: memory_str(out, m->text); break;
		case EG_META_INT: buf_json_int(out, m->integer); break;
		case EG_META_NUMBER: buf_json_double(out, m->number); break;
		case EG_META_FLAG: buf_json_bool(out, m->flag); break;
		}
	}
	buf_putc(out, '}');
}

static void write_times(struct buf *out, const struct engram *e)
{
	const struct record *r = &e->body->record;
	uint64_t last_ms = atomic_load_explicit(&e->slot->last_access_ms, memory_order_relaxed);

	buf_puts(out, ",\"timestamp\":");
	memory_time(out, r->observed_us);
	buf_puts(out, ",\"observed_at\":");
	memory_time(out, r->observed_us);
	buf_puts(out, ",\"stored_at\":");
	memory_time(out, r->stored_us);
	buf_puts(out, ",\"last_access\":");
	if (last_ms)
		memory_time(out, (int64_t)last_ms * 1000);
	else
		buf_puts(out, "null");
	if (r->expires_us) {
		buf_puts(out, ",\"expires_at\":");
		memory_time(out, r->expires_us);
	}
}

static void write_embedding(struct buf *out, const struct mind *m, const struct space *sp,
                            const struct engram *e, unsigned flags)
{
	const struct record *r = &e->body->record;
	bool derived = r->flags & EG_RECORD_DERIVED;
	const float *v;

	/* what the embedder made before the space became the client's is out of use */
	if (!(flags & MEMORY_EMBEDDING) && (!(flags & MEMORY_OWN_EMBEDDING) || derived))
		return;
	v = derived && space_source(sp) == EG_SOURCE_CLIENT ? NULL : node_vector(m->store, e->body);
	buf_puts(out, ",\"embedding\":");
	if (!v) {
		buf_puts(out, "null");
		return;
	}
	for (unsigned i = 0; i < r->dim; i++) {
		buf_putc(out, i ? ',' : '[');
		buf_json_float(out, v[i]);
	}
	buf_puts(out, "],\"embedding_source\":");
	buf_json_text(out, derived ? "builtin" : "client");
	buf_puts(out, ",\"embedding_precision\":\"f32\"");
}

enum err memory_write(struct buf *out, struct arena *a, const struct mind *m, const struct space *sp,
                      const struct engram *e, unsigned flags, struct fault *f)
{
	const struct record *r = &e->body->record;
	uint64_t truth = atomic_load_explicit(&e->slot->truth, memory_order_relaxed);
	struct packed p;
	enum err err = packed_read(a, e->body, &p, f);

	if (err)
		return err;
	buf_puts(out, "\"id\":");
	buf_json_string(out, body_id(e->body), r->id_bytes);
	buf_puts(out, ",\"content\":");
	memory_str(out, p.content);
	buf_puts(out, ",\"confidence\":");
	memory_confidence(out, truth_of(truth, r->confidence), p.reasoning);
	write_tags(out, &p);
	buf_puts(out, ",\"memory_type\":");
	buf_json_text(out, memory_type_names[r->memory_type]);
	buf_puts(out, ",\"session\":");
	memory_str(out, p.session.len ? p.session : (struct str){ NULL, 0 });
	write_metadata(out, &p);
	write_times(out, e);
	buf_puts(out, ",\"tier\":");
	buf_json_text(out, browse_tier_name(browse_tier(e)));
	buf_puts(out, ",\"version\":");
	buf_json_uint(out, r->version);
	buf_puts(out, ",\"pinned\":");
	buf_json_bool(out, r->flags & EG_RECORD_PINNED);
	write_embedding(out, m, sp, e, flags);
	return EG_E_OK;
}

/* ---- what handlers share */

struct mind api_mind(const struct request *r, struct worker_thread *t)
{
	return (struct mind){
		.store = t->store, .desks = t->desks, .epoch = &t->epoch, .words = t->words, .embed = t->embed,
		.submit = t->lane, .scratch = t->scratch, .config = r->config, .now_us = clock_real_us(),
	};
}

enum err api_space(const struct request *r, const struct mind *m, const struct field_text *body,
                   const struct space **sp, struct fault *f)
{
	struct text given = { NULL, 0 }, id;
	enum err e;

	if (body)
		given = (struct text){ body->text, body->len };
	e = request_space(r, given.at ? &given : NULL, &id, f);
	return e ? e : browse_space(m, str_of(id), sp, f);
}

/* If-Match: a version, bare or in quotes. */
static enum err if_match(struct text t, uint64_t *version, struct fault *f)
{
	uint64_t v = 0;
	size_t n = t.len, at = 0;

	if (n >= 2 && t.at[0] == '"' && t.at[n - 1] == '"') {
		at = 1;
		n--;
	}
	if (at == n || n - at > 18)
		return err_set(f, EG_E_REQUEST, "If-Match", NULL, "If-Match must be the version of a memory, such as \"3\"");
	for (; at < n; at++) {
		if (t.at[at] < '0' || t.at[at] > '9')
			return err_set(f, EG_E_REQUEST, "If-Match", NULL,
			               "If-Match must be the version of a memory, such as \"3\"");
		v = v * 10 + (uint64_t)(t.at[at] - '0');
	}
	if (v == 0)
		return err_set(f, EG_E_REQUEST, "If-Match", NULL, "If-Match 0: versions begin with 1");
	*version = v;
	return EG_E_OK;
}

enum err api_conditions(const struct request *r, struct api_conditions *c, struct fault *f)
{
	enum err e;

	memset(c, 0, sizeof *c);
	e = request_durable(r, &c->durable, f);
	if (e)
		return e;
	if (r->header[HEADER_IDEMPOTENCY].at)
		return err_set(f, EG_E_LATER, "Idempotency-Key", NULL,
		               "Idempotency-Key is not supported yet; give memories an id instead");
	if (r->header[HEADER_IF_MATCH].at)
		return if_match(r->header[HEADER_IF_MATCH], &c->expect_version, f);
	return EG_E_OK;
}

enum err api_query(const struct request *r, const struct fields *t, void *out, struct fault *f)
{
	struct field_path top = { "", 0 };
	struct arena *a = (struct arena *)(uintptr_t)&r->arena;

	fields_start(t, out);
	for (unsigned i = 0; i < r->n_query; i++) {
		const struct param *p = &r->query[i];
		enum err e;

		if (p->name.len == 5 && memcmp(p->name.at, "space", 5) == 0)
			continue;
		e = fields_param(t, out, p->name.at, p->name.len, p->value.at, p->value.len, a, f);
		if (e)
			return e;
	}
	return fields_complete(t, out, &top, f);
}

enum err api_push(struct request *r, const struct mind *m, const struct draft *d, unsigned n,
                  unsigned flags, struct fault *f)
{
	struct ticket t;
	enum err e;

	FAULT(WORKER_PUSH);
	e = submit_push(m->submit, d, n, flags, (unsigned)m->config->limits_lane_wait_ms, &t, f);
	FAULT(WORKER_PUSHED);
	if (e == EG_E_OK)
		request_wait(r, &t);
	return e;
}

uint64_t api_lsn(const struct mind *m, uint64_t lsn)
{
	return lsn ? lsn : atomic_load_explicit(&desk_wal(m->desks)->lsn, memory_order_acquire);
}

enum err api_refused(const struct outcome *o, struct fault *f)
{
	switch (o->err) {
	case EG_E_DIMENSION:
		return err_set(f, o->err, "embedding", NULL, "embedding has another length than this space's vectors: %u",
		               o->detail);
	case EG_E_PRECONDITION:
		return err_set(f, o->err, "If-Match", NULL, "the memory has another version than If-Match demands");
	case EG_E_NO_SPACE:
		return err_set(f, o->err, "space", NULL,
		               "there is no such memory space; one that was deleted is made again by POST /api/v1/spaces only");
	default:
		return err_set(f, o->err, NULL, NULL, "%s", err_text(o->err));
	}
}

enum err api_outcome(const struct ticket *t, unsigned i, struct api_outcome *out, struct fault *f)
{
	enum err e;
	bool done = submit_poll(t, &e, &out->lsn, &out->durable);

	EG_ASSERT(done);
	if (e)
		return err_set(f, e, NULL, NULL, "%s", err_text(e));
	out->op = submit_outcome(t, i);
	return out->op.err ? api_refused(&out->op, f) : EG_E_OK;
}
