/* What a thread needs to think: the store that it reads, the lane that it sends
 * changes on, and tools that are its own.
 *
 * A struct mind is put together for one request, from the tools of the thread
 * that runs it; nothing in it is shared between threads, so nothing needs a
 * lock. The scratch arrays grow to the largest space met and are kept by the
 * thread: a recall allocates nothing per memory.
 *
 * Must never be added here: HTTP, JSON, anything that waits.
 */
#ifndef MIND_MIND_H
#define MIND_MIND_H

#include <stddef.h>
#include <stdint.h>

#include "common/arena.h"
#include "common/err.h"
#include "shm/epoch.h"
#include "shm/slot.h"
#include "shm/space.h"
#include "shm/store.h"

struct config;
struct embed;
struct submit;
struct words;

/* Limits of the interface; each message names its own. */
enum {
	EG_CONTENT_MAX = 100000,       /* bytes of a memory's text, or of a query */
	EG_TAG_MAX = 256,              /* bytes of a tag */
	EG_SESSION_MAX = 256,          /* bytes of a session's name */
	EG_REASONING_MAX = 4096,       /* bytes of confidence_reasoning */
	EG_META_KEYS_MAX = 256,        /* keys of a memory's metadata */
	EG_META_BYTES_MAX = 65536,     /* keys and values of a memory's metadata */
	EG_BATCH_MAX = 10000,          /* memories of a batch */
	EG_RESULTS_MAX = 1000,         /* results of a recall, rows of a list */
	EG_CUES_MAX = 16,              /* cues of a recall */
};

/* A piece of text; `at` is NULL when nothing was given. */
struct str { const char *at; size_t len; };

struct scratch;                        /* workers/mind/scratch.h */

struct mind {
	const struct store *store;
	const struct desks *desks;
	struct epoch *epoch;           /* enter it before looking into the store */
	struct words *words;
	struct embed *embed;           /* NULL unless the provider is builtin */
	struct submit *submit;         /* lane for changes; NULL in threads that only read */
	struct scratch *scratch;       /* NULL in threads that only send changes */
	const struct config *config;   /* in force for this request */
	int64_t now_us;                /* calendar, read once for the request */
};

/* One value of a memory's metadata. */
enum meta_kind { EG_META_TEXT, EG_META_INT, EG_META_NUMBER, EG_META_FLAG };
struct meta {
	struct str key;
	enum meta_kind kind;
	struct str text;
	int64_t integer;
	double number;
	bool flag;
};

#endif
