#include "common/nearest.h"

#include <string.h>

enum { LONGEST = 64 };

static unsigned min(unsigned a, unsigned b) { return a < b ? a : b; }

unsigned nearest_distance(const char *a, size_t a_len, const char *b, size_t b_len)
{
	unsigned rows[3][LONGEST + 1], *before = rows[0], *last = rows[1], *now = rows[2], *t;

	if (a_len > LONGEST)
		a_len = LONGEST;
	if (b_len > LONGEST)
		b_len = LONGEST;
	for (unsigned j = 0; j <= b_len; j++)
		last[j] = j;
	memcpy(before, last, sizeof rows[0]);
	for (unsigned i = 1; i <= a_len; i++) {
		now[0] = i;
		for (unsigned j = 1; j <= b_len; j++) {
			now[j] = min(min(last[j], now[j - 1]) + 1, last[j - 1] + (a[i - 1] != b[j - 1]));
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
				now[j] = min(now[j], before[j - 2] + 1);
		}
		t = before;
		before = last;
		last = now;
		now = t;
	}
	return last[b_len];
}
