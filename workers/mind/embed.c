#include "workers/mind/embed.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/err.h"
#include "common/hash.h"
#include "common/utf8.h"
#include "common/vec.h"

enum {
	SEEN_SLOTS = 1 << 14,      /* distinct stems of a text that are counted */
	SEEN_PROBES = 16,
	GRAM_MIN = 3, GRAM_MAX = 5,
};

/* A stem weighs 1 and all n-grams of its word together GRAMS, however many.
 * In a query both also weigh idf^1.5: cosine of tf-idf vectors would have idf on
 * both sides, and the document's side must not have it. Measured with
 * .6 BM25 + .4 of this, min-max per question: on MuSiQue R@5 .530, R@10 .601
 * (BM25 alone .498, .560); on long conversations R@10 .635 (BM25 .620). Flat
 * around here; n-grams of stems instead of words, or lighter ones, do worse. */
#define GRAMS 1.5f

#define STEM_SALT UINT64_C(0x8f3a1c5be2d94f07)
#define GRAM_SALT UINT64_C(0x51c6b70d3e9a2864)

struct embed {
	unsigned dim;
	uint32_t text;             /* number of the present text: slots of others are free */
	struct seen {
		uint64_t term;
		uint32_t text, n;
	} seen[SEEN_SLOTS];
};

struct embed *embed_new(unsigned dim)
{
	struct embed *e;

	EG_ASSERT(dim >= 1 && dim <= EMBED_DIM_MAX);
	e = calloc(1, sizeof *e);
	if (e != NULL)
		e->dim = dim;
	return e;
}

void embed_free(struct embed *e) { free(e); }
unsigned embed_dim(const struct embed *e) { return e->dim; }

/* How often the term was met in this text, this time included. A text with
 * more distinct stems than there is room for counts the rest as new ones. */
static unsigned count(struct embed *e, uint64_t term)
{
	for (unsigned i = 0; i < SEEN_PROBES; i++) {
		struct seen *s = &e->seen[(term + i) % SEEN_SLOTS];

		if (s->text != e->text) {
			*s = (struct seen){ term, e->text, 1 };
			return 1;
		}
		if (s->term == term)
			return ++s->n;
	}
	return 1;
}

static inline void add(const struct embed *e, uint64_t feature, float weight, float *out)
{
	unsigned at = (unsigned)((feature >> 32) * e->dim >> 32);

	out[at] += feature & 1 ? weight : -weight;
}

static float query_weight(double idf) { return (float)(idf * sqrt(idf)); }

/* Where the characters of " word " begin; n + 1 ends. */
static size_t characters(const char *s, size_t len, uint16_t *at)
{
	size_t n = 0;

	for (size_t i = 0; i < len; i++)
		if (((unsigned char)s[i] & 0xc0) != 0x80)
			at[n++] = (uint16_t)i;
	at[n] = (uint16_t)len;
	return n;
}

static void add_grams(const struct embed *e, const char *word, size_t len, float weight, float *out)
{
	char s[WORDS_MAX_WORD + 2];
	uint16_t at[WORDS_MAX_WORD + 3];
	size_t n, all = 0;

	s[0] = s[len + 1] = ' ';
	memcpy(s + 1, word, len);
	n = characters(s, len + 2, at);
	for (size_t g = GRAM_MIN; g <= GRAM_MAX && g <= n; g++)
		all += n + 1 - g;
	if (all == 0)
		return;
	weight /= sqrtf((float)all);
	for (size_t g = GRAM_MIN; g <= GRAM_MAX && g <= n; g++) {
		for (size_t i = 0; i + g <= n; i++) {
			size_t bytes = (size_t)(at[i + g] - at[i]);
			uint64_t w = 0;

			if (bytes <= 7) {
				memcpy(&w, s + at[i], bytes);
				w = hash_mix((w << 8 | bytes) ^ GRAM_SALT);
			} else {
				w = hash64(s + at[i], bytes, GRAM_SALT);
			}
			add(e, w, weight, out);
		}
	}
}

bool embed_text(struct embed *e, struct words *w, const char *text, size_t len,
                embed_idf *idf, void *arg, float *out)
{
	struct word word;

	memset(out, 0, e->dim * sizeof *out);
	if (++e->text == 0) {
		memset(e->seen, 0, sizeof e->seen);
		e->text = 1;
	}
	words_begin(w, text, len);
	while (words_next(w, &word)) {
		float weight;
		unsigned n;

		if (word.stop)
			continue;
		/* 1 + ln n after n times: what this time adds to it. */
		n = count(e, word.term);
		weight = n == 1 ? 1 : logf((float)n / (float)(n - 1));
		if (idf != NULL)
			weight *= query_weight(idf(arg, word.term));
		add(e, hash_mix(word.term ^ STEM_SALT), weight, out);
		add_grams(e, word.text, word.len, GRAMS * weight, out);
	}
	return vec_normalise(out, e->dim);
}
