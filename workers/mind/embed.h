/* The built-in embedder: a vector for a text, without a model.
 *
 * Signed feature hashing (Weinberger et al., Feature Hashing for Large Scale
 * Multitask Learning, 2009) of stems and of character 3- to 5-grams of words.
 * It knows no meaning; it finds what is spelled alike where the word index
 * finds what is spelled the same. `introspect` calls it `builtin`.
 *
 * A document's vector depends on its text alone, so that replay, another
 * process and another machine make the same one; how rare words are, which
 * changes, weighs the query only. Part of the disk format: EMBED_VERSION.
 */
#ifndef MIND_EMBED_H
#define MIND_EMBED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/words.h"

enum { EMBED_VERSION = 1, EMBED_DIM_MAX = 4096 };

/* One thread's scratch. */
struct embed;

/* dim 1..EMBED_DIM_MAX (embedding.dimension). NULL: no memory. */
struct embed *embed_new(unsigned dim);
void embed_free(struct embed *e);
unsigned embed_dim(const struct embed *e);

/* Inverse document frequency of a term in a space, as BM25's: > 0. */
typedef double embed_idf(void *arg, uint64_t term);

/* Vector of valid UTF-8 into out[dim], of length 1. idf: NULL for documents;
 * for queries it weighs each word. False: no word but function words in it
 * (out is all zeros), so there is no direction. w is used meanwhile. */
bool embed_text(struct embed *e, struct words *w, const char *text, size_t len,
                embed_idf *idf, void *arg, float *out) __attribute__((warn_unused_result));

#endif
