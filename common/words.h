/* Text to terms: the one place that says what a word is.
 *
 * The index, BM25, spreading's cues, near-duplicates and the built-in embedder
 * all use it, at the store and at the recall, in every process and after every
 * restart; so what it gives for a text is part of the disk format. Changing a
 * rule needs WORDS_VERSION + 1 and a re-index.
 *
 * A word: a Unicode word (UAX #29) with a letter or digit, further cut at `_`
 * and `:`; U+2019 read as an apostrophe; case folded, NFKC; at most
 * WORDS_MAX_WORD bytes (the rest of a longer one is dropped). English function
 * words are marked as stop words. A stem: the word after Snowball's English
 * stemmer. Numbers stay.
 *
 * A term is the hash of a stem: 48 bits, so that a term and its count fit in
 * one sortable word of 64 bits.
 */
#ifndef COMMON_WORDS_H
#define COMMON_WORDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	WORDS_VERSION = 1,
	WORDS_MAX_WORD = 128,      /* bytes of a folded word */
	WORDS_TF_MAX = 0xffff,     /* a count saturates here */
};

/* One thread's tools: the stemmer and scratch memory. */
struct words;

/* For texts of up to max_bytes; everything is allocated here. NULL: no memory.
 * A longer text given later is a programmer's error. */
struct words *words_new(size_t max_bytes);
void words_free(struct words *w);

/* ---- word by word ---- */

struct word {
	const char *text;          /* folded, NUL behind; valid until the next call */
	size_t len;
	const char *stem;          /* NUL behind; NULL for a stop word */
	size_t stem_len;
	uint64_t term;             /* words_term(stem); 0 for a stop word */
	size_t at, source_len;     /* where it stands in the given text, bytes */
	bool stop;
};

/* Walk over text, which must be valid UTF-8 and stay in place meanwhile. */
void words_begin(struct words *w, const char *text, size_t len);
/* False: no more. Stop words are given too, marked. */
bool words_next(struct words *w, struct word *word);

/* ---- all at once ---- */

/* Term packed with its count: comparing whole values sorts by term. */
#define WORDS_TERM(packed) ((packed) >> 16)
#define WORDS_TF(packed) ((unsigned)((packed) & 0xffff))

struct terms {
	const uint64_t *packed;    /* ascending by term, each term once; valid until the next words_ call */
	size_t n;                  /* distinct terms */
	uint32_t length;           /* all words, stop words and repeated ones too: BM25's document length */
};

void words_terms(struct words *w, const char *text, size_t len, struct terms *out);

/* 48-bit id of a stem: 1 .. 2^48 - 1, stable for ever. */
uint64_t words_term(const char *stem, size_t len);

/* Equal for texts with the same words in the same order, whatever the case,
 * punctuation, white space and Unicode form (stop words count, stems do not).
 * A text without any word: hash of its bytes. Stable for ever. */
uint64_t words_fingerprint(struct words *w, const char *text, size_t len);

#endif
