/* Most text is ASCII: it is passed eight bytes at a time. The table of valid
 * sequences is table 3-7 of the Unicode standard, written as conditions. */
#include "common/utf8.h"

#include <string.h>

#include "common/err.h"

#define HIGH UINT64_C(0x8080808080808080)

/* Bytes from text on that are ASCII, rounded down to whole words. */
static size_t ascii_words(const char *text, size_t len)
{
	size_t i = 0;
	uint64_t w;

	for (; i + 8 <= len; i += 8) {
		memcpy(&w, text + i, 8);
		if (w & HIGH)
			break;
	}
	return i;
}

bool utf8_ascii(const char *text, size_t len)
{
	size_t i = ascii_words(text, len);

	while (i < len && (text[i] & 0x80) == 0)
		i++;
	return i == len;
}

static bool tail(unsigned char c) { return (c & 0xc0) == 0x80; }

unsigned utf8_get(const char *text, size_t len, uint32_t *c)
{
	const unsigned char *s = (const unsigned char *)text;

	if (len == 0)
		return 0;
	if (s[0] < 0x80) {
		*c = s[0];
		return 1;
	}
	if (s[0] < 0xc2 || s[0] > 0xf4 || len < 2 || !tail(s[1]))
		return 0;
	if (s[0] < 0xe0) {
		*c = (s[0] & 0x1fu) << 6 | (s[1] & 0x3fu);
		return 2;
	}
	if (len < 3 || !tail(s[2]))
		return 0;
	if (s[0] < 0xf0) {
		*c = (s[0] & 0x0fu) << 12 | (s[1] & 0x3fu) << 6 | (s[2] & 0x3fu);
		return *c >= 0x800 && (*c < 0xd800 || *c > 0xdfff) ? 3 : 0;
	}
	if (len < 4 || !tail(s[3]))
		return 0;
	*c = (s[0] & 0x07u) << 18 | (s[1] & 0x3fu) << 12 | (s[2] & 0x3fu) << 6 | (s[3] & 0x3fu);
	return *c >= 0x10000 && *c <= 0x10ffff ? 4 : 0;
}

size_t utf8_valid(const char *text, size_t len)
{
	size_t i = 0;
	uint32_t c;
	unsigned n;

	while (i < len) {
		if ((text[i] & 0x80) == 0) {
			n = ascii_words(text + i, len - i);
			i += n > 0 ? n : 1;
			continue;
		}
		n = utf8_get(text + i, len - i, &c);
		if (n == 0)
			break;
		i += n;
	}
	return i;
}

unsigned utf8_put(char *out, uint32_t c)
{
	EG_ASSERT(c <= 0x10ffff && (c < 0xd800 || c > 0xdfff));
	if (c < 0x80) {
		out[0] = (char)c;
		return 1;
	}
	if (c < 0x800) {
		out[0] = (char)(0xc0 | c >> 6);
		out[1] = (char)(0x80 | (c & 0x3f));
		return 2;
	}
	if (c < 0x10000) {
		out[0] = (char)(0xe0 | c >> 12);
		out[1] = (char)(0x80 | (c >> 6 & 0x3f));
		out[2] = (char)(0x80 | (c & 0x3f));
		return 3;
	}
	out[0] = (char)(0xf0 | c >> 18);
	out[1] = (char)(0x80 | (c >> 12 & 0x3f));
	out[2] = (char)(0x80 | (c >> 6 & 0x3f));
	out[3] = (char)(0x80 | (c & 0x3f));
	return 4;
}

/* White_Space of the Unicode database, controls, and what has no width. */
static bool unseen(uint32_t c)
{
	return c <= 0x20 || (c >= 0x7f && c <= 0xa0) || c == 0xad || c == 0x1680 || c == 0x180e ||
	       (c >= 0x2000 && c <= 0x200f) || (c >= 0x2028 && c <= 0x202f) ||
	       (c >= 0x205f && c <= 0x206f) || c == 0x3000 || c == 0x3164 || c == 0xfeff;
}

bool utf8_blank(const char *text, size_t len)
{
	size_t i = 0;
	uint32_t c;
	unsigned n;

	while (i < len) {
		n = utf8_get(text + i, len - i, &c);
		if (n == 0 || !unseen(c))
			return false;
		i += n;
	}
	return true;
}

size_t utf8_cut(const char *text, size_t len, size_t max)
{
	if (len <= max)
		return len;
	while (max > 0 && tail((unsigned char)text[max]))
		max--;
	return max;
}
