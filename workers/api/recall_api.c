/* Recalls over HTTP: bodies and query parameters in, results out.
 *
 * Both ways of asking fill one struct ask, so they cannot drift apart. Fields
 * whose machinery comes later are read and checked like any other and then
 * refused by name; nothing is taken and ignored.
 */
#include "workers/api/recall_api.h"

#include <math.h>
#include <string.h>

#include "common/clock.h"
#include "shm/body.h"
#include "workers/api/memory_json.h"
#include "workers/mind/browse.h"

/* ---- what may be asked */

static const char *const mode_names[] = { "hybrid", "similarity", "spreading", NULL };   /* by enum recall_mode, then later ones */
static const char *const profile_names[] = { "facts", "dialogue", NULL };
static const char *const format_names[] = { "json", "text", NULL };
enum { FORMAT_JSON, FORMAT_TEXT };

struct ask_cue { uint64_t given; struct field_text query; struct field_vector embedding; double weight; };
struct ask_budget { uint64_t given; int64_t time_ms, visits; };
struct ask_filter {
	uint64_t given;
	struct field_texts tags_all, tags_any, tags_none, types;
	struct field_text session;
	int64_t from_time, to_time;
	double min_confidence;
	struct field_pairs metadata;
};
struct ask {
	uint64_t given;
	struct field_text query, session, space;
	struct field_vector embedding;
	struct field_objects cues;
	int64_t max_results, max_tokens, as_of;
	double threshold;
	int mode, profile, format;
	struct ask_filter filter;
	struct ask_budget budget;
	bool explain, include_embeddings;
};
#define DEFAULTS .max_results = 10, .max_tokens = 1024

static const struct ask_cue cue_defaults = { .weight = 1 };
static const struct field cue_rows[] = {
	{ "query", FIELD_STRING, offsetof(struct ask_cue, query), FIELD_NOT_BLANK, .min = 1, .max = EG_CONTENT_MAX },
	{ "embedding", FIELD_VECTOR, offsetof(struct ask_cue, embedding), .flags = 0 },
	{ "weight", FIELD_DOUBLE, offsetof(struct ask_cue, weight), .min = 1e-6, .max = 1e6 },
};
static const struct fields cue_fields = FIELDS(cue_rows, struct ask_cue, &cue_defaults);

static const struct field budget_rows[] = {
	{ "time_ms", FIELD_INT, offsetof(struct ask_budget, time_ms), .min = 1, .max = 3600000 },
	{ "visits", FIELD_INT, offsetof(struct ask_budget, visits), .min = 1, .max = 1e12 },
};
static const struct fields budget_fields = FIELDS(budget_rows, struct ask_budget, NULL);

#define AT(field) offsetof(struct ask_filter, field)
static const struct field filter_rows[] = {
	{ "tags_all", FIELD_STRINGS, AT(tags_all), .max = EG_TAGS_MAX, .item_max = EG_TAG_MAX },
	{ "tags_any", FIELD_STRINGS, AT(tags_any), .max = EG_TAGS_MAX, .item_max = EG_TAG_MAX },
	{ "tags_none", FIELD_STRINGS, AT(tags_none), .max = EG_TAGS_MAX, .item_max = EG_TAG_MAX },
	{ "types", FIELD_STRINGS, AT(types), .max = 16 },
	{ "session", FIELD_STRING, AT(session), .min = 1, .max = EG_SESSION_MAX },
	{ "from_time", FIELD_TIME, AT(from_time), .flags = 0 },
	{ "to_time", FIELD_TIME, AT(to_time), .flags = 0 },
	{ "min_confidence", FIELD_DOUBLE, AT(min_confidence), .min = 0, .max = 1 },
	{ "metadata", FIELD_PAIRS, AT(metadata), .max = 64 },
};
#undef AT
static const struct fields filter_fields = FIELDS(filter_rows, struct ask_filter, NULL);

static const struct ask ask_defaults = { DEFAULTS };
#define AT(field) offsetof(struct ask, field)
static const struct field ask_rows[] = {
	{ "query", FIELD_STRING, AT(query), FIELD_NOT_BLANK, .min = 1, .max = EG_CONTENT_MAX },
	{ "embedding", FIELD_VECTOR, AT(embedding), .flags = 0 },
	{ "cues", FIELD_OBJECTS, AT(cues), .min = 1, .max = EG_CUES_MAX, .inner = &cue_fields },
	{ "max_results", FIELD_INT, AT(max_results), .min = 1, .max = EG_RESULTS_MAX },
	{ "threshold", FIELD_DOUBLE, AT(threshold), .min = 0, .max = 1 },
	{ "mode", FIELD_ENUM, AT(mode), .names = mode_names },
	{ "profile", FIELD_ENUM, AT(profile), .names = profile_names },
	{ "filter", FIELD_OBJECT, AT(filter), .inner = &filter_fields },
	{ "as_of", FIELD_TIME, AT(as_of), .flags = 0 },
	{ "session", FIELD_STRING, AT(session), .min = 1, .max = EG_SESSION_MAX },
	{ "budget", FIELD_OBJECT, AT(budget), .inner = &budget_fields },
	{ "explain", FIELD_BOOL, AT(explain), .flags = 0 },
	{ "include_embeddings", FIELD_BOOL, AT(include_embeddings), .flags = 0 },
	{ "format", FIELD_ENUM, AT(format), .names = format_names },
	{ "max_tokens", FIELD_INT, AT(max_tokens), .min = 1, .max = 1000000 },
	{ "memory_space_id", FIELD_STRING, AT(space), .flags = 0 },
};
#undef AT
static const struct fields ask_fields = FIELDS(ask_rows, struct ask, &ask_defaults);

/* The same flat, as query parameters; lists are separated by commas. The names of
 * an earlier Engram (required_tags, excluded_tags, trace_activation,
 * include_metadata) are kept. */
struct ask_query {
	struct ask ask;
	struct field_text tags_all, tags_any, tags_none, required_tags, excluded_tags, types;
	bool trace_activation, include_metadata;
};
static const struct ask_query query_defaults = { .ask = { DEFAULTS }, .include_metadata = true };
#define AT(field) offsetof(struct ask_query, field)
static const struct field query_rows[] = {
	{ "query", FIELD_STRING, AT(ask.query), FIELD_NOT_BLANK, .min = 1, .max = EG_CONTENT_MAX },
	{ "embedding", FIELD_VECTOR, AT(ask.embedding), .flags = 0 },
	{ "max_results", FIELD_INT, AT(ask.max_results), .min = 1, .max = EG_RESULTS_MAX },
	{ "threshold", FIELD_DOUBLE, AT(ask.threshold), .min = 0, .max = 1 },
	{ "mode", FIELD_ENUM, AT(ask.mode), .names = mode_names },
	{ "profile", FIELD_ENUM, AT(ask.profile), .names = profile_names },
	{ "tags_all", FIELD_STRING, AT(tags_all), .flags = 0 },
	{ "tags_any", FIELD_STRING, AT(tags_any), .flags = 0 },
	{ "tags_none", FIELD_STRING, AT(tags_none), .flags = 0 },
	{ "required_tags", FIELD_STRING, AT(required_tags), .flags = 0 },
	{ "excluded_tags", FIELD_STRING, AT(excluded_tags), .flags = 0 },
	{ "types", FIELD_STRING, AT(types), .flags = 0 },
	{ "from_time", FIELD_TIME, AT(ask.filter.from_time), .flags = 0 },
	{ "to_time", FIELD_TIME, AT(ask.filter.to_time), .flags = 0 },
	{ "min_confidence", FIELD_DOUBLE, AT(ask.filter.min_confidence), .min = 0, .max = 1 },
	{ "as_of", FIELD_TIME, AT(ask.as_of), .flags = 0 },
	{ "session", FIELD_STRING, AT(ask.session), .min = 1, .max = EG_SESSION_MAX },
	{ "time_ms", FIELD_INT, AT(ask.budget.time_ms), .min = 1, .max = 3600000 },
	{ "visits", FIELD_INT, AT(ask.budget.visits), .min = 1, .max = 1e12 },
	{ "explain", FIELD_BOOL, AT(ask.explain), .flags = 0 },
	{ "trace_activation", FIELD_BOOL, AT(trace_activation), .flags = 0 },
	{ "include_embeddings", FIELD_BOOL, AT(ask.include_embeddings), .flags = 0 },
	{ "include_metadata", FIELD_BOOL, AT(include_metadata), .flags = 0 },
	{ "format", FIELD_ENUM, AT(ask.format), .names = format_names },
	{ "max_tokens", FIELD_INT, AT(ask.max_tokens), .min = 1, .max = 1000000 },
};
#undef AT
static const struct fields query_fields = FIELDS(query_rows, struct ask_query, &query_defaults);

/* ---- from what was asked to a recall */

static enum err no_memory(struct fault *f)
{
	return err_set(f, EG_E_OVERLOADED, NULL, NULL, "the request needs more memory than one may have");
}

static enum err later(const struct ask *a, const struct fields *t, struct fault *f)
{
	static const char *const names[] = { "as_of", "session" };

	if (a->mode >= EG_MODES)
		return err_set(f, EG_E_LATER, "mode", NULL, "mode %s is not supported yet; use hybrid or similarity",
		               mode_names[a->mode]);
	if (a->profile != 0 && a->mode != EG_MODE_SIMILARITY)
		return err_set(f, EG_E_LATER, "profile", NULL, "profile %s is not supported yet but in mode similarity, which no profile changes",
		               profile_names[a->profile]);
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
		if (field_given(a, t, names[i]))
			return err_set(f, EG_E_LATER, names[i], NULL, "%s is not supported yet", names[i]);
	if (field_given(a, t, "max_tokens") && a->format != FORMAT_TEXT)
		return err_set(f, EG_E_INPUT, "max_tokens", NULL, "max_tokens goes with format text only");
	return EG_E_OK;
}

static enum err take_vector(struct arena *a, const struct field_vector *in, struct cue *c, struct fault *f)
{
	if (in->n == 0)
		return EG_E_OK;
	c->dim = (unsigned)in->n;
	c->vector = arena_alloc(a, in->n * sizeof *c->vector);
	if (!c->vector)
		return no_memory(f);
	memcpy(c->vector, in->v, in->n * sizeof *c->vector);
	return EG_E_OK;
}

/* query and embedding of the top are one cue of weight 1, before `cues`. */
static enum err take_cues(struct arena *a, const struct ask *in, struct recall *out, struct fault *f)
{
	const struct ask_cue *cues = in->cues.item;
	bool top = in->query.text || in->embedding.n;
	enum err e = EG_E_OK;

	out->cues = arena_array(a, in->cues.n + 1, sizeof *out->cues);
	if (!out->cues)
		return no_memory(f);
	if (!top && in->cues.n == 0)
		return err_set(f, EG_E_INPUT, "query", NULL, "a recall needs a cue: query, embedding or cues");
	if (top) {
		out->cues[out->n_cues].query = str_of_field(in->query);
		out->cues[out->n_cues].weight = 1;
		e = take_vector(a, &in->embedding, &out->cues[out->n_cues++], f);
	}
	for (size_t i = 0; i < in->cues.n && !e; i++) {
		if (!cues[i].query.text && !cues[i].embedding.n)
			return err_set(f, EG_E_INPUT, "cues", NULL, "cues.%zu has neither query nor embedding", i);
		out->cues[out->n_cues].query = str_of_field(cues[i].query);
		out->cues[out->n_cues].weight = (float)cues[i].weight;
		e = take_vector(a, &cues[i].embedding, &out->cues[out->n_cues++], f);
	}
	return e;
}

static enum err take_texts(struct arena *a, const struct field_texts *in, struct str **out, unsigned *n,
                           struct fault *f)
{
	*out = arena_array(a, in->n, sizeof **out);
	if (!*out)
		return no_memory(f);
	for (size_t i = 0; i < in->n; i++)
		(*out)[i] = str_of_field(in->item[i]);
	*n = (unsigned)in->n;
	return EG_E_OK;
}

static enum err take_types(const struct field_texts *in, unsigned *types, struct fault *f)
{
	for (size_t i = 0; i < in->n; i++) {
		unsigned k = 0;

		while (memory_type_names[k] && (strlen(memory_type_names[k]) != in->item[i].len ||
		                                memcmp(memory_type_names[k], in->item[i].text, in->item[i].len) != 0))
			k++;
		if (!memory_type_names[k])
			return err_set(f, EG_E_INPUT, "filter.types", NULL,
			               "types must be of semantic, episodic, procedural");
		*types |= 1u << k;
	}
	return EG_E_OK;
}

static enum err take_filter(struct arena *a, const struct ask_filter *in, bool from, bool to,
                            struct filter *out, struct fault *f)
{
	enum err e;

	filter_init(out);
	if ((e = take_texts(a, &in->tags_all, &out->tags_all, &out->n_all, f)) ||
	    (e = take_texts(a, &in->tags_any, &out->tags_any, &out->n_any, f)) ||
	    (e = take_texts(a, &in->tags_none, &out->tags_none, &out->n_none, f)) ||
	    (e = take_types(&in->types, &out->types, f)))
		return e;
	out->session = str_of_field(in->session);
	if (from)
		out->from_us = in->from_time;
	if (to)
		out->to_us = in->to_time;
	if (out->from_us > out->to_us)
		return err_set(f, EG_E_INPUT, "filter.from_time", NULL, "from_time is after to_time");
	out->min_confidence = in->min_confidence;
	out->metadata = memory_meta(&in->metadata, a);
	out->n_metadata = (unsigned)in->metadata.n;
	return out->metadata ? EG_E_OK : no_memory(f);
}

static enum err take(struct request *r, const struct ask *in, const struct fields *t, bool from, bool to,
                     struct recall *out, struct fault *f)
{
	enum err e;

	memset(out, 0, sizeof *out);
	if ((e = later(in, t, f)) || (e = take_cues(&r->arena, in, out, f)) ||
	    (e = take_filter(&r->arena, &in->filter, from, to, &out->filter, f)))
		return e;
	out->mode = (enum recall_mode)in->mode;
	out->max_results = (unsigned)in->max_results;
	out->threshold = (float)in->threshold;
	out->visits = (uint64_t)in->budget.visits;
	out->deadline_ms = r->deadline_ms;
	if (in->budget.time_ms && r->begin_ns / 1000000 + in->budget.time_ms < r->deadline_ms)
		out->deadline_ms = r->begin_ns / 1000000 + in->budget.time_ms;
	return EG_E_OK;
}

/* ---- the answer */

static void write_explain(struct buf *out, const struct recall_hit *h)
{
	buf_puts(out, ",\"explain\":{\"vector\":");
	buf_json_float(out, h->vector);
	buf_puts(out, ",\"lexical\":");
	buf_json_float(out, h->lexical);
	/* terms of the score: no association, context or retrievability takes part in it yet */
	buf_puts(out, ",\"graph\":0,\"context\":0,\"retrievability\":0,\"paths\":[]}");
}

static enum err write_hit(struct buf *out, struct arena *a, const struct mind *m, const struct recall *rc,
                          const struct ask *in, const struct recall_hit *h, unsigned rank, struct fault *f)
{
	enum err e;

	buf_printf(out, "{\"rank\":%u,", rank);
	e = memory_write(out, a, m, rc->space, &h->engram, in->include_embeddings ? MEMORY_EMBEDDING : 0, f);
	buf_puts(out, ",\"class\":\"direct\",\"score\":");
	buf_json_float(out, h->score);
	buf_puts(out, ",\"match\":");
	buf_json_float(out, h->match);
	buf_puts(out, ",\"access\":");
	buf_json_float(out, h->access);
	buf_puts(out, ",\"similarity_score\":");
	if (isnan(h->cosine))
		buf_puts(out, "null");
	else
		buf_json_float(out, h->cosine);
	buf_puts(out, ",\"activation_level\":");
	buf_json_float(out, h->score);
	if (in->explain)
		write_explain(out, h);
	buf_putc(out, '}');
	return e;
}

static enum err write_hits(struct request *r, const struct mind *m, const struct recall *rc, const struct ask *in,
                           const struct recall_found *found, struct fault *f)
{
	enum err e = EG_E_OK;

	buf_putc(&r->out, '[');
	for (unsigned i = 0; i < found->n && !e; i++) {
		if (i)
			buf_putc(&r->out, ',');
		e = write_hit(&r->out, &r->arena, m, rc, in, &found->hits[i], i + 1, f);
	}
	buf_putc(&r->out, ']');
	return e;
}

/* How sure the recall as a whole is: the best match of what it found. */
static void write_confidence(struct buf *out, const struct recall_found *found)
{
	buf_puts(out, ",\"recall_confidence\":{\"value\":");
	buf_json_float(out, found->confidence);
	buf_puts(out, ",\"category\":");
	buf_json_text(out, truth_category(found->confidence));
	buf_puts(out, ",\"reasoning\":\"match of the best candidate, by a preliminary calibration\"}");
}

static void write_metadata(struct request *r, const struct recall_found *found)
{
	uint64_t tiers[EG_TIERS] = { 0 };

	for (unsigned i = 0; i < found->n; i++)
		tiers[browse_tier(&found->hits[i].engram)]++;
	buf_printf(&r->out, ",\"metadata\":{\"searched\":%llu,\"visited\":%llu,\"spread_hops\":0,\"took_ms\":",
	           (unsigned long long)found->searched, (unsigned long long)found->visited);
	buf_json_double(&r->out, round((double)(clock_mono_ns() - r->begin_ns) / 1e3) / 1e3);
	buf_printf(&r->out, ",\"truncated\":%s,\"partial\":false,\"tiers\":{\"hot\":%llu,\"warm\":%llu,\"cold\":%llu}}",
	           found->truncated ? "true" : "false", (unsigned long long)tiers[EG_TIER_HOT],
	           (unsigned long long)tiers[EG_TIER_WARM], (unsigned long long)tiers[EG_TIER_COLD]);
}

static enum err write_rest(struct request *r, const struct ask *in, const struct recall_found *found,
                           bool metadata, struct fault *f)
{
	enum err e = EG_E_OK;

	write_confidence(&r->out, found);
	if (metadata)
		write_metadata(r, found);
	if (found->reason) {
		buf_puts(&r->out, ",\"reason\":");
		buf_json_text(&r->out, found->reason);
	}
	if (in->format == FORMAT_TEXT) {
		struct buf text;

		buf_init(&text, (size_t)in->max_tokens * 4 + 1);
		e = recall_text(&r->arena, found, (unsigned)in->max_tokens, &text, f);
		buf_puts(&r->out, ",\"text\":");
		buf_json_string(&r->out, text.data ? text.data : "", text.len);
		buf_free(&text);
	}
	buf_putc(&r->out, '}');
	return e;
}

/* Runs the recall and writes the reply, in an epoch section. */
static enum err answer(struct request *r, struct mind *m, const struct ask *in, struct recall *rc,
                       bool old_shape, bool metadata, struct fault *f)
{
	struct recall_found found;
	enum err e;

	if ((e = api_space(r, m, in->space.text ? &in->space : NULL, &rc->space, f)) ||
	    (e = recall_run(m, &r->arena, rc, &found, f)))
		return e;
	buf_puts(&r->out, old_shape ? "{\"memories\":{\"vivid\":" : "{\"results\":");
	e = write_hits(r, m, rc, in, &found, f);
	if (old_shape)
		buf_puts(&r->out, ",\"associated\":[],\"reconstructed\":[]}");
	if (!e)
		e = write_rest(r, in, &found, metadata, f);
	recall_note(m, &found);
	return e;
}

enum verdict recall_post(struct request *r, struct worker_thread *t)
{
	static const char *const no_names[] = { NULL };
	struct mind m = api_mind(r, t);
	struct recall rc;
	struct ask in;
	struct fault f;
	enum err e;

	if ((e = request_query_check(r, no_names, &f)) ||
	    (e = fields_parse(r->body, r->body_bytes, &ask_fields, &in, &r->arena, &f)))
		return reply_fault(r, &f, NULL);
	e = take(r, &in, &ask_fields, field_given(&in.filter, &filter_fields, "from_time"),
	         field_given(&in.filter, &filter_fields, "to_time"), &rc, &f);
	if (e)
		return reply_fault(r, &f, NULL);
	epoch_enter(&t->epoch);
	e = answer(r, &m, &in, &rc, false, true, &f);
	epoch_leave(&t->epoch);
	return e ? reply_fault(r, &f, NULL) : reply_json(r, 200);
}

/* ---- as query parameters */

/* "a,b": empty pieces are left out. */
static enum err split(struct arena *a, struct field_text in, struct field_texts *out, const char *name,
                      struct fault *f)
{
	struct field_text *item = arena_array(a, EG_TAGS_MAX, sizeof *item);
	const char *end = in.text + in.len;

	if (!in.text)
		return EG_E_OK;
	if (!item)
		return no_memory(f);
	for (const char *at = in.text; at < end;) {
		const char *comma = memchr(at, ',', (size_t)(end - at));
		size_t n = (size_t)((comma ? comma : end) - at);

		if (n > EG_TAG_MAX)
			return err_set(f, EG_E_INPUT, name, "256", "an item of %s has more than %d bytes", name, EG_TAG_MAX);
		if (n && out->n == EG_TAGS_MAX)
			return err_set(f, EG_E_INPUT, name, "64", "%s has more than %u items", name, EG_TAGS_MAX);
		if (n)
			item[out->n++] = (struct field_text){ at, n };
		at += n + (comma != NULL);
	}
	out->item = item;
	return EG_E_OK;
}

static enum err take_query(struct request *r, struct ask_query *q, struct fault *f)
{
	const struct { struct field_text *in; const char *name, *other; struct field_text *alias; struct field_texts *out; } lists[] = {
		{ &q->tags_all, "tags_all", "required_tags", &q->required_tags, &q->ask.filter.tags_all },
		{ &q->tags_none, "tags_none", "excluded_tags", &q->excluded_tags, &q->ask.filter.tags_none },
		{ &q->tags_any, "tags_any", NULL, NULL, &q->ask.filter.tags_any },
		{ &q->types, "types", NULL, NULL, &q->ask.filter.types },
	};
	enum err e;

	if ((e = api_query(r, &query_fields, q, f)))
		return e;
	for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++) {
		bool alias = lists[i].alias && lists[i].alias->text;

		if (alias && lists[i].in->text)
			return err_set(f, EG_E_REQUEST, lists[i].other, NULL, "%s and %s are the same; give one",
			               lists[i].name, lists[i].other);
		e = split(&r->arena, alias ? *lists[i].alias : *lists[i].in, lists[i].out, lists[i].name, f);
		if (e)
			return e;
	}
	q->ask.explain |= q->trace_activation;
	return EG_E_OK;
}

enum verdict recall_get(struct request *r, struct worker_thread *t)
{
	struct mind m = api_mind(r, t);
	struct ask_query q;
	struct recall rc;
	struct fault f;
	enum err e;

	if ((e = take_query(r, &q, &f)))
		return reply_fault(r, &f, NULL);
	e = take(r, &q.ask, &query_fields, field_given(&q, &query_fields, "from_time"),
	         field_given(&q, &query_fields, "to_time"), &rc, &f);
	if (e)
		return reply_fault(r, &f, NULL);
	epoch_enter(&t->epoch);
	e = answer(r, &m, &q.ask, &rc, true, q.include_metadata, &f);
	epoch_leave(&t->epoch);
	return e ? reply_fault(r, &f, NULL) : reply_json(r, 200);
}

/* ---- GET /api/v1/memories/search */

struct search_query { uint64_t given; struct field_text query; int64_t limit; };
static const struct search_query search_defaults = { .limit = 10 };
static const struct field search_rows[] = {
	{ "query", FIELD_STRING, offsetof(struct search_query, query), FIELD_REQUIRED | FIELD_NOT_BLANK,
	  .min = 1, .max = EG_CONTENT_MAX },
	{ "limit", FIELD_INT, offsetof(struct search_query, limit), .min = 1, .max = EG_RESULTS_MAX },
};
static const struct fields search_fields = FIELDS(search_rows, struct search_query, &search_defaults);

static enum err search(struct request *r, struct mind *m, const struct search_query *q, struct fault *f)
{
	struct cue cue = { .query = str_of_field(q->query), .weight = 1 };
	struct recall rc = { .cues = &cue, .n_cues = 1, .max_results = (unsigned)q->limit,
	                     .deadline_ms = r->deadline_ms, .lexical_only = true };
	struct recall_found found;
	enum err e;

	filter_init(&rc.filter);
	if ((e = api_space(r, m, NULL, &rc.space, f)) || (e = recall_run(m, &r->arena, &rc, &found, f)))
		return e;
	buf_puts(&r->out, "{\"memories\":[");
	for (unsigned i = 0; i < found.n && !e; i++) {
		buf_puts(&r->out, i ? ",{" : "{");
		e = memory_write(&r->out, &r->arena, m, rc.space, &found.hits[i].engram, 0, f);
		buf_puts(&r->out, ",\"score\":");
		buf_json_float(&r->out, found.hits[i].score);
		buf_putc(&r->out, '}');
	}
	buf_printf(&r->out, "],\"total\":%u", found.n);
	if (found.reason) {
		buf_puts(&r->out, ",\"reason\":");
		buf_json_text(&r->out, found.reason);
	}
	buf_putc(&r->out, '}');
	recall_note(m, &found);
	return e;
}

enum verdict recall_search(struct request *r, struct worker_thread *t)
{
	struct mind m = api_mind(r, t);
	struct search_query q;
	struct fault f;
	enum err e = api_query(r, &search_fields, &q, &f);

	if (!e) {
		epoch_enter(&t->epoch);
		e = search(r, &m, &q, &f);
		epoch_leave(&t->epoch);
	}
	return e ? reply_fault(r, &f, NULL) : reply_json(r, 200);
}
