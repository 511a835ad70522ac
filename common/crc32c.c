#include "common/crc32c.h"

#include <pthread.h>
#include <string.h>

/* table[k][b]: what byte b does when k more bytes follow (slicing by 8). */
static uint32_t table[8][256];
static pthread_once_t table_once = PTHREAD_ONCE_INIT;

static void table_fill(void)
{
	for (uint32_t b = 0; b < 256; b++) {
		uint32_t c = b;

		for (int i = 0; i < 8; i++)
			c = c >> 1 ^ (c & 1 ? 0x82f63b78u : 0);
		table[0][b] = c;
	}
	for (uint32_t b = 0; b < 256; b++)
		for (int k = 1; k < 8; k++)
			table[k][b] = table[k - 1][b] >> 8 ^ table[0][table[k - 1][b] & 0xff];
}

uint32_t crc32c_table(uint32_t crc, const void *data, size_t len)
{
	const unsigned char *s = data;
	uint64_t w;

	pthread_once(&table_once, table_fill);
	crc = ~crc;
	for (; len >= 8; len -= 8, s += 8) {
		memcpy(&w, s, 8);
		w ^= crc;
		crc = 0;
		for (int k = 0; k < 8; k++)
			crc ^= table[7 - k][w >> (8 * k) & 0xff];
	}
	for (; len > 0; len--, s++)
		crc = crc >> 8 ^ table[0][(crc ^ *s) & 0xff];
	return ~crc;
}

#ifdef __x86_64__
/* The instruction takes a step each cycle, and its result three: so three lanes of this
 * many bytes are worked on side by side, and put together. */
#define EG_LANE 256u

/* lane[k][b]: what byte k of a CRC, being b, becomes when EG_LANE zeros follow. The CRC is linear. */
static uint32_t lane[4][256];
static pthread_once_t lane_once = PTHREAD_ONCE_INIT;

static uint32_t followed_by_zeros(uint32_t c)
{
	for (unsigned i = 0; i < EG_LANE; i++)
		c = c >> 8 ^ table[0][c & 0xff];
	return c;
}

static void lane_fill(void)
{
	pthread_once(&table_once, table_fill);
	for (unsigned k = 0; k < 4; k++)
		for (uint32_t b = 0; b < 256; b++)
			lane[k][b] = followed_by_zeros(b << (8 * k));
}

static uint64_t lane_on(uint64_t c)
{
	return lane[0][c & 0xff] ^ lane[1][c >> 8 & 0xff] ^ lane[2][c >> 16 & 0xff] ^ lane[3][c >> 24 & 0xff];
}

__attribute__((target("sse4.2")))
static uint64_t three_lanes(uint64_t c, const unsigned char *s)
{
	uint64_t second = 0, third = 0, w[3];

	for (unsigned i = 0; i < EG_LANE; i += 8) {
		memcpy(&w[0], s + i, 8);
		memcpy(&w[1], s + i + EG_LANE, 8);
		memcpy(&w[2], s + i + 2 * EG_LANE, 8);
		c = __builtin_ia32_crc32di(c, w[0]);
		second = __builtin_ia32_crc32di(second, w[1]);
		third = __builtin_ia32_crc32di(third, w[2]);
	}
	return lane_on(lane_on(c) ^ second) ^ third;
}

__attribute__((target("sse4.2")))
static uint32_t crc32c_sse42(uint32_t crc, const void *data, size_t len)
{
	const unsigned char *s = data;
	uint64_t c = (uint32_t)~crc, w;

	if (len >= 3 * EG_LANE)
		pthread_once(&lane_once, lane_fill);
	for (; len >= 3 * EG_LANE; len -= 3 * EG_LANE, s += 3 * EG_LANE)
		c = three_lanes(c, s);
	for (; len >= 8; len -= 8, s += 8) {
		memcpy(&w, s, 8);
		c = __builtin_ia32_crc32di(c, w);
	}
	for (; len > 0; len--, s++)
		c = __builtin_ia32_crc32qi((uint32_t)c, *s);
	return ~(uint32_t)c;
}

uint32_t crc32c(uint32_t crc, const void *data, size_t len)
{
	if (__builtin_cpu_supports("sse4.2"))
		return crc32c_sse42(crc, data, len);
	return crc32c_table(crc, data, len);
}
#else
uint32_t crc32c(uint32_t crc, const void *data, size_t len)
{
	return crc32c_table(crc, data, len);
}
#endif
