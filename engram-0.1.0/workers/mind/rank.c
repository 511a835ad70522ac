/* BM25, scaling, match and the bounded heap, see rank.h. */
#include "workers/mind/rank.h"

#include <math.h>
#include <string.h>

#include "common/words.h"

#define MATCH_OFFSET (-3.5f)
#define MATCH_COSINE 4.0f
#define MATCH_SHARE 8.0f

double rank_idf(uint64_t n, uint64_t df)
{
	return log1p(((double)n - (double)df + 0.5) / ((double)df + 0.5));
}

float rank_norm(uint32_t length, float average)
{
	float ratio = average > 0 ? (float)length / average : 1;

	return 1 - EG_BM25_B + EG_BM25_B * ratio;
}

float rank_bm25(float idf, unsigned tf, float norm)
{
	return idf * (float)tf * (EG_BM25_K1 + 1) / ((float)tf + EG_BM25_K1 * norm);
}

unsigned rank_overlap(const struct rank_term *query, unsigned n_query,
                      const uint64_t *packed, unsigned n_packed, uint16_t *tf)
{
	unsigned q = 0, at = 0, hits = 0;

	while (q < n_query) {
		/* halve while far, step when near: documents are longer than queries */
		unsigned step = 8;

		while (at + step < n_packed && WORDS_TERM(packed[at + step]) < query[q].term)
			at += step;
		while (at < n_packed && WORDS_TERM(packed[at]) < query[q].term)
			at++;
		tf[q] = 0;
		if (at < n_packed && WORDS_TERM(packed[at]) == query[q].term) {
			tf[q] = (uint16_t)WORDS_TF(packed[at]);
			hits++;
		}
		q++;
	}
	return hits;
}

float rank_scale(struct rank_range r, float v)
{
	if (r.high > r.low)
		return (v - r.low) / (r.high - r.low);
	return v > 0 ? 1 : 0;
}

float rank_match(float cosine, float share)
{
	float x = MATCH_OFFSET + MATCH_SHARE * share;

	if (!isnan(cosine))
		x += MATCH_COSINE * cosine;
	return 1 / (1 + expf(-x));
}

bool rank_before(const struct rank_key *a, const struct rank_key *b)
{
	size_t n = a->id_bytes < b->id_bytes ? a->id_bytes : b->id_bytes;
	int c;

	if (a->score > b->score || a->score < b->score)
		return a->score > b->score;
	if (a->lsn != b->lsn)
		return a->lsn > b->lsn;
	c = memcmp(a->id, b->id, n);
	return c ? c < 0 : a->id_bytes < b->id_bytes;
}

static void swap(struct rank_key *a, struct rank_key *b)
{
	struct rank_key t = *a;

	*a = *b;
	*b = t;
}

/* Restore the heap below i: the parent comes after its children in order. */
static void sift(struct rank_key *keys, size_t n, size_t i)
{
	for (;;) {
		size_t worst = i, left = 2 * i + 1;

		for (size_t c = left; c < n && c <= left + 1; c++)
			if (rank_before(&keys[worst], &keys[c]))
				worst = c;
		if (worst == i)
			return;
		swap(&keys[i], &keys[worst]);
		i = worst;
	}
}

void rank_offer(struct rank_heap *h, const struct rank_key *key)
{
	size_t i;

	if (h->n == h->k) {
		if (h->k == 0 || !rank_before(key, &h->keys[0]))
			return;
		h->keys[0] = *key;
		sift(h->keys, h->n, 0);
		return;
	}
	i = h->n++;
	h->keys[i] = *key;
	for (; i > 0 && rank_before(&h->keys[(i - 1) / 2], &h->keys[i]); i = (i - 1) / 2)
		swap(&h->keys[(i - 1) / 2], &h->keys[i]);
}

void rank_finish(struct rank_heap *h)
{
	for (size_t n = h->n; n > 1; n--) {
		swap(&h->keys[0], &h->keys[n - 1]);
		sift(h->keys, n - 1, 0);
	}
}
