/* Blocks double in size, so a request takes few of them; the first one is kept
 * over resets, so most requests take none. With sanitizers the free part of
 * every block is poisoned: reading past an allocation, or after the reset, is
 * reported. */
#include "common/arena.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/err.h"

#ifdef EG_SANITIZE
#include <sanitizer/asan_interface.h>
#define POISON(p, n) ASAN_POISON_MEMORY_REGION(p, n)
#define UNPOISON(p, n) ASAN_UNPOISON_MEMORY_REGION(p, n)
#define GAP 16                     /* poisoned bytes between allocations */
#else
#define POISON(p, n) ((void)(p), (void)(n))
#define UNPOISON(p, n) ((void)(p), (void)(n))
#define GAP 0
#endif

enum { ALIGN = 16, SMALLEST = 256 };

struct arena_block {
	struct arena_block *next;
	size_t bytes;              /* of data */
	char data[] __attribute__((aligned(ALIGN)));
};

void arena_init(struct arena *a, size_t first_bytes, size_t limit_bytes)
{
	*a = (struct arena){
		.first_bytes = first_bytes < SMALLEST ? SMALLEST : first_bytes,
		.limit_bytes = limit_bytes,
	};
}

static void enter(struct arena *a, struct arena_block *b)
{
	a->at = b;
	a->next = b->data;
	a->end = b->data + b->bytes;
	POISON(b->data, b->bytes);
}

static void drop(struct arena *a, struct arena_block *b)
{
	while (b != NULL) {
		struct arena_block *next = b->next;

		a->held_bytes -= sizeof *b + b->bytes;
		UNPOISON(b->data, b->bytes);
		free(b);
		b = next;
	}
}

void arena_reset(struct arena *a)
{
	if (a->first == NULL)
		return;
	drop(a, a->first->next);
	a->first->next = NULL;
	enter(a, a->first);
}

void arena_fini(struct arena *a)
{
	drop(a, a->first);
	arena_init(a, a->first_bytes, a->limit_bytes);
}

/* A new block of at least `bytes`: twice the latest one, less near the limit. */
static bool grow(struct arena *a, size_t bytes)
{
	size_t room = a->limit_bytes - a->held_bytes, size;
	struct arena_block *b;

	if (room < sizeof *b || room - sizeof *b < bytes)
		return false;
	size = a->at == NULL ? a->first_bytes : a->at->bytes * 2;
	if (size < bytes)
		size = bytes;
	if (size > room - sizeof *b)
		size = room - sizeof *b;
	b = malloc(sizeof *b + size);
	if (b == NULL)
		return false;
	b->next = NULL;
	b->bytes = size;
	a->held_bytes += sizeof *b + size;
	*(a->at == NULL ? &a->first : &a->at->next) = b;
	enter(a, b);
	return true;
}

void *arena_alloc(struct arena *a, size_t bytes)
{
	size_t want = (bytes + GAP + ALIGN - 1) & ~(size_t)(ALIGN - 1);
	char *p;

	if (want < bytes)
		return NULL;
	if (a->next == NULL || (size_t)(a->end - a->next) < want) {
		if (!grow(a, want))
			return NULL;
	}
	p = a->next;
	a->next += want;
	UNPOISON(p, bytes);
	return p;
}

void *arena_array(struct arena *a, size_t n, size_t bytes)
{
	size_t all;
	void *p;

	if (__builtin_mul_overflow(n, bytes, &all))
		return NULL;
	p = arena_alloc(a, all);
	if (p != NULL)
		memset(p, 0, all);
	return p;
}

char *arena_strndup(struct arena *a, const char *text, size_t len)
{
	char *p = len < SIZE_MAX ? arena_alloc(a, len + 1) : NULL;

	if (p == NULL)
		return NULL;
	if (len > 0)
		memcpy(p, text, len);
	p[len] = '\0';
	return p;
}

void *arena_alloc_cb(void *arena, size_t bytes)
{
	return arena_alloc(arena, bytes);
}

void arena_free_cb(void *arena, void *p)
{
	(void)arena;
	(void)p;
}
