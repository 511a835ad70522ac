/* Memory spaces, the writing side (log thread; no apply runs for make, change and drop). */
#ifndef SHM_SPACE_WRITE_H
#define SHM_SPACE_WRITE_H

#include "shm/space.h"
#include "shm/store_write.h"

/* What a SPACE_PUT record says. */
struct space_terms {
	const char *id;
	size_t id_bytes;
	enum vector_source source;
	uint32_t dimension;
	uint64_t settings, quota_memories, quota_bytes;
};

/* Fill entry `number` (>= space_count), not visible yet; room for its name is
 * kept until space_publish or space_unreserve. */
enum err space_reserve(struct store_writer *w, uint32_t number, struct fault *f) EG_MUST_USE;
void space_unreserve(struct store_writer *w, uint32_t number);
void space_publish(struct store_writer *w, uint32_t number, const struct space_terms *t,
                   int64_t created_us, uint64_t lsn);
void space_change(struct store_writer *w, uint32_t number, const struct space_terms *t, uint64_t lsn);
/* Take it out of sight; its memories are then retired one by one by the caller. */
void space_unpublish(struct store_writer *w, uint32_t number, uint64_t lsn);

/* Apply threads: a vector of this kind was stored. A client's vector decides
 * over a built-in embedder's, never the other way round. */
void space_note_vector(struct store_writer *w, uint32_t number, enum vector_source source, uint32_t dim,
                       uint64_t lsn);

struct space *space_for_write(struct store_writer *w, uint32_t number);

#endif
