/* Id tables, the writing side. */
#ifndef SHM_IDS_WRITE_H
#define SHM_IDS_WRITE_H

#include "shm/ids.h"
#include "shm/store_write.h"

/* Log thread: is there room for one more insert besides those pending? If not,
 * wait until no apply thread works on the shard, then ids_grow. */
bool ids_has_room(struct store_writer *w, unsigned shard);
/* Log thread, shard idle: build a table beside that holds twice what is live,
 * and switch to it. EG_E_NO_STORAGE leaves the old one. */
enum err ids_grow(struct store_writer *w, unsigned shard, struct fault *f) EG_MUST_USE;

/* Apply thread of the shard. ids_insert needs room. ids_remove removes the word
 * of this key and number; false when there is none. */
void ids_insert(struct store_writer *w, unsigned shard, uint64_t key, uint32_t number);
bool ids_remove(struct store_writer *w, unsigned shard, uint64_t key, uint32_t number);
/* Is that word there? */
bool ids_has(struct store_writer *w, unsigned shard, uint64_t key, uint32_t number);

/* Repair: keep only words for which keep(arg, tag, number) is true; count. */
void ids_sweep(struct store_writer *w, unsigned shard, bool (*keep)(void *, uint32_t, uint32_t), void *arg);

#endif
