/* Growing the arrays of a scan together, see scratch.h. */
#include "workers/mind/scratch.h"

#include <stdlib.h>
#include <string.h>

struct scratch *scratch_new(void)
{
	return calloc(1, sizeof(struct scratch));
}

void scratch_free(struct scratch *s)
{
	if (!s)
		return;
	free(s->found);
	free(s->lexical);
	free(s->cosine);
	free((void *)s->rows);
	free(s->row_of);
	free(s);
}

#define GROW(array, n) grow((void **)&(array), (n), sizeof *(array))

/* False when memory is short; the old array stays. */
static bool grow(void **array, size_t n, size_t bytes)
{
	void *new = reallocarray(*array, n, bytes);

	if (!new)
		return false;
	*array = new;
	return true;
}

enum err scratch_reserve(struct scratch *s, size_t n, struct fault *f)
{
	size_t cap = s->cap ? s->cap : 1024;

	if (n <= s->cap)
		return EG_E_OK;
	while (cap < n)
		cap += cap / 2;
	if (!GROW(s->found, cap) || !GROW(s->lexical, cap) || !GROW(s->cosine, cap) ||
	    !GROW(s->rows, cap) || !GROW(s->row_of, cap))
		return err_set(f, EG_E_OVERLOADED, NULL, NULL, "no memory to scan %zu memories", n);
	s->cap = cap;
	return EG_E_OK;
}
