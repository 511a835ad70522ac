/* Memories for measurements: N lines for `engram import`, each with a text of a
 * dozen words and an embedding, the same for the same numbers. Vectors are drawn in two halves
 * from a pool of formatted ones, so that printing them costs nothing.
 *
 *	contrib/bench/ndjson N [DIMENSION [SEED]] | engram import -
 *
 * Must never become a test's source of truth: what is stored is checked elsewhere.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { POOL = 2048, WORDS = 12, WORD_KINDS = 20000, FLOAT_MAX_CHARS = 10 };

static uint64_t state;

static uint64_t next(void)             /* xorshift64* */
{
	state ^= state >> 12;
	state ^= state << 25;
	state ^= state >> 27;
	return state * UINT64_C(0x2545f4914f6cdd1d);
}

static unsigned below(unsigned n) { return (unsigned)((next() >> 32) * n >> 32); }

static char *half_vector(unsigned floats)
{
	char *text = malloc(floats * FLOAT_MAX_CHARS + 1), *at = text;

	if (text == NULL)
		exit(1);
	*at = '\0';
	for (unsigned i = 0; i < floats; i++)
		at += sprintf(at, "%s%.4f", i ? "," : "", (double)below(20001) / 10000 - 1);
	return text;
}

int main(int argc, char **argv)
{
	unsigned long n = argc > 1 ? strtoul(argv[1], NULL, 10) : 0;
	unsigned dim = argc > 2 ? (unsigned)strtoul(argv[2], NULL, 10) : 128;
	char *first[POOL], *second[POOL];

	state = (argc > 3 ? strtoull(argv[3], NULL, 10) : 1) * UINT64_C(0x9e3779b97f4a7c15) | 1;
	if (n == 0 || dim < 2) {
		fprintf(stderr, "usage: ndjson N [DIMENSION [SEED]]\n");
		return 64;
	}
	for (unsigned i = 0; i < POOL; i++) {
		first[i] = half_vector(dim / 2);
		second[i] = half_vector(dim - dim / 2);
	}
	for (unsigned long i = 0; i < n; i++) {
		printf("{\"id\":\"m%lu\",\"content\":\"", i);
		for (unsigned k = 0; k < WORDS; k++)
			printf("%sw%u", k ? " " : "", below(WORD_KINDS));
		printf("\",\"embedding\":[%s,%s]}\n", first[below(POOL)], second[below(POOL)]);
	}
	return fflush(stdout) == 0 ? 0 : 74;
}
