/* "Did you mean": how far two names are apart. */
#ifndef COMMON_NEAREST_H
#define COMMON_NEAREST_H

#include <stddef.h>

/* Insertions, deletions, exchanges and swaps of neighbours that make b of a
 * (optimal string alignment). Of long names only the first 64 bytes count. */
unsigned nearest_distance(const char *a, size_t a_len, const char *b, size_t b_len);

#endif
