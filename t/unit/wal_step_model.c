/* See the header. */
#include "t/unit/wal_step_model.h"

#include <stdio.h>
#include <string.h>

#include "wal/spacemsg.h"
#include "wal/submit.h"

static void memory(struct model *m, const struct record *r)
{
	char name[32] = "";
	unsigned id;

	memcpy(name, record_id(r), r->id_bytes);
	EG_ASSERT(sscanf(name, "memory-%u", &id) == 1 && id < MODEL_IDS && r->space < MODEL_SPACES);
	m->memory[r->space][id] = r->type == EG_RECORD_PUT ? r : NULL;
}

static void space(struct model *m, const struct record *r)
{
	struct space_message message;

	EG_ASSERT(r->space < MODEL_SPACES);
	if (r->type == EG_RECORD_SPACE_DELETE) {
		m->space[r->space].live = false;
		memset(m->memory[r->space], 0, sizeof m->memory[r->space]);
		return;
	}
	EG_ASSERT(space_message_read(r, &message));
	snprintf(m->space[r->space].name, sizeof m->space[r->space].name, "%.20s", message.id);
	m->space[r->space].live = true;
	m->space[r->space].quota = message.quota_memories;
}

void model_at(struct model *m, const struct step_shared *s, uint64_t n)
{
	const struct record *r, *part[8];
	unsigned parts = 0;
	size_t at = 0;

	memset(m, 0, sizeof *m);
	for (uint64_t i = 0; i < n && (r = world_record(s, &at)) != NULL; i++) {
		if (r->flags & EG_RECORD_PART) {
			if (parts > 0 && part[0]->entry != r->entry)
				parts = 0; /* never closed: never happened */
			part[parts++ % 8] = r;
		} else if (r->type == EG_RECORD_COMMIT) {
			for (unsigned k = 0; k < parts; k++)
				memory(m, part[k]);
			parts = 0;
		} else if (r->type == EG_RECORD_SPACE_PUT || r->type == EG_RECORD_SPACE_DELETE) {
			space(m, r);
		} else {
			memory(m, r);
		}
	}
}
