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
__attribute__((target("sse4.2")))
static uint32_t crc32c_sse42(uint32_t crc, const void *data, size_t len)
{
	const unsigned char *s = data;
	uint64_t c = (uint32_t)~crc, w;

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
