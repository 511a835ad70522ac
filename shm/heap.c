/* The heap's allocator, see heap_write.h.
 *
 * Sizes: 64 x {1..8}, then eight steps to each doubling up to 128 KiB; larger
 * blocks take whole chunks. Waste is at most one eighth, plus the tail of a chunk.
 */
#include <stdlib.h>
#include <string.h>

#include "common/fault.h"
#include "shm/heap_write.h"

#define EG_HEAP_LARGEST ((size_t)128 << 10)
#define EG_SIZE_NONE 0xffu             /* chunk is free */
#define EG_SIZE_LARGE 0xfeu            /* first chunk of a large block */
#define EG_SIZE_MORE 0xfdu             /* further chunk of one */

/* Units of 64 bytes: 1..8, then 8 steps per doubling. */
static unsigned size_class(size_t n)
{
	size_t units = (n + 63) / 64;
	unsigned shift = 0;

	if (units <= 8)
		return units ? (unsigned)units - 1 : 0;
	while ((units - 1) >> (shift + 4) != 0)
		shift++;
	return 8 + shift * 8 + (unsigned)(((units - 1) >> shift) - 8);
}

static size_t class_bytes(unsigned c)
{
	if (c < 8)
		return (size_t)(c + 1) * 64;
	return (size_t)((c % 8) + 9) << ((c - 8) / 8 + 6);
}

static size_t large_chunks(size_t n) { return (n + EG_HEAP_CHUNK - 1) / EG_HEAP_CHUNK; }

size_t heap_block_bytes(size_t n)
{
	return n <= EG_HEAP_LARGEST ? class_bytes(size_class(n)) : large_chunks(n) * EG_HEAP_CHUNK;
}

static uint64_t chunk_offset(uint32_t chunk) { return EG_HEAP_BASE + (uint64_t)chunk * EG_HEAP_CHUNK; }

static void push(struct heap_list *l, uint64_t offset)
{
	if (l->n == l->cap) {
		l->cap = l->cap ? l->cap * 2 : 64;
		l->at = realloc(l->at, l->cap * sizeof *l->at);
		EG_ASSERT(l->at != NULL);
	}
	l->at[l->n++] = offset;
}

void heap_init(struct heap *h, struct region *region)
{
	memset(h, 0, sizeof *h);
	h->region = region;
}

void heap_fini(struct heap *h)
{
	for (unsigned i = 0; i < EG_HEAP_SIZES; i++)
		free(h->free[i].at);
	free(h->chunks.at);
	free(h->size_of);
	free(h->used);
	memset(h, 0, sizeof *h);
}

static void know_chunks(struct heap *h, uint32_t n)
{
	if (n > h->cap_chunks) {
		uint32_t cap = n + n / 2 + 64;

		h->size_of = realloc(h->size_of, cap);
		EG_ASSERT(h->size_of != NULL);
		h->cap_chunks = cap;
	}
	if (n > h->n_chunks)
		memset(h->size_of + h->n_chunks, EG_SIZE_NONE, n - h->n_chunks);
	h->n_chunks = n;
}

/* New chunks at the end of the region: grow by a sixteenth at least, so that a
 * large store grows in large steps. */
static enum err more_chunks(struct heap *h, uint32_t n, uint32_t *first, struct fault *f)
{
	uint64_t grown = region_grown(h->region), end = chunk_offset(h->n_chunks + n);
	enum err e = EG_E_OK;

	if (end > grown) {
		e = region_grow(h->region, end > grown + grown / 16 ? end : grown + grown / 16, f);
		if (e != EG_E_OK)
			e = region_grow(h->region, end, f);
	}
	if (e != EG_E_OK)
		return e;
	*first = h->n_chunks;
	know_chunks(h, h->n_chunks + n);
	return EG_E_OK;
}

static enum err alloc_large(struct heap *h, size_t n, uint64_t *offset, struct fault *f)
{
	uint32_t want = (uint32_t)large_chunks(n), run = 0, first;
	enum err e;

	for (uint32_t c = 0; c < h->n_chunks && run < want; c++)
		if (h->size_of[c] == EG_SIZE_NONE)
			first = ++run == 1 ? c : first;
		else
			run = 0;
	if (run < want) {
		e = more_chunks(h, want, &first, f);
		if (e != EG_E_OK)
			return e;
	} else {
		size_t kept = 0;

		for (size_t i = 0; i < h->chunks.n; i++) {
			uint32_t c = (uint32_t)h->chunks.at[i];

			if (c < first || c >= first + want)
				h->chunks.at[kept++] = c;
		}
		h->chunks.n = kept;
	}
	memset(h->size_of + first, EG_SIZE_MORE, want);
	h->size_of[first] = EG_SIZE_LARGE;
	*offset = chunk_offset(first);
	h->live_bytes += want * EG_HEAP_CHUNK;
	FAULT(HEAP_LARGE);
	return EG_E_OK;
}

enum err heap_alloc(struct heap *h, size_t n, uint64_t *offset, struct fault *f)
{
	unsigned c = size_class(n);
	uint32_t chunk;
	size_t bytes;

	if (n > EG_HEAP_LARGEST)
		return alloc_large(h, n, offset, f);
	bytes = class_bytes(c);
	if (h->free[c].n == 0) {
		if (h->chunks.n > 0) {
			chunk = (uint32_t)h->chunks.at[--h->chunks.n];
		} else {
			enum err e = more_chunks(h, 1, &chunk, f);

			if (e != EG_E_OK)
				return e;
		}
		h->size_of[chunk] = (uint8_t)c;
		for (size_t i = EG_HEAP_CHUNK / bytes; i-- > 0;)
			push(&h->free[c], chunk_offset(chunk) + i * bytes);
		FAULT(HEAP_CHUNK);
	}
	*offset = h->free[c].at[--h->free[c].n];
	h->live_bytes += bytes;
	FAULT(HEAP_TAKEN);
	return EG_E_OK;
}

void heap_free(struct heap *h, uint64_t offset, size_t n)
{
	uint32_t chunk = (uint32_t)((offset - EG_HEAP_BASE) / EG_HEAP_CHUNK);

	EG_ASSERT(offset >= EG_HEAP_BASE && chunk < h->n_chunks);
	h->live_bytes -= heap_block_bytes(n);
	FAULT(HEAP_FREED);
	if (n <= EG_HEAP_LARGEST) {
		EG_ASSERT(h->size_of[chunk] == size_class(n));
		push(&h->free[size_class(n)], offset);
		return;
	}
	EG_ASSERT(h->size_of[chunk] == EG_SIZE_LARGE);
	for (uint32_t i = 0; i < large_chunks(n); i++) {
		h->size_of[chunk + i] = EG_SIZE_NONE;
		push(&h->chunks, chunk + i);
	}
}

void heap_scan_begin(struct heap *h)
{
	uint64_t grown = region_grown(h->region);

	for (unsigned i = 0; i < EG_HEAP_SIZES; i++)
		h->free[i].n = 0;
	h->chunks.n = 0;
	h->n_chunks = 0;
	know_chunks(h, grown > EG_HEAP_BASE ? (uint32_t)((grown - EG_HEAP_BASE) / EG_HEAP_CHUNK) : 0);
	free(h->used);
	h->used = calloc(1, (size_t)h->n_chunks * (EG_HEAP_CHUNK / 64 / 8) + 1);
	EG_ASSERT(h->used != NULL);
	h->live_bytes = 0;
	FAULT(HEAP_SCAN_BEGUN);
}

void heap_scan_mark(struct heap *h, uint64_t offset, size_t n)
{
	uint32_t chunk = (uint32_t)((offset - EG_HEAP_BASE) / EG_HEAP_CHUNK);
	size_t unit = (offset - EG_HEAP_BASE) / 64;

	EG_ASSERT(offset >= EG_HEAP_BASE && chunk < h->n_chunks);
	h->live_bytes += heap_block_bytes(n);
	if (n > EG_HEAP_LARGEST) {
		memset(h->size_of + chunk, EG_SIZE_MORE, large_chunks(n));
		h->size_of[chunk] = EG_SIZE_LARGE;
		return;
	}
	EG_ASSERT(h->size_of[chunk] == EG_SIZE_NONE || h->size_of[chunk] == size_class(n));
	EG_ASSERT((h->used[unit / 8] & 1u << unit % 8) == 0);
	h->size_of[chunk] = (uint8_t)size_class(n);
	h->used[unit / 8] |= (uint8_t)(1u << unit % 8);
}

void heap_scan_end(struct heap *h)
{
	for (uint32_t chunk = 0; chunk < h->n_chunks; chunk++) {
		unsigned c = h->size_of[chunk];

		if (c == EG_SIZE_NONE)
			push(&h->chunks, chunk);
		if (c >= EG_HEAP_SIZES)
			continue;
		for (size_t i = EG_HEAP_CHUNK / class_bytes(c); i-- > 0;) {
			uint64_t offset = chunk_offset(chunk) + i * class_bytes(c);
			size_t unit = (offset - EG_HEAP_BASE) / 64;

			if ((h->used[unit / 8] & 1u << unit % 8) == 0)
				push(&h->free[c], offset);
		}
	}
	free(h->used);
	h->used = NULL;
	FAULT(HEAP_SCAN_ENDED);
}
