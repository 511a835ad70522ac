#include "common/hash.h"

#include <string.h>

#define P1 UINT64_C(0x9E3779B185EBCA87)
#define P2 UINT64_C(0xC2B2AE3D27D4EB4F)
#define P3 UINT64_C(0x165667B19E3779F9)
#define P4 UINT64_C(0x85EBCA77C2B2AE63)
#define P5 UINT64_C(0x27D4EB2F165667C5)

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "what is on disk is little-endian"
#endif

static uint64_t rotl(uint64_t x, int n) { return x << n | x >> (64 - n); }
static uint64_t round64(uint64_t acc, uint64_t lane) { return rotl(acc + lane * P2, 31) * P1; }
static uint64_t merge(uint64_t h, uint64_t acc) { return (h ^ round64(0, acc)) * P1 + P4; }

static uint64_t get64(const unsigned char *s)
{
	uint64_t w;

	memcpy(&w, s, 8);
	return w;
}

/* Whole stripes of 32 bytes; *s and *len move on. */
static uint64_t stripes(const unsigned char **s, size_t *len, uint64_t seed)
{
	uint64_t a = seed + P1 + P2, b = seed + P2, c = seed, d = seed - P1, h;
	const unsigned char *p = *s;

	for (; *len >= 32; *len -= 32, p += 32) {
		a = round64(a, get64(p));
		b = round64(b, get64(p + 8));
		c = round64(c, get64(p + 16));
		d = round64(d, get64(p + 24));
	}
	*s = p;
	h = rotl(a, 1) + rotl(b, 7) + rotl(c, 12) + rotl(d, 18);
	return merge(merge(merge(merge(h, a), b), c), d);
}

uint64_t hash64(const void *data, size_t len, uint64_t seed)
{
	const unsigned char *s = data;
	size_t all = len;
	uint64_t h = len >= 32 ? stripes(&s, &len, seed) : seed + P5;
	uint32_t w;

	h += all;
	for (; len >= 8; len -= 8, s += 8)
		h = rotl(h ^ round64(0, get64(s)), 27) * P1 + P4;
	if (len >= 4) {
		memcpy(&w, s, 4);
		h = rotl(h ^ w * P1, 23) * P2 + P3;
		s += 4;
		len -= 4;
	}
	for (; len > 0; len--, s++)
		h = rotl(h ^ *s * P5, 11) * P1;
	h = (h ^ h >> 33) * P2;
	h = (h ^ h >> 29) * P3;
	return h ^ h >> 32;
}

struct hash128 hash128(const void *data, size_t len)
{
	return (struct hash128){
		.hi = hash64(data, len, UINT64_C(0x9368e53c2f6af274)),
		.lo = hash64(data, len, UINT64_C(0x586dcd208f7cd3fd)),
	};
}
