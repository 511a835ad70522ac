/* The message about a memory space, see the header. */
#include "wal/spacemsg.h"

#include <string.h>

#include "wal/record.pb-c.h"

size_t space_message_pack(const struct space_message *m, uint8_t out[256])
{
	Engram__Log__Space p = ENGRAM__LOG__SPACE__INIT;

	p.id = (char *)(uintptr_t)m->id;
	p.dimension = m->dimension;
	p.source = m->source;
	p.settings = m->settings;
	p.quota_memories = m->quota_memories;
	p.quota_bytes = m->quota_bytes;
	p.create_only = m->create_only;
	EG_ASSERT(engram__log__space__get_packed_size(&p) <= 256);
	return engram__log__space__pack(&p, out);
}

bool space_message_read(const struct record *r, struct space_message *m)
{
	Engram__Log__Space *p = engram__log__space__unpack(NULL, r->packed_bytes, record_packed(r));
	bool ok = p != NULL && space_valid_id(p->id, strlen(p->id)) && p->dimension <= EG_DIM_MAX
	          && p->source <= EG_SOURCE_BUILTIN;

	if (ok) {
		memset(m, 0, sizeof *m);
		m->id_bytes = strlen(p->id);
		memcpy(m->id, p->id, m->id_bytes);
		m->source = (enum vector_source)p->source;
		m->dimension = p->dimension;
		m->settings = p->settings;
		m->quota_memories = p->quota_memories;
		m->quota_bytes = p->quota_bytes;
		m->create_only = p->create_only;
	}
	if (p != NULL)
		engram__log__space__free_unpacked(p, NULL);
	return ok;
}
