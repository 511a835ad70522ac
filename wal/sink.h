/* A sink: one copy of the log, a data directory to whose present segment groups go.
 *
 * There is one, or with [wal] mirror_dir two that are written alike (mirror.h). A sink
 * knows files and calls of the I/O layer; what stands in them, and what a failure means,
 * is append.c's business. One thread at a time uses a sink.
 */
#ifndef WAL_SINK_H
#define WAL_SINK_H

#include "wal/segment.h"
#include "wal/spares.h"

struct sink {
	const char *name;              /* for messages */
	const struct datadir *dir;
	struct spares spares;
	int fd;                        /* of the present segment, -1 = none */
	bool direct;                   /* O_DIRECT is wanted and was not refused */
	bool lost;                     /* given up: nothing is written to it */
	int next_fd, next_dir;         /* a segment that is prepared, -1 = none; the folder it lies in */
	char next_name[32];
};

enum sink_what { SINK_PREPARE, SINK_SHOW, SINK_WRITE, SINK_SYNC };

struct sink_op {
	enum sink_what what;
	const struct segment_header *header;   /* PREPARE, SHOW: of the new segment */
	bool hidden;                   /* PREPARE: in tmp/, shown when it is filled */
	const void *from;              /* WRITE */
	size_t bytes;
	uint64_t offset;
};

void sink_init(struct sink *s, const char *name, const struct datadir *dir, bool direct);
/* One step; 0 or an errno.
 *   PREPARE  a spare gets its headers, synced, and is opened
 *   SHOW     from this rename on it supersedes; the folders are synced */
int sink_do(struct sink *s, const struct sink_op *op) EG_MUST_USE;
/* Go on in the prepared segment; the present one is cut to its used length. */
void sink_adopt(struct sink *s, uint64_t used);
void sink_drop(struct sink *s);        /* the prepared one is not wanted */
void sink_seal(struct sink *s, uint64_t used);
void sink_give_up(struct sink *s);     /* close what is open, and leave it as it is */

#endif
