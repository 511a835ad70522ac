/* Numbers of a recall, as pure functions: BM25, scaling, match, the best k.
 *
 *   idf(w)  = ln(1 + (N - df + .5) / (df + .5))
 *   BM25    = sum over words idf * tf (k1 + 1) / (tf + k1 (1 - b + b len / avg)), k1 1.2, b .75
 *   base    = wl * minmax(BM25) + wv * minmax(cosine), per query over all memories of the space
 *             (Robertson and Zaragoza 2009; convex fusion as in COGNITION.md)
 *   match   = 1 / (1 + exp(-(a + c * cosine + s * share)))
 *
 * base orders the results of one recall and means nothing beyond it; match is
 * absolute: the same memory and cue give the same number whatever else is stored
 * beside it (but for the idf in BM25's share).
 */
#ifndef MIND_RANK_H
#define MIND_RANK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define EG_BM25_K1 1.2f
#define EG_BM25_B 0.75f

/* A word of the query with what the scan learned about it. */
struct rank_term { uint64_t term; uint32_t df; float idf; };

double rank_idf(uint64_t n, uint64_t df);
/* One word's part: idf * tf (k1 + 1) / (tf + k1 norm). */
float rank_bm25(float idf, unsigned tf, float norm);
/* 1 - b + b len / avg; avg 0 counts as len. */
float rank_norm(uint32_t length, float average);

/* Walk two ascending lists once: for each query word (ascending by term) that the
 * memory's packed terms hold, tf[i] is its count, else 0. Returns how many do. */
unsigned rank_overlap(const struct rank_term *query, unsigned n_query,
                      const uint64_t *packed, unsigned n_packed, uint16_t *tf);

/* Min-max scale of one value; a spread of 0 gives 1 for a positive value, else 0. */
struct rank_range { float low, high; };
float rank_scale(struct rank_range r, float v);

/* Preliminary calibration: constants chosen by hand on a question set, so that
 * a passage that answers is mostly above .5 and a chance hit below .2; they are
 * to be fitted from feedback. share: BM25 over the most that the query can get
 * (sum of idf (k1 + 1)), 0..1. A NAN cosine counts as 0. */
float rank_match(float cosine, float share);

/* Order of two hits: higher score first, then newer LSN, then by id bytes. */
struct rank_key { float score; uint64_t lsn; const char *id; size_t id_bytes; uint32_t at; };
bool rank_before(const struct rank_key *a, const struct rank_key *b);

/* The best k of a stream in a bounded heap (worst on top). */
struct rank_heap { struct rank_key *keys; size_t n, k; };
void rank_offer(struct rank_heap *h, const struct rank_key *key);
/* Sort what was kept, best first. */
void rank_finish(struct rank_heap *h);

#endif
