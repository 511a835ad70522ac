/* Storing: a memory as it came in becomes a draft for the writer's lane.
 *
 * All limits of a memory are checked here, so that HTTP, gRPC and import agree.
 * The writer has the last word on dimension, quota and version (admission); what
 * is checked here against the space makes errors early and cheap.
 */
#ifndef MIND_REMEMBER_H
#define MIND_REMEMBER_H

#include "wal/submit.h"
#include "workers/mind/packed.h"

/* One memory as given. What was not given is 0 or NULL. */
struct remember {
	struct str id;                 /* at NULL: one is made */
	struct packed text;            /* content, tags, session, metadata, reasoning */
	float *vector;                 /* dim floats; scaled to unit length by remember_check */
	unsigned dim;
	enum memory_type type;
	double confidence;             /* EG_CONFIDENCE unless given */
	bool has_time;
	int64_t observed_us;           /* event time, if has_time */
	int64_t expires_us;            /* 0 = never */
	bool pinned, auto_link;
	uint64_t expect_version;       /* 0 = any */
};

#define EG_CONFIDENCE 0.7              /* of a memory that came with none */

/* The space that a change goes to, as far as it is known before admission. */
struct remember_space {
	struct str id;
	const struct space *space;     /* NULL: there is none yet */
	enum vector_source source;
	unsigned dim;                  /* 0 = not fixed */
};

/* Look the space up. When there is none: EG_E_NO_SPACE, or EG_E_OK if the writer
 * may create it with its first memory (memory_spaces.auto_create; it refuses one
 * that was deleted). */
enum err remember_space(const struct mind *m, struct str id, struct remember_space *sp,
                        struct fault *f) EG_MUST_USE;

/* All limits of one memory, and the vector's length. */
enum err remember_check(const struct mind *m, const struct remember_space *sp, struct remember *in,
                        struct fault *f) EG_MUST_USE;

/* The draft of a checked memory. What it points to lives in the arena, as the
 * given text must. */
enum err remember_draft(struct mind *m, struct arena *a, const struct remember_space *sp,
                        const struct remember *in, struct draft *d, struct fault *f) EG_MUST_USE;

/* The memory with the same text that the writer found at admission (outcome's
 * detail). False: none, or gone since. Within an epoch section. */
struct near { struct engram engram; float similarity; };
bool remember_near(const struct mind *m, const struct space *sp, const struct engram *stored,
                   uint32_t detail, struct near *out);

#endif
