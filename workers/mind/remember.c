/* Storing, see remember.h. */
#include "workers/mind/remember.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "common/config.h"
#include "common/hash.h"
#include "common/utf8.h"
#include "common/vec.h"
#include "common/words.h"
#include "shm/node.h"
#include "workers/mind/embed.h"

static enum err no_memory(struct fault *f)
{
	return err_set(f, EG_E_OVERLOADED, NULL, NULL, "the request needs more memory than one may have");
}

enum err remember_space(const struct mind *m, struct str id, struct remember_space *sp, struct fault *f)
{
	memset(sp, 0, sizeof *sp);
	sp->id = id;
	sp->space = space_find(m->store, id.at, id.len);
	if (sp->space) {
		sp->source = space_source(sp->space);
		sp->dim = space_dimension(sp->space);
	} else if (!m->config->memory_spaces_auto_create) {
		return err_set(f, EG_E_NO_SPACE, "space", NULL, "there is no memory space %.*s, and auto_create is off",
		               (int)id.len, id.at);
	}
	return EG_E_OK;
}

/* ---- limits */

static enum err too_long(struct fault *f, const char *field, size_t len, size_t max)
{
	char limit[24];

	snprintf(limit, sizeof limit, "%zu", max);
	return err_set(f, EG_E_INPUT, field, limit, "%s has %zu bytes, at most %zu are taken", field, len, max);
}

static enum err check_tags(const struct packed *t, struct fault *f)
{
	if (t->n_tags > EG_TAGS_MAX)
		return err_set(f, EG_E_INPUT, "tags", "64", "there are %u tags, at most %u are taken", t->n_tags, EG_TAGS_MAX);
	for (unsigned i = 0; i < t->n_tags; i++) {
		if (t->tags[i].len == 0)
			return err_set(f, EG_E_INPUT, "tags", NULL, "tags.%u is empty", i);
		if (t->tags[i].len > EG_TAG_MAX)
			return err_set(f, EG_E_INPUT, "tags", "256", "tags.%u has %zu bytes, at most %d are taken", i,
			               t->tags[i].len, EG_TAG_MAX);
	}
	return EG_E_OK;
}

static size_t meta_bytes(const struct meta *m)
{
	return m->key.len + (m->kind == EG_META_TEXT ? m->text.len : sizeof m->integer);
}

static enum err check_metadata(const struct packed *t, struct fault *f)
{
	size_t sum = 0;

	if (t->n_metadata > EG_META_KEYS_MAX)
		return err_set(f, EG_E_INPUT, "metadata", "256", "metadata has %u keys, at most %d are taken",
		               t->n_metadata, EG_META_KEYS_MAX);
	for (unsigned i = 0; i < t->n_metadata; i++)
		sum += meta_bytes(&t->metadata[i]);
	return sum > EG_META_BYTES_MAX ? too_long(f, "metadata", sum, EG_META_BYTES_MAX) : EG_E_OK;
}

/* A NUL would end the text where it is kept. */
static enum err check_nul(const struct remember *in, struct fault *f)
{
	const struct { const char *name; struct str s; } all[] = {
		{ "content", in->text.content }, { "session", in->text.session },
		{ "confidence_reasoning", in->text.reasoning }, { "id", in->id },
	};

	for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
		if (all[i].s.len && memchr(all[i].s.at, '\0', all[i].s.len))
			return err_set(f, EG_E_INPUT, all[i].name, NULL, "%s contains U+0000", all[i].name);
	for (unsigned i = 0; i < in->text.n_tags; i++)
		if (memchr(in->text.tags[i].at, '\0', in->text.tags[i].len))
			return err_set(f, EG_E_INPUT, "tags", NULL, "tags.%u contains U+0000", i);
	for (unsigned i = 0; i < in->text.n_metadata; i++) {
		const struct meta *m = &in->text.metadata[i];

		if (m->kind == EG_META_TEXT && m->text.len && memchr(m->text.at, '\0', m->text.len))
			return err_set(f, EG_E_INPUT, "metadata", NULL, "a value of metadata contains U+0000");
	}
	return EG_E_OK;
}

static enum err check_text(const struct remember *in, struct fault *f)
{
	const struct packed *t = &in->text;
	enum err e;

	if (!t->content.at || utf8_blank(t->content.at, t->content.len))
		return err_set(f, EG_E_INPUT, "content", NULL, "content is %s", t->content.at ? "blank" : "missing");
	if (t->content.len > EG_CONTENT_MAX)
		return too_long(f, "content", t->content.len, EG_CONTENT_MAX);
	if (in->id.at && in->id.len == 0)
		return err_set(f, EG_E_INPUT, "id", "1..256", "id is empty");
	if (in->id.len > EG_ID_MAX)
		return too_long(f, "id", in->id.len, EG_ID_MAX);
	if (t->session.at && t->session.len == 0)
		return err_set(f, EG_E_INPUT, "session", "1..256", "session is empty");
	if (t->session.len > EG_SESSION_MAX)
		return too_long(f, "session", t->session.len, EG_SESSION_MAX);
	if (t->reasoning.len > EG_REASONING_MAX)
		return too_long(f, "confidence_reasoning", t->reasoning.len, EG_REASONING_MAX);
	if ((e = check_tags(t, f)) || (e = check_metadata(t, f)))
		return e;
	return check_nul(in, f);
}

enum err remember_check(const struct mind *m, const struct remember_space *sp, struct remember *in,
                        struct fault *f)
{
	enum err e = check_text(in, f);

	if (e)
		return e;
	if (!(in->confidence >= 0 && in->confidence <= 1))
		return err_set(f, EG_E_INPUT, "confidence", "0..1", "confidence is outside of 0..1");
	if (in->expires_us && in->expires_us <= m->now_us)
		return err_set(f, EG_E_INPUT, "expires_at", NULL, "expires_at is in the past");
	if (!in->vector)
		return EG_E_OK;
	if (sp->source == EG_SOURCE_CLIENT && sp->dim && in->dim != sp->dim)
		return err_set(f, EG_E_DIMENSION, "embedding", NULL,
		               "embedding has %u numbers, this space's vectors have %u", in->dim, sp->dim);
	if (!vec_normalise(in->vector, in->dim))
		return err_set(f, EG_E_INPUT, "embedding", NULL, "embedding is zero: it has no direction");
	return EG_E_OK;
}

/* ---- the draft */

static uint64_t fold(uint64_t h, const void *data, size_t len)
{
	return hash64(data, len, h + len);
}

static uint64_t fold_str(uint64_t h, struct str s)
{
	return s.at ? fold(h, s.at, s.len) : hash_mix(h + 1);
}

/* Of all that the sender gave; metadata in any order. */
static uint64_t digest(const struct remember *in)
{
	const struct packed *t = &in->text;
	double numbers[] = { in->confidence };
	int64_t words[] = { in->type, in->has_time, in->has_time ? in->observed_us : 0, in->expires_us,
	                    in->pinned, in->auto_link, in->dim, t->n_tags, t->n_metadata };
	uint64_t h = fold(0, words, sizeof words), sum = 0;

	h = fold(h, numbers, sizeof numbers);
	h = fold_str(fold_str(fold_str(h, t->content), t->session), t->reasoning);
	if (in->vector)
		h = fold(h, in->vector, in->dim * sizeof *in->vector);
	for (unsigned i = 0; i < t->n_tags; i++)
		h = fold_str(h, t->tags[i]);
	for (unsigned i = 0; i < t->n_metadata; i++) {
		const struct meta *m = &t->metadata[i];
		uint64_t k = fold_str(m->kind + 1, m->key);

		k = m->kind == EG_META_TEXT ? fold_str(k, m->text)
		  : m->kind == EG_META_NUMBER ? fold(k, &m->number, sizeof m->number)
		  : hash_mix(k + (uint64_t)(m->kind == EG_META_INT ? m->integer : m->flag));
		sum += k;
	}
	return hash_mix(h ^ hash_mix(sum));
}

static uint32_t raw_bytes(const struct packed *t)
{
	size_t sum = t->content.len + t->session.len + t->reasoning.len;

	for (unsigned i = 0; i < t->n_tags; i++)
		sum += t->tags[i].len;
	for (unsigned i = 0; i < t->n_metadata; i++)
		sum += meta_bytes(&t->metadata[i]);
	return (uint32_t)sum;
}

static enum err draft_id(struct arena *a, const struct remember *in, struct draft *d, struct fault *f)
{
	uint64_t r;
	char *id;

	d->id = in->id.at;
	d->head.id_bytes = (uint16_t)in->id.len;
	if (in->id.at)
		return EG_E_OK;
	if (getrandom(&r, sizeof r, 0) != sizeof r)
		return err_set(f, EG_E_INTERNAL, NULL, NULL, "no random bytes for an id");
	id = arena_alloc(a, 24);
	if (!id)
		return no_memory(f);
	d->head.id_bytes = (uint16_t)snprintf(id, 24, "mem_%016llx", (unsigned long long)r);
	d->id = id;
	return EG_E_OK;
}

/* Copies, because the word tools' memory serves the next text. */
static enum err draft_words(struct mind *m, struct arena *a, const struct remember *in, struct draft *d,
                            struct fault *f)
{
	const struct packed *t = &in->text;
	uint64_t *terms, *tags = arena_array(a, t->n_tags, sizeof *tags);
	struct terms found;

	words_terms(m->words, t->content.at, t->content.len, &found);
	terms = arena_array(a, found.n, sizeof *terms);
	if (!terms || !tags)
		return no_memory(f);
	if (found.n)
		memcpy(terms, found.packed, found.n * sizeof *terms);
	d->terms = terms;
	d->head.n_terms = (uint32_t)found.n;
	d->head.length = found.length;
	for (unsigned i = 0; i < t->n_tags; i++)
		tags[i] = packed_tag_hash(t->tags[i]);
	d->tags = tags;
	d->head.n_tags = (uint16_t)t->n_tags;
	d->head.fingerprint = words_fingerprint(m->words, t->content.at, t->content.len);
	return EG_E_OK;
}

/* The client's vector, or in a space that has none of a client's, the built-in one. */
static enum err draft_vector(struct mind *m, struct arena *a, const struct remember_space *sp,
                             const struct remember *in, struct draft *d, struct fault *f)
{
	float *v;

	if (in->vector) {
		d->vector = in->vector;
		d->head.dim = (uint16_t)in->dim;
		return EG_E_OK;
	}
	if (sp->source == EG_SOURCE_CLIENT || !m->embed)
		return EG_E_OK;
	v = arena_alloc(a, embed_dim(m->embed) * sizeof *v);
	if (!v)
		return no_memory(f);
	if (!embed_text(m->embed, m->words, in->text.content.at, in->text.content.len, NULL, NULL, v))
		return EG_E_OK;        /* function words alone have no direction */
	d->vector = v;
	d->head.dim = (uint16_t)embed_dim(m->embed);
	d->head.flags |= EG_RECORD_DERIVED;
	return EG_E_OK;
}

enum err remember_draft(struct mind *m, struct arena *a, const struct remember_space *sp,
                        const struct remember *in, struct draft *d, struct fault *f)
{
	size_t packed_bytes = 0;
	enum err e;

	memset(d, 0, sizeof *d);
	d->head.type = EG_RECORD_PUT;
	d->head.space = EG_NONE;
	d->space_id = sp->id.at;
	d->space_id_bytes = sp->id.len;
	d->head.memory_type = (uint8_t)in->type;
	d->head.flags = (uint8_t)((in->pinned ? EG_RECORD_PINNED : 0) | (in->auto_link ? EG_RECORD_AUTO_LINK : 0));
	d->head.confidence = (float)in->confidence;
	d->head.observed_us = in->has_time ? in->observed_us : m->now_us;
	d->head.expires_us = in->expires_us;
	d->head.session = in->text.session.at ? packed_session_hash(in->text.session) : 0;
	d->head.digest = digest(in);
	d->head.raw_bytes = raw_bytes(&in->text);
	d->expect_version = in->expect_version;
	if ((e = draft_id(a, in, d, f)) || (e = draft_words(m, a, in, d, f)) ||
	    (e = draft_vector(m, a, sp, in, d, f)))
		return e;
	d->packed = packed_write(a, &in->text, &packed_bytes);
	if (!d->packed)
		return no_memory(f);
	d->head.packed_bytes = (uint32_t)packed_bytes;
	draft_seal(d);
	return EG_E_OK;
}

/* ---- near-duplicates */

static const struct slot *slot_number(const struct store *s, uint32_t number)
{
	const struct slot_chunk *c;

	if (number / EG_CHUNK >= atomic_load_explicit(&s->root->n_slot_chunks, memory_order_acquire))
		return NULL;
	c = region_at(&s->slot, (uint64_t)(number / EG_CHUNK) * sizeof *c, sizeof *c);
	return &c->slots[number % EG_CHUNK];
}

bool remember_near(const struct mind *m, const struct space *sp, const struct engram *stored,
                   uint32_t detail, struct near *out)
{
	const struct slot *s = detail == EG_NONE ? NULL : slot_number(m->store, detail);
	const struct record *a, *b = &stored->body->record;
	const float *va, *vb;
	uint64_t word;

	if (!s)
		return false;
	word = atomic_load_explicit(&s->word, memory_order_acquire);
	if (!slot_get(m->store, detail, (uint32_t)(word >> 8), &out->engram))
		return false;
	a = &out->engram.body->record;
	if (a->space != sp->number || a->fingerprint != b->fingerprint || detail == stored->number)
		return false;
	va = node_vector(m->store, out->engram.body);
	vb = node_vector(m->store, stored->body);
	out->similarity = va && vb && a->dim == b->dim ? vec_dot(va, vb, a->dim) : 1;
	return true;
}
