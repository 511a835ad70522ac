/* Hashes that are on disk: ids, terms, fingerprints. Never change them.
 *
 * hash64 is XXH64 (Yann Collet; algorithm as published in doc/xxhash_spec.md of
 * the xxHash project), written anew. Not against an adversary who chooses keys
 * to collide: whoever uses it for a table bounds the probes.
 */
#ifndef COMMON_HASH_H
#define COMMON_HASH_H

#include <stddef.h>
#include <stdint.h>

uint64_t hash64(const void *data, size_t len, uint64_t seed);

struct hash128 { uint64_t hi, lo; };
/* Two hash64 with two fixed seeds. */
struct hash128 hash128(const void *data, size_t len);

/* A bijection of 64 bits that spreads small integers (murmur3's finaliser). */
static inline uint64_t hash_mix(uint64_t x)
{
	x = (x ^ x >> 33) * UINT64_C(0xff51afd7ed558ccd);
	x = (x ^ x >> 33) * UINT64_C(0xc4ceb9fe1a85ec53);
	return x ^ x >> 33;
}

#endif
