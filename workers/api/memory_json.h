/* A memory as JSON, in and out: the fields of POST remember and of batch items,
 * the objects of get, list, search and recall. What all handlers about memories
 * share stands here, too. */
#ifndef API_MEMORY_JSON_H
#define API_MEMORY_JSON_H

#include "common/fields.h"
#include "workers/api/http.h"
#include "workers/mind/recall.h"
#include "workers/mind/remember.h"

/* A memory as read by memory_fields. */
struct memory_body {
	uint64_t given;
	struct field_text id, content, reasoning, session, space;
	struct field_vector embedding;
	struct field_texts tags;
	struct field_pairs metadata;
	double confidence, link_threshold;
	int64_t timestamp, expires_at;
	int memory_type;
	bool auto_link, pinned;
};
extern const struct fields memory_fields;
extern const char *const memory_type_names[];          /* by enum memory_type, ended by NULL */

/* Into the mind's form; auto_link: what holds when the body does not say.
 * EG_E_LATER for fields whose machinery does not exist yet. */
enum err memory_take(const struct memory_body *in, struct arena *a, bool auto_link,
                     struct remember *out, struct fault *f) EG_MUST_USE;
/* metadata as read; NULL: no memory. */
struct meta *memory_meta(const struct field_pairs *p, struct arena *a);

/* Which groups of fields a memory's object has. */
enum memory_json { MEMORY_EMBEDDING = 1, MEMORY_OWN_EMBEDDING = 2 };

/* The fields of a stored memory, without braces: "id":...,"content":... .
 * MEMORY_EMBEDDING: its vector, whoever made it; MEMORY_OWN_EMBEDDING: only if a
 * client gave it. Within an epoch section. */
enum err memory_write(struct buf *out, struct arena *a, const struct mind *m, const struct space *sp,
                      const struct engram *e, unsigned flags, struct fault *f) EG_MUST_USE;
/* {"value":...,"lower":...,"upper":...,"category":...,"reasoning":...} */
void memory_confidence(struct buf *out, struct truth t, struct str reasoning);
void memory_time(struct buf *out, int64_t us);         /* "2025-...Z" */
void memory_str(struct buf *out, struct str s);        /* a JSON string, null when at is NULL */

/* ---- what handlers share */

/* The mind of this thread for this request. */
struct mind api_mind(const struct request *r, struct worker_thread *t);
static inline struct str str_of(struct text t) { return (struct str){ t.at, t.len }; }
static inline struct str str_of_field(struct field_text t) { return (struct str){ t.text, t.len }; }

/* The space for reading: named by request_space, and there. */
enum err api_space(const struct request *r, const struct mind *m, const struct field_text *body,
                   const struct space **sp, struct fault *f) EG_MUST_USE;

/* Conditions of a change in the headers. Idempotency-Key: EG_E_LATER. */
struct api_conditions { bool durable; uint64_t expect_version; };
enum err api_conditions(const struct request *r, struct api_conditions *c, struct fault *f) EG_MUST_USE;

/* Read the query parameters by a table (`space` is left out: request_space reads it). */
enum err api_query(const struct request *r, const struct fields *t, void *out, struct fault *f) EG_MUST_USE;

/* Push one entry, and let r wait for it. */
enum err api_push(struct request *r, const struct mind *m, const struct draft *d, unsigned n,
                  unsigned flags, struct fault *f) EG_MUST_USE;
/* A position in the log by which the change is there: that of the entry, or for
 * one that changed nothing (LSN 0) the last one given. */
uint64_t api_lsn(const struct mind *m, uint64_t lsn);
/* What the writer said about operation i of the latest ticket, as a fault. */
struct api_outcome { struct outcome op; uint64_t lsn; bool durable; };
enum err api_outcome(const struct ticket *t, unsigned i, struct api_outcome *out, struct fault *f) EG_MUST_USE;
/* Fill f for an operation that was refused at admission. */
enum err api_refused(const struct outcome *o, struct fault *f);

#endif
