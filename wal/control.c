/* Control entries, see the header. */
#include "wal/control.h"

#include <string.h>

void control_draft(const struct control *c, struct draft *d)
{
	memset(d, 0, sizeof *d);
	d->head.type = EG_RECORD_CHECKPOINT;
	d->head.space = EG_NONE;
	d->space_id = "";
	d->packed = (const uint8_t *)c;
	d->head.packed_bytes = sizeof *c;
	draft_seal(d);
}

bool control_read(const void *packed, size_t bytes, struct control *c)
{
	if (bytes != sizeof *c)
		return false;
	memcpy(c, packed, sizeof *c);
	return c->what >= EG_CONTROL_ASK && c->what <= EG_CONTROL_BACKUP && c->err < EG_E_COUNT
	       && memchr(c->name, '\0', sizeof c->name) != NULL && memchr(c->base, '\0', sizeof c->base) != NULL;
}
