#include "common/words.h"

#include <libstemmer.h>
#include <stdlib.h>
#include <string.h>
#include <unicase.h>
#include <unictype.h>
#include <uninorm.h>
#include <uniwbrk.h>

#include "common/err.h"
#include "common/hash.h"
#include "common/utf8.h"

#define TERM_SEED UINT64_C(0x656e6772616d0001)
#define PRINT_SEED UINT64_C(0x656e6772616d0002)
#define BYTES_SEED UINT64_C(0x656e6772616d0003)

/* English words that only bind others. Sorted by nothing: looked up by hash.
 * Rows have one size, so that any of them may be compared in full length.
 * Forms with n't, 's, 'm, 're, 've, 'll, 'd follow from their base. */
static const char stop_words[][11] = {
	"a", "about", "above", "after", "again", "against", "all", "also", "am", "an", "and", "any", "are",
	"as", "at", "be", "because", "been", "before", "being", "below", "between", "both", "but", "by",
	"can", "could", "did", "do", "does", "doing", "down", "during", "each", "either", "few", "for",
	"from", "further", "had", "has", "have", "having", "he", "her", "here", "hers", "herself", "him",
	"himself", "his", "how", "i", "if", "in", "into", "is", "it", "its", "itself", "just", "me",
	"more", "most", "my", "myself", "neither", "no", "nor", "not", "of", "off", "on", "once", "only",
	"or", "other", "our", "ours", "ourselves", "out", "over", "own", "same", "shall", "she", "should",
	"so", "some", "such", "than", "that", "the", "their", "theirs", "them", "themselves", "then",
	"there", "these", "they", "this", "those", "through", "to", "too", "under", "until", "up", "upon",
	"us", "very", "was", "we", "were", "what", "when", "where", "which", "while", "who", "whom",
	"whose", "why", "will", "with", "would", "you", "your", "yours", "yourself", "yourselves",
};

enum {
	STOP_N = sizeof stop_words / sizeof *stop_words,
	STOP_SLOTS = 512,                       /* a power of two, mostly empty */
	STOP_LONGEST = sizeof stop_words[0] - 1,
	SOURCE_MAX = 4 * WORDS_MAX_WORD,        /* bytes of a word that are looked at */
	FOLDED_MAX = 3 * SOURCE_MAX,            /* usual room; libunistring takes its own beyond */
	SORT_SMALL = 48,
};

struct words {
	struct sb_stemmer *stemmer;
	size_t max_bytes;
	char *breaks;              /* per byte of the text: does a word begin here */
	uint64_t *packed;
	const char *text;          /* the walk */
	size_t len, at;
	bool ascii;
	uint8_t stop[STOP_SLOTS];  /* index into stop_words plus 1 */
	char word[WORDS_MAX_WORD + 1];
};

/* ---- characters ---- */

enum { LETTER = 1, DIGIT = 2 };

static inline unsigned class_of(char ch)
{
	unsigned char c = (unsigned char)ch;

	if ((unsigned char)((c | 0x20) - 'a') < 26)
		return LETTER;
	return (unsigned char)(c - '0') < 10 ? DIGIT : 0;
}

static bool cut_here(char c) { return c == '_' || c == ':'; }

/* UAX #29, WB6, 7, 11, 12 for ASCII: does c at s[i] join what is around it? */
static inline bool joins(const char *s, size_t i, size_t len)
{
	unsigned before = class_of(s[i - 1]), behind = i + 1 < len ? class_of(s[i + 1]) : 0;

	if (before != behind)
		return false;
	if (s[i] == '.' || s[i] == '\'')
		return before != 0;
	return (s[i] == ',' || s[i] == ';') && before == DIGIT;
}

/* ---- where words are ---- */

/* ASCII only. The same words as find_unicode, without tables. */
static bool find_ascii(struct words *w, size_t *from, size_t *to)
{
	const char *s = w->text;
	size_t i = w->at;

	while (i < w->len && class_of(s[i]) == 0)
		i++;
	if (i == w->len)
		return false;
	*from = i++;
	while (i < w->len && (class_of(s[i]) != 0 || joins(s, i, w->len)))
		i++;
	*to = w->at = i;
	return true;
}

/* Is there a letter or digit? */
static bool says_something(const char *s, size_t len)
{
	uint32_t c;
	unsigned n;

	for (size_t i = 0; i < len; i += n) {
		if ((s[i] & 0x80) == 0) {
			if (class_of(s[i]) != 0)
				return true;
			n = 1;
			continue;
		}
		n = utf8_get(s + i, len - i, &c);
		EG_ASSERT(n > 0);
		if (uc_is_general_category(c, UC_LETTER) || uc_is_general_category(c, UC_NUMBER))
			return true;
	}
	return false;
}

static bool find_unicode(struct words *w, size_t *from, size_t *to)
{
	while (w->at < w->len) {
		size_t i = w->at;

		while (i < w->len && cut_here(w->text[i]))
			i++;
		if (i == w->len)
			break;
		*from = i++;
		while (i < w->len && !w->breaks[i] && !cut_here(w->text[i]))
			i++;
		*to = w->at = i;
		if (says_something(w->text + *from, i - *from))
			return true;
	}
	return false;
}

/* ---- how a word is written ---- */

/* Characters without width inside words, which no reader sees. */
static bool unseen(uint32_t c)
{
	return c == 0xad || (c >= 0x200b && c <= 0x200f) || (c >= 0x2060 && c <= 0x2064) || c == 0xfeff;
}

/* Case folded and NFKC into w->word. Returns its length. */
static size_t fold_unicode(struct words *w, const char *s, size_t len)
{
	char seen[SOURCE_MAX];
	uint8_t folded[FOLDED_MAX], *out;
	size_t n = 0, out_len = sizeof folded;
	uint32_t c;

	len = utf8_cut(s, len, SOURCE_MAX);
	for (size_t i = 0, m; i < len; i += m) {
		m = utf8_get(s + i, len - i, &c);
		EG_ASSERT(m > 0);
		if (c == 0x2019) {
			seen[n++] = '\'';
		} else if (!unseen(c)) {
			memcpy(seen + n, s + i, m);
			n += m;
		}
	}
	out = u8_casefold((const uint8_t *)seen, n, NULL, UNINORM_NFKC, folded, &out_len);
	EG_ASSERT(out != NULL);
	n = utf8_cut((const char *)out, out_len, WORDS_MAX_WORD);
	memcpy(w->word, out, n);
	if (out != folded)
		free(out);
	return n;
}

static size_t fold(struct words *w, const char *s, size_t len)
{
	if (!w->ascii && !utf8_ascii(s, len))
		return fold_unicode(w, s, len);
	if (len > WORDS_MAX_WORD)
		len = WORDS_MAX_WORD;
	for (size_t i = 0; i < len; i++)
		w->word[i] = (char)(s[i] | (class_of(s[i]) == LETTER ? 0x20 : 0));
	return len;
}

/* ---- stop words ---- */

static unsigned stop_slot(const char *s, size_t len)
{
	return (unsigned)(hash64(s, len, 0) % STOP_SLOTS);
}

static void stop_fill(struct words *w)
{
	unsigned slot;

	_Static_assert(STOP_N < 255, "indices are bytes");
	for (unsigned i = 0; i < STOP_N; i++) {
		size_t len = strlen(stop_words[i]);

		EG_ASSERT(len <= STOP_LONGEST);
		for (slot = stop_slot(stop_words[i], len); w->stop[slot] != 0;)
			slot = (slot + 1) % STOP_SLOTS;
		w->stop[slot] = (uint8_t)(i + 1);
	}
}

static bool stop_listed(const struct words *w, const char *s, size_t len)
{
	unsigned slot;

	if (len == 0 || len > STOP_LONGEST)
		return false;
	for (slot = stop_slot(s, len); w->stop[slot] != 0; slot = (slot + 1) % STOP_SLOTS) {
		const char *stop = stop_words[w->stop[slot] - 1];

		if (memcmp(stop, s, len) == 0 && stop[len] == '\0')
			return true;
	}
	return false;
}

static bool is_stop(const struct words *w, const char *s, size_t len)
{
	static const char tails[][4] = { "s", "m", "re", "ve", "ll", "d" };
	const char *apostrophe = memchr(s, '\'', len);
	size_t base;

	if (apostrophe == NULL)
		return stop_listed(w, s, len);
	base = (size_t)(apostrophe - s);
	if (base > 0 && apostrophe[-1] == 'n' && len - base == 2 && apostrophe[1] == 't')
		return true;
	for (unsigned i = 0; i < sizeof tails / sizeof *tails; i++) {
		size_t n = strlen(tails[i]);

		if (len - base == n + 1 && memcmp(apostrophe + 1, tails[i], n) == 0)
			return stop_listed(w, s, base);
	}
	return false;
}

/* ---- the walk ---- */

struct words *words_new(size_t max_bytes)
{
	struct words *w = calloc(1, sizeof *w);

	if (w == NULL)
		return NULL;
	w->max_bytes = max_bytes;
	w->stemmer = sb_stemmer_new("english", "UTF_8");
	w->breaks = malloc(max_bytes + 1);
	w->packed = malloc((max_bytes + 1) * sizeof *w->packed);      /* a word has a byte */
	if (w->stemmer == NULL || w->breaks == NULL || w->packed == NULL) {
		words_free(w);
		return NULL;
	}
	stop_fill(w);
	return w;
}

void words_free(struct words *w)
{
	if (w == NULL)
		return;
	if (w->stemmer != NULL)
		sb_stemmer_delete(w->stemmer);
	free(w->breaks);
	free(w->packed);
	free(w);
}

void words_begin(struct words *w, const char *text, size_t len)
{
	EG_ASSERT(len <= w->max_bytes);
	w->text = text;
	w->len = len;
	w->at = 0;
	w->ascii = utf8_ascii(text, len);
	if (!w->ascii)
		u8_wordbreaks((const uint8_t *)text, len, w->breaks);
}

/* Everything but the stem. */
static bool next(struct words *w, struct word *word)
{
	size_t from, to;

	if (!(w->ascii ? find_ascii(w, &from, &to) : find_unicode(w, &from, &to)))
		return false;
	word->at = from;
	word->source_len = to - from;
	word->len = fold(w, w->text + from, to - from);
	word->text = w->word;
	w->word[word->len] = '\0';
	return true;
}

bool words_next(struct words *w, struct word *word)
{
	const sb_symbol *stem;

	if (!next(w, word))
		return false;
	word->stem = NULL;
	word->stem_len = 0;
	word->term = 0;
	word->stop = is_stop(w, word->text, word->len);
	if (word->stop)
		return true;
	stem = sb_stemmer_stem(w->stemmer, (const sb_symbol *)word->text, (int)word->len);
	EG_ASSERT(stem != NULL);
	word->stem = (const char *)stem;
	word->stem_len = (size_t)sb_stemmer_length(w->stemmer);
	word->term = words_term(word->stem, word->stem_len);
	return true;
}

uint64_t words_term(const char *stem, size_t len)
{
	uint64_t term = hash64(stem, len, TERM_SEED) >> 16;

	return term != 0 ? term : 1;
}

uint64_t words_fingerprint(struct words *w, const char *text, size_t len)
{
	uint64_t h = PRINT_SEED;
	struct word word;

	words_begin(w, text, len);
	while (next(w, &word))
		h = hash64(word.text, word.len, h);
	return h != PRINT_SEED ? h : hash64(text, len, BYTES_SEED);
}

/* ---- all at once ---- */

static int ascending(const void *a, const void *b)
{
	uint64_t x, y;

	memcpy(&x, a, sizeof x);
	memcpy(&y, b, sizeof y);
	return x < y ? -1 : x > y;
}

static void sort(uint64_t *v, size_t n)
{
	if (n > SORT_SMALL) {
		qsort(v, n, sizeof *v, ascending);
		return;
	}
	for (size_t i = 1; i < n; i++) {
		uint64_t x = v[i];
		size_t j = i;

		for (; j > 0 && v[j - 1] > x; j--)
			v[j] = v[j - 1];
		v[j] = x;
	}
}

void words_terms(struct words *w, const char *text, size_t len, struct terms *out)
{
	uint64_t *v = w->packed;
	size_t all = 0, n = 0, length = 0;
	struct word word;

	words_begin(w, text, len);
	while (words_next(w, &word)) {
		length++;
		if (word.stop)
			continue;
		EG_ASSERT(all < w->max_bytes);
		v[all++] = word.term << 16;
	}
	sort(v, all);
	for (size_t i = 0; i < all; n++) {
		size_t from = i;

		while (i < all && v[i] == v[from])
			i++;
		v[n] = v[from] | (i - from < WORDS_TF_MAX ? i - from : WORDS_TF_MAX);
	}
	*out = (struct terms){ .packed = v, .n = n, .length = (uint32_t)length };
}
