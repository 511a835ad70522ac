/* UTF-8 at the border: everything beyond it may trust that text is valid. */
#ifndef COMMON_UTF8_H
#define COMMON_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Length of the longest valid prefix (== len: all valid). Overlong forms,
 * surrogates and values over U+10FFFF are not valid. */
size_t utf8_valid(const char *text, size_t len);
/* Bytes of the valid character at text, 1..4; 0: none. *c is its code point. */
unsigned utf8_get(const char *text, size_t len, uint32_t *c);
/* Writes 1..4 bytes for c, which must be no surrogate and <= 0x10ffff. */
unsigned utf8_put(char *out, uint32_t c);
/* Nothing to see: empty, or only Unicode white space, zero-width characters
 * and controls. text must be valid. */
bool utf8_blank(const char *text, size_t len);
bool utf8_ascii(const char *text, size_t len);
/* The largest n <= max at which valid text can be cut between characters. */
size_t utf8_cut(const char *text, size_t len, size_t max);

#endif
