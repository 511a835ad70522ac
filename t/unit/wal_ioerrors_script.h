/* What the sender of t/unit/wal_ioerrors.c does: the parts of a scene, and what each
 * answer may be. */
#ifndef T_WAL_IOERRORS_SCRIPT_H
#define T_WAL_IOERRORS_SCRIPT_H

#include "t/unit/wal_history.h"

enum script_part {
	PART_LIFE,                     /* changes of all kinds, full segments, checkpoints, a backup */
	PART_TAIL,                     /* a segment that begins after the last checkpoint */
	PART_SHORT,                    /* some changes and a checkpoint */
	PART_REFUSED,                  /* changes, all of which must be refused: read-only */
	PART_HEAL,                     /* one change, until it is taken: within 5 s */
	PART_AFTER,                    /* like SHORT and a backup, and nothing may fail */
};

struct script {                        /* in memory that the child shares */
	struct history *h;
	enum script_part part;
	/* of the run, since script_begin */
	bool unknown, read_only;       /* there was such an answer */
	unsigned refused, no_room, entries, checkpoints, n_backups;
	char backups[8][16];           /* made, by their names */
	char wrong[400];               /* an answer that must not be */
};

struct script *script_new(struct history *h);
void script_free(struct script *s);
void script_begin(struct script *s);
/* For family_spawn; arg: the script. */
int script_run(struct wal_family *f, void *script);

/* A folder with all that is in it. Restore: what is in `to` goes first. */
void script_copy(const char *from, const char *to);
void script_restore(const char *from, const char *to);

#endif
