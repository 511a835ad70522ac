/* How the last backup ended, and whether one is being made. */
#ifndef API_BACKUP_API_H
#define API_BACKUP_API_H

#include "common/buf.h"
#include "shm/desk.h"

/* As a JSON object. */
void backup_json(struct buf *b, const struct backup_page *p);

#endif
