/* A file's lines made into the items of POST /memories/batch.
 *
 * The reader numbers lines, skips empty ones, makes a text into a memory, and
 * gives a line without an id the id "FILE:LINE", so that the same import can be
 * repeated without storing anything twice. A line is passed on as it stands:
 * what it says is judged by the server, only that it is one JSON object is
 * checked here, because a broken line would take its whole batch with it.
 */
#ifndef CONTRIB_CLIENT_LINES_H
#define CONTRIB_CLIENT_LINES_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "common/buf.h"

enum {
	LINES_MAX_BYTES = 1 << 20,             /* one line */
	LINES_BATCH_MAX = 10000,               /* the server's limit */
	LINES_BODY_MAX_BYTES = 8 << 20,        /* of a request; the server takes 16 MiB */
};

struct batch {
	struct batch *next;                    /* in the sender's list */
	struct buf body;                       /* {"memories":[...]} once it is closed */
	unsigned n, room;                      /* items, and how many fit */
	unsigned attempts;
	int64_t not_before_ms;                 /* monotonic; when it may be sent again */
	struct { uint64_t line; size_t start; } item[];
};

/* NULL: out of memory. */
struct batch *batch_new(unsigned room);
void batch_free(struct batch *b);
/* Take over an item of another batch: for splitting one that was refused. */
void batch_copy(struct batch *to, const struct batch *from, unsigned item);
/* End the body, so that it can be sent. False: out of memory. */
bool batch_close(struct batch *b);

struct lines {
	FILE *file;
	const char *label;                     /* of the file, in ids */
	bool text, name_lines;
	char *line;                            /* getline's */
	size_t cap;
	uint64_t n;                            /* lines read */
	uint64_t bytes;                        /* bytes read */
	bool held;                             /* the latest line did not fit into the batch */
	ssize_t length;
};

enum lines_result { LINES_MORE, LINES_BAD, LINES_END, LINES_TROUBLE };

/* Add lines to b until it is full (LINES_MORE), the file ends (LINES_END), or a
 * line cannot be sent (LINES_BAD: *why says why, l->n which; call again to go
 * on). LINES_TROUBLE: reading failed, errno. */
enum lines_result lines_fill(struct lines *l, struct batch *b, const char **why);
void lines_fini(struct lines *l);

#endif
