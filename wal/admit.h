/* Admission: decide what becomes of an operation before anything is logged.
 *
 * Resolves the space and the id, checks dimension, versions, quotas, assigns the
 * version, and reserves everything that apply will need. A refusal costs nothing
 * and leaves no trace. After admission only the log itself can fail, and then
 * admit_undo takes the whole round back. The log thread alone.
 */
#ifndef WAL_ADMIT_H
#define WAL_ADMIT_H

#include "common/config.h"
#include "wal/appliers.h"
#include "wal/backup.h"
#include "wal/install.h"
#include "wal/logged.h"
#include "wal/overlay.h"
#include "wal/twins.h"

struct admit_space {                   /* a space as it will be when all admitted is applied */
	uint64_t memories, raw_bytes;
	uint32_t dimension;
	uint8_t source;                /* enum vector_source */
	bool live;
};

struct pending_space { char id[EG_SPACE_ID_MAX + 1]; uint32_t number; };

struct admit {
	struct store_writer *w;
	struct appliers *appliers;
	const struct config *config;
	uint64_t segment_bytes;
	struct install *install;       /* for control entries (wal/control.h) */
	struct backup *backup;
	bool full;                     /* no room for the log: PUTs are refused */
	struct overlay overlay;
	struct twins twins;
	struct logged logged;
	struct admit_space *spaces;
	uint32_t n_spaces, cap_spaces; /* numbers given */
	struct pending_space *pending; /* made by this round, not published yet */
	uint32_t n_pending, cap_pending;
	uint32_t *deleted;             /* numbers of deleted spaces: their names are not made by a write */
	uint32_t n_deleted, cap_deleted;
	uint32_t live_spaces;
};

/* Take over the store as it is (after repair or replay). */
void admit_open(struct admit *a, struct store_writer *w, struct appliers *p, const struct config *c,
                uint64_t segment_bytes);
void admit_close(struct admit *a);

/* Admit all operations of one entry: changes are added to the round, results are
 * written to the entry's result cells. */
void admit_entry(struct admit *a, struct round *r, struct entry *e, unsigned entry_index);
/* A space that the configuration wants; a change of the writer's own. */
enum err admit_bootstrap(struct admit *a, struct round *r, const char *id, struct fault *f) EG_MUST_USE;

/* The log refused the round: nothing of it happened; every entry gets `err`. */
void admit_undo(struct admit *a, struct round *r, enum err err);
/* The round is in the log: its spaces become visible, promises get their LSNs. */
void admit_logged(struct admit *a, struct round *r);
/* After records about existing spaces were applied: look at that space again. */
void admit_space_changed(struct admit *a, uint32_t number);

#endif
