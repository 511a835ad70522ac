/* A batch: many memories in one request.
 *
 * partial (the default): each memory stands or falls by itself. Bad ones are
 * answered one by one; the others go to the lane in as many entries as they
 * need, further ones when the earlier ones have been answered. When the writer
 * fails half way, what was stored is told, and what was not, with the reason. Drafts are made
 * entry by entry in an arena of their own, since the lane copies them: so a batch
 * of 10,000 memories with vectors needs the memory of one entry.
 *
 * atomic: all or none. It is one lane entry, closed by one COMMIT; the first bad
 * memory refuses it, and one too large for an entry gets 413.
 */
#include "workers/api/batch.h"

#include <stdio.h>
#include <string.h>

#include "shm/body.h"
#include "workers/api/memory_json.h"

enum {
	ENTRY_OPS = 512,               /* memories of a lane entry of a partial batch */
	ENTRIES_MAX = 8,               /* entries under way at a time */
};

/* One memory of the batch. */
struct item {
	struct memory_body *body;      /* as read; NULL when it was bad */
	struct fault *fault;           /* why it is not stored; NULL: it is, or not known yet */
	struct str id;                 /* set when its draft is made */
	uint64_t version;
	bool created, stored;
};

struct batch {
	struct item *items;
	size_t n, next;                /* next: first that is not pushed yet */
	struct str space;
	struct remember_space target;
	bool atomic, durable;          /* durable: as asked for */
	bool all_durable;              /* as answered */
	uint64_t lsn;
	size_t stored;
	enum err failed;               /* of an entry as a whole, in a partial batch */
	/* what each ticket stands for */
	struct { struct ticket ticket; size_t first, n; uint32_t *at; } entry[ENTRIES_MAX + 1];
	unsigned n_entries;
};

/* ---- reading */

struct batch_body {
	uint64_t given;
	struct field_text space;
	struct item *items;
	size_t n;
	bool atomic;
};

static enum err no_memory(struct fault *f)
{
	return err_set(f, EG_E_OVERLOADED, NULL, NULL, "the request needs more memory than one may have");
}

static struct fault *keep_fault(struct arena *a, const struct fault *f)
{
	struct fault *kept = arena_alloc(a, sizeof *kept);

	if (kept)
		*kept = *f;
	return kept;
}

static struct item *more_items(struct arena *a, struct item *old, size_t n)
{
	size_t cap = n ? 2 * n : 16;
	struct item *new;

	if (n && (n < 16 || (n & (n - 1))))
		return old;
	new = arena_array(a, cap, sizeof *new);
	if (new && n)
		memcpy(new, old, n * sizeof *new);
	return new;
}

/* One memory; what is wrong with it alone is kept, so that the others go on. */
static enum err read_item(struct json *p, struct item *item, struct field_path *path, struct fault *f)
{
	unsigned depth = p->depth;
	enum err e;

	item->body = arena_alloc(p->arena, sizeof *item->body);
	if (!item->body)
		return no_memory(f);
	e = fields_read(p, &memory_fields, item->body, path, f);
	if (e == EG_E_OK)
		return e;
	if (json_broken(p))
		return e;
	item->body = NULL;
	item->fault = keep_fault(p->arena, f);
	if (!item->fault)
		return no_memory(f);
	if (p->depth > depth && !json_leave(p, depth)) {
		*f = p->fault;
		return f->err;
	}
	return EG_E_OK;
}

static enum err read_memories(struct json *p, const struct field *row, void *target,
                              struct field_path *path, struct fault *f)
{
	struct batch_body *b = target;

	(void)row;
	if (json_next(p) != JSON_ARRAY) {
		if (!json_broken(p))
			return field_fault(f, EG_E_INPUT, path, "1..10000", "must be an array of objects");
		*f = p->fault;
		return f->err;
	}
	while (json_peek(p) != JSON_ARRAY_END) {
		size_t before;
		enum err e;

		if (b->n == EG_BATCH_MAX)
			return field_fault(f, EG_E_INPUT, path, "1..10000", "a batch has at most %d memories", EG_BATCH_MAX);
		b->items = more_items(p->arena, b->items, b->n);
		if (!b->items)
			return no_memory(f);
		memset(&b->items[b->n], 0, sizeof *b->items);
		before = field_enter_index(path, b->n);
		e = read_item(p, &b->items[b->n++], path, f);
		if (e)
			return e;
		field_leave(path, before);
	}
	if (json_next(p) == JSON_ERROR) {
		*f = p->fault;
		return f->err;
	}
	if (b->n == 0)
		return field_fault(f, EG_E_INPUT, path, "1..10000", "a batch has at least one memory");
	return EG_E_OK;
}

static const struct field batch_rows[] = {
	{ "memories", FIELD_CALL, 0, FIELD_REQUIRED, .call = read_memories },
	{ "atomic", FIELD_BOOL, offsetof(struct batch_body, atomic), .flags = 0 },
	{ "memory_space_id", FIELD_STRING, offsetof(struct batch_body, space), .flags = 0 },
};
static const struct fields batch_fields = FIELDS(batch_rows, struct batch_body, NULL);

/* ---- making and pushing drafts */

/* A fault of item i, with its place in front of the field. */
static void place(struct fault *f, size_t i)
{
	char field[sizeof f->field];

	snprintf(field, sizeof field, "memories.%zu%s%.32s", i, f->field[0] ? "." : "", f->field);
	memcpy(f->field, field, sizeof f->field);
}

/* A memory may name the batch's space again, but no other. */
static enum err same_space(const struct batch *b, const struct memory_body *body, struct fault *f)
{
	if (!body->space.text || (body->space.len == b->space.len &&
	                          memcmp(body->space.text, b->space.at, b->space.len) == 0))
		return EG_E_OK;
	return err_set(f, EG_E_REQUEST, "memory_space_id", NULL, "all memories of a batch go to one space: %.*s",
	               (int)b->space.len, b->space.at);
}

/* Draft of item i in `tmp`; its id goes to the request's arena. */
static enum err draft_item(struct request *r, struct mind *m, struct batch *b, size_t i, struct arena *tmp,
                           struct draft *d, struct fault *f)
{
	struct item *item = &b->items[i];
	struct remember in;
	enum err e;

	if ((e = same_space(b, item->body, f)) || (e = memory_take(item->body, tmp, false, &in, f)) ||
	    (e = remember_check(m, &b->target, &in, f)) || (e = remember_draft(m, tmp, &b->target, &in, d, f)))
		return e;
	item->id.len = d->head.id_bytes;
	item->id.at = arena_strndup(&r->arena, d->id, d->head.id_bytes);
	return item->id.at ? EG_E_OK : no_memory(f);
}

static enum err refuse_item(struct request *r, struct batch *b, size_t i, struct fault *f)
{
	if (f->err == EG_E_OVERLOADED || f->err == EG_E_INTERNAL)
		return f->err;
	place(f, i);
	if (b->atomic)
		return f->err;
	b->items[i].fault = keep_fault(&r->arena, f);
	return b->items[i].fault ? EG_E_OK : no_memory(f);
}

/* Drafts from b->next on, until an entry is full. */
static enum err fill(struct request *r, struct mind *m, struct batch *b, struct arena *tmp,
                     struct draft *drafts, size_t max_ops, size_t max_bytes, struct fault *f)
{
	size_t bytes = 0, n = 0, i;
	uint32_t *at = arena_array(&r->arena, max_ops, sizeof *at);

	if (!at)
		return no_memory(f);
	for (i = b->next; i < b->n && n < max_ops; i++) {
		enum err e;

		if (b->items[i].fault && !b->atomic)
			continue;
		if (b->items[i].fault) {
			*f = *b->items[i].fault;
			return f->err;
		}
		e = draft_item(r, m, b, i, tmp, &drafts[n], f);
		if (e) {
			if ((e = refuse_item(r, b, i, f)))
				return e;
			continue;
		}
		if (n && bytes + drafts[n].bytes > max_bytes)
			break;
		bytes += drafts[n].bytes;
		at[n++] = (uint32_t)i;
	}
	if (b->atomic && i < b->n)
		return err_set(f, EG_E_TOO_LARGE, "memories", NULL, "an atomic batch holds at most %zu bytes and %zu memories",
		               max_bytes, max_ops);
	b->entry[b->n_entries].first = b->next;
	b->entry[b->n_entries].n = n;
	b->entry[b->n_entries].at = at;
	b->next = i;
	return EG_E_OK;
}

/* Push one entry; nothing when all that is left is bad. */
static enum err push_entry(struct request *r, struct mind *m, struct batch *b, struct fault *f)
{
	size_t lane_bytes = submit_max_bytes(m->submit), lane_ops = submit_max_ops(m->submit);
	size_t max_ops = b->atomic || lane_ops < ENTRY_OPS ? lane_ops : ENTRY_OPS;
	size_t max_bytes = b->atomic ? lane_bytes : lane_bytes / 4;
	unsigned flags = (b->atomic ? EG_SUBMIT_ATOMIC : 0) | (b->durable ? EG_SUBMIT_DURABLE : 0);
	struct draft *drafts;
	struct arena tmp;
	enum err e;

	if (max_ops > b->n - b->next)
		max_ops = b->n - b->next;
	arena_init(&tmp, 1 << 20, 4 * lane_bytes + ((size_t)64 << 20));
	drafts = arena_array(&tmp, max_ops, sizeof *drafts);
	e = drafts ? fill(r, m, b, &tmp, drafts, max_ops, max_bytes, f) : no_memory(f);
	if (!e && b->entry[b->n_entries].n) {
		e = api_push(r, m, drafts, (unsigned)b->entry[b->n_entries].n, flags, f);
		if (e == EG_E_TOO_LARGE && b->entry[b->n_entries].n == 1 && !b->atomic) {
			e = refuse_item(r, b, b->entry[b->n_entries].at[0], f);
		} else if (e) {
			b->next = b->entry[b->n_entries].first;
		} else {
			b->entry[b->n_entries++].ticket = r->ticket[r->n_tickets - 1];
		}
	}
	arena_fini(&tmp);
	return e;
}

/* Push what fits now. An error only when nothing of it is under way. */
static enum err push_all(struct request *r, struct mind *m, struct batch *b, struct fault *f)
{
	b->n_entries = 0;
	while (b->next < b->n && b->n_entries < ENTRIES_MAX) {
		enum err e = push_entry(r, m, b, f);

		if (e && b->n_entries == 0)
			return e;
		if (e)
			break;
	}
	return EG_E_OK;
}

/* ---- the answer */

static void write_item(struct buf *out, const struct item *item, size_t i)
{
	buf_printf(out, "%s{\"index\":%zu,\"success\":", i ? "," : "", i);
	if (item->stored) {
		buf_puts(out, "true,\"memory_id\":");
		memory_str(out, item->id);
		buf_printf(out, ",\"version\":%llu,\"created\":%s}", (unsigned long long)item->version,
		           item->created ? "true" : "false");
		return;
	}
	buf_puts(out, "false,\"error\":{\"code\":");
	buf_json_text(out, err_code(item->fault->err));
	buf_puts(out, ",\"message\":");
	buf_json_text(out, item->fault->message);
	if (item->fault->field[0]) {
		buf_puts(out, ",\"field\":");
		buf_json_text(out, item->fault->field);
	}
	if (item->fault->limit[0]) {
		buf_puts(out, ",\"limit\":");
		buf_json_text(out, item->fault->limit);
	}
	buf_puts(out, "}}");
}

static enum verdict answer(struct request *r, const struct mind *m, const struct batch *b)
{
	struct buf *out = &r->out;

	buf_puts(out, "{\"results\":[");
	for (size_t i = 0; i < b->n; i++)
		write_item(out, &b->items[i], i);
	buf_printf(out, "],\"stored\":%zu,\"failed\":%zu,\"durable\":%s,\"lsn\":%llu}", b->stored, b->n - b->stored,
	           b->stored && b->all_durable ? "true" : "false", (unsigned long long)api_lsn(m, b->lsn));
	return reply_json(r, 200);
}

/* Outcomes of one entry. EG_E_OK when each of its memories has one. */
static enum err settle(struct request *r, struct batch *b, unsigned entry, struct fault *f)
{
	const struct ticket *t = &b->entry[entry].ticket;
	uint64_t lsn;
	bool durable, done;
	enum err whole, e;

	done = submit_poll(t, &whole, &lsn, &durable);
	EG_ASSERT(done);
	if (whole && !b->atomic)
		b->failed = whole;
	for (size_t k = 0; k < b->entry[entry].n; k++) {
		size_t i = b->entry[entry].at[k];
		struct outcome o = submit_outcome(t, (unsigned)k);

		if (whole && !b->atomic)
			o.err = whole;
		if (o.err) {
			e = api_refused(&o, f);
			place(f, i);
			if (b->atomic)
				return e;
			if (!(b->items[i].fault = keep_fault(&r->arena, f)))
				return no_memory(f);
			continue;
		}
		b->items[i].version = o.version;
		b->items[i].created = o.created;
		b->items[i].stored = whole == EG_E_OK;
		b->stored += whole == EG_E_OK;
	}
	if (whole && !b->atomic)
		return EG_E_OK;
	if (whole)
		return err_set(f, whole, NULL, NULL, "%s", err_text(whole));
	b->lsn = lsn > b->lsn ? lsn : b->lsn;
	b->all_durable &= durable;
	return EG_E_OK;
}

/* What is left could not be pushed: it is not stored, for this reason. */
static enum err give_up(struct request *r, struct batch *b, const struct fault *why, struct fault *f)
{
	for (; b->next < b->n; b->next++) {
		struct item *item = &b->items[b->next];

		if (!item->fault && !(item->fault = keep_fault(&r->arena, why)))
			return no_memory(f);
	}
	return EG_E_OK;
}

/* All that could be pushed was answered: note it, push what is left, or reply. */
static enum verdict batch_finish(struct request *r, struct worker_thread *t)
{
	struct batch *b = r->state;
	struct mind m = api_mind(r, t);
	struct fault f, why;

	for (unsigned i = 0; i < b->n_entries; i++)
		if (settle(r, b, i, &f))
			return reply_fault(r, &f, NULL);
	b->n_entries = 0;
	if (b->failed)
		(void)err_set(&why, b->failed, NULL, NULL, "%s", err_text(b->failed));
	if (b->failed && !b->stored)
		return reply_fault(r, &why, NULL);
	if ((b->failed || push_all(r, &m, b, &why)) && give_up(r, b, &why, &f))
		return reply_fault(r, &f, NULL);
	return b->n_entries ? WAITING : answer(r, &m, b);
}

static enum err begin(struct request *r, struct mind *m, struct batch *b, struct fault *f)
{
	static const char *const no_names[] = { NULL };
	struct batch_body body;
	struct api_conditions c;
	struct text named, id;
	enum err e;

	if ((e = request_query_check(r, no_names, f)) ||
	    (e = fields_parse(r->body, r->body_bytes, &batch_fields, &body, &r->arena, f)))
		return e;
	named = (struct text){ body.space.text, body.space.len };
	if ((e = request_space(r, named.at ? &named : NULL, &id, f)) || (e = api_conditions(r, &c, f)))
		return e;
	if (c.expect_version)
		return err_set(f, EG_E_REQUEST, "If-Match", NULL, "If-Match does not go with a batch");
	b->items = body.items;
	b->n = body.n;
	b->atomic = body.atomic;
	b->durable = c.durable;
	b->all_durable = true;
	b->space = str_of(id);
	return remember_space(m, b->space, &b->target, f);
}

enum verdict memories_batch(struct request *r, struct worker_thread *t)
{
	struct batch *b = arena_array(&r->arena, 1, sizeof *b);
	struct mind m = api_mind(r, t);
	struct fault f;

	if (!b)
		return reply_error(r, EG_E_OVERLOADED, NULL, NULL, "the request needs more memory than one may have");
	if (begin(r, &m, b, &f) || push_all(r, &m, b, &f))
		return reply_fault(r, &f, NULL);
	if (b->n_entries == 0)
		return answer(r, &m, b);               /* none of them could be stored */
	r->state = b;
	r->finish = batch_finish;
	r->finish_pool = POOL_STORE;
	return WAITING;
}
