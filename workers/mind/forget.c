/* Drafts of deletions, see forget.h. */
#include "workers/mind/forget.h"

#include <string.h>

#include "shm/layout.h"

static void begin(enum record_type type, struct str space, struct draft *d)
{
	memset(d, 0, sizeof *d);
	d->head.type = (uint8_t)type;
	d->head.space = EG_NONE;
	d->space_id = space.at;
	d->space_id_bytes = space.len;
}

void forget_memory(struct str space, struct str id, struct draft *d)
{
	begin(EG_RECORD_DELETE, space, d);
	d->id = id.at;
	d->head.id_bytes = (uint16_t)id.len;
	draft_seal(d);
}

void forget_space(struct str space, struct draft *d)
{
	begin(EG_RECORD_SPACE_DELETE, space, d);
	draft_seal(d);
}
