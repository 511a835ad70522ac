#include "common/base64.h"

#include <stdint.h>

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void base64_encode(const void *data, size_t len, char *out)
{
	const unsigned char *s = data;
	size_t i = 0;
	uint32_t v;

	for (; i + 3 <= len; i += 3, out += 4) {
		v = (uint32_t)s[i] << 16 | (uint32_t)s[i + 1] << 8 | s[i + 2];
		out[0] = alphabet[v >> 18];
		out[1] = alphabet[v >> 12 & 63];
		out[2] = alphabet[v >> 6 & 63];
		out[3] = alphabet[v & 63];
	}
	if (i == len)
		return;
	v = (uint32_t)s[i] << 16 | (i + 1 < len ? (uint32_t)s[i + 1] << 8 : 0);
	out[0] = alphabet[v >> 18];
	out[1] = alphabet[v >> 12 & 63];
	out[2] = i + 1 < len ? alphabet[v >> 6 & 63] : '=';
	out[3] = '=';
}

/* Value of each character plus 1; 0: none. */
static const unsigned char value[256] = {
#define V(c, n) [c] = (n) + 1
#define V2(c, n) V(c, n), V((c) + 1, (n) + 1)
#define V4(c, n) V2(c, n), V2((c) + 2, (n) + 2)
#define V8(c, n) V4(c, n), V4((c) + 4, (n) + 4)
	V8('A', 0), V8('I', 8), V8('Q', 16), V2('Y', 24),
	V8('a', 26), V8('i', 34), V8('q', 42), V2('y', 50),
	V8('0', 52), V2('8', 60), V('+', 62), V('/', 63),
};

/* Three bytes from four characters as 24 bits; above 24 bits: not base64. */
static uint32_t four(const unsigned char *s)
{
	uint32_t a = value[s[0]] - 1u, b = value[s[1]] - 1u, c = value[s[2]] - 1u, d = value[s[3]] - 1u;

	return (a | b | c | d) > 63 ? UINT32_MAX : a << 18 | b << 12 | c << 6 | d;
}

/* The last four characters, which may be padded; bytes written or -1. */
static ssize_t last(const unsigned char *s, unsigned char *out)
{
	unsigned char t[4] = { s[0], s[1], s[2], s[3] };
	unsigned bytes = t[3] != '=' ? 3 : t[2] != '=' ? 2 : 1;
	uint32_t v;

	if (bytes < 3)
		t[3] = 'A';
	if (bytes < 2)
		t[2] = 'A';
	v = four(t);
	if (v > 0xffffff || (bytes < 3 && (v & (0xffffu >> (8 * (bytes - 1)))) != 0))
		return -1;
	for (unsigned i = 0; i < bytes; i++)
		out[i] = (unsigned char)(v >> (16 - 8 * i));
	return bytes;
}

ssize_t base64_decode(const char *text, size_t len, void *out, size_t cap)
{
	const unsigned char *s = (const unsigned char *)text;
	unsigned char *o = out, end[3];
	size_t n = 0;
	ssize_t more;
	uint32_t v;

	if (len % 4 != 0)
		return -1;
	if (len == 0)
		return 0;
	if ((len / 4 - 1) * 3 > cap)
		return -1;
	for (; len > 4; len -= 4, s += 4, n += 3) {
		v = four(s);
		if (v > 0xffffff)
			return -1;
		o[n] = (unsigned char)(v >> 16);
		o[n + 1] = (unsigned char)(v >> 8);
		o[n + 2] = (unsigned char)v;
	}
	more = last(s, end);
	if (more < 0 || (size_t)more > cap - n)
		return -1;
	for (ssize_t i = 0; i < more; i++)
		o[n++] = end[i];
	return (ssize_t)n;
}
