/* Slots, the writing side. */
#ifndef SHM_SLOT_WRITE_H
#define SHM_SLOT_WRITE_H

#include "shm/slot.h"
#include "shm/store_write.h"

/* Log thread: take a free slot of the space, state FILLING; *generation is what
 * references to it will carry. EG_E_NO_STORAGE. */
enum err slot_reserve(struct store_writer *w, uint32_t space, uint32_t *slot, uint32_t *generation,
                      struct fault *f) EG_MUST_USE;
/* Log thread: the reserved or retired slot is free again, with a new generation. */
void slot_free(struct store_writer *w, uint32_t slot, uint32_t space);
/* Log thread: the chunks of a dropped space, all of whose slots are free. */
void slot_free_chunks(struct store_writer *w, uint32_t space);

/* Apply thread, before the change itself: a memory of that slot's chunk is changed by
 * this LSN. A writer killed in between has then marked what its successor may not
 * need to do again. */
void slot_note_change(struct store_writer *w, uint32_t slot, uint64_t lsn);

/* Apply thread: what a body that was written in full becomes. slot_publish makes
 * a FILLING slot LIVE; slot_replace gives a LIVE one another body and returns the
 * old one's offset; slot_unpublish makes it RETIRED. */
void slot_publish(struct store_writer *w, uint32_t slot, uint64_t body, const struct record *r);
uint64_t slot_replace(struct store_writer *w, uint32_t slot, uint64_t body);
void slot_unpublish(struct store_writer *w, uint32_t slot);

struct slot *slot_for_write(struct store_writer *w, uint32_t slot);
struct slot_chunk *slot_chunk_for_write(struct store_writer *w, uint32_t chunk);

#endif
