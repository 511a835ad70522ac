/* Packing and unpacking, see packed.h. */
#include "workers/mind/packed.h"

#include <string.h>

#include "common/hash.h"
#include "shm/body.h"
#include "wal/record.pb-c.h"

#define TAG_SEED 0x7a67u
#define SESSION_SEED 0x7365u

uint64_t packed_tag_hash(struct str tag)
{
	return hash64(tag.at, tag.len, TAG_SEED);
}

uint64_t packed_session_hash(struct str session)
{
	uint64_t h = hash64(session.at, session.len, SESSION_SEED);

	return h ? h : 1;
}

/* protobuf-c wants NUL-terminated text; "" is not written at all. */
static char *text_in(struct arena *a, struct str s)
{
	return s.at ? arena_strndup(a, s.at, s.len) : arena_strndup(a, "", 0);
}

static struct str text_out(const char *s)
{
	return (struct str){ s, strlen(s) };
}

static bool meta_in(struct arena *a, const struct meta *m, Engram__Log__Meta *out)
{
	engram__log__meta__init(out);
	out->key = text_in(a, m->key);
	switch (m->kind) {
	case EG_META_TEXT:
		out->value_case = ENGRAM__LOG__META__VALUE_TEXT;
		out->text = text_in(a, m->text);
		return out->key && out->text;
	case EG_META_INT:
		out->value_case = ENGRAM__LOG__META__VALUE_INTEGER;
		out->integer = m->integer;
		break;
	case EG_META_NUMBER:
		out->value_case = ENGRAM__LOG__META__VALUE_NUMBER;
		out->number = m->number;
		break;
	case EG_META_FLAG:
		out->value_case = ENGRAM__LOG__META__VALUE_FLAG;
		out->flag = m->flag;
		break;
	}
	return out->key != NULL;
}

uint8_t *packed_write(struct arena *a, const struct packed *p, size_t *bytes)
{
	Engram__Log__Memory msg;
	Engram__Log__Meta *metas = arena_array(a, p->n_metadata, sizeof *metas);
	uint8_t *out;

	engram__log__memory__init(&msg);
	msg.content = text_in(a, p->content);
	msg.session = text_in(a, p->session);
	msg.confidence_reasoning = text_in(a, p->reasoning);
	msg.n_tags = p->n_tags;
	msg.tags = arena_array(a, p->n_tags, sizeof *msg.tags);
	msg.n_metadata = p->n_metadata;
	msg.metadata = arena_array(a, p->n_metadata, sizeof *msg.metadata);
	if (!metas || !msg.content || !msg.session || !msg.confidence_reasoning || !msg.tags || !msg.metadata)
		return NULL;
	for (unsigned i = 0; i < p->n_tags; i++)
		if (!(msg.tags[i] = text_in(a, p->tags[i])))
			return NULL;
	for (unsigned i = 0; i < p->n_metadata; i++) {
		if (!meta_in(a, &p->metadata[i], &metas[i]))
			return NULL;
		msg.metadata[i] = &metas[i];
	}
	*bytes = engram__log__memory__get_packed_size(&msg);
	out = arena_alloc(a, *bytes);
	if (out)
		engram__log__memory__pack(&msg, out);
	return out;
}

static void meta_out(const Engram__Log__Meta *m, struct meta *out)
{
	out->key = text_out(m->key);
	switch (m->value_case) {
	case ENGRAM__LOG__META__VALUE_TEXT:
		out->kind = EG_META_TEXT;
		out->text = text_out(m->text);
		break;
	case ENGRAM__LOG__META__VALUE_INTEGER:
		out->kind = EG_META_INT;
		out->integer = m->integer;
		break;
	case ENGRAM__LOG__META__VALUE_NUMBER:
		out->kind = EG_META_NUMBER;
		out->number = m->number;
		break;
	default:
		out->kind = EG_META_FLAG;
		out->flag = m->flag;
	}
}

enum err packed_read(struct arena *a, const struct body *b, struct packed *p, struct fault *f)
{
	ProtobufCAllocator from = { arena_alloc_cb, arena_free_cb, a };
	Engram__Log__Memory *msg = engram__log__memory__unpack(&from, b->record.packed_bytes, body_packed(b));

	if (!msg)
		return err_set(f, EG_E_INTERNAL, NULL, NULL, "a memory cannot be unpacked (version LSN %llu)",
		               (unsigned long long)b->record.lsn);
	memset(p, 0, sizeof *p);
	p->content = text_out(msg->content);
	p->session = text_out(msg->session);
	p->reasoning = text_out(msg->confidence_reasoning);
	p->n_tags = (unsigned)msg->n_tags;
	p->tags = arena_array(a, msg->n_tags, sizeof *p->tags);
	p->n_metadata = (unsigned)msg->n_metadata;
	p->metadata = arena_array(a, msg->n_metadata, sizeof *p->metadata);
	if (!p->tags || !p->metadata)
		return err_set(f, EG_E_OVERLOADED, NULL, NULL, "the request needs more memory than one may have");
	for (unsigned i = 0; i < p->n_tags; i++)
		p->tags[i] = text_out(msg->tags[i]);
	for (unsigned i = 0; i < p->n_metadata; i++)
		meta_out(msg->metadata[i], &p->metadata[i]);
	return EG_E_OK;
}
