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
	if (s->has_graph)
		graph_scratch_fini(&s->graph);
	free(s->query);
	free(s->sum);
	free(s->hits);
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

enum err scratch_near(struct scratch *s, size_t hits, struct fault *f)
{
	if (!s->has_graph)
		graph_scratch_init(&s->graph);
	s->has_graph = true;
	if (!s->query)
		s->query = aligned_alloc(64, EG_CODE_DIMS_MAX * sizeof *s->query);
	if (!s->sum)
		s->sum = aligned_alloc(64, EG_CODE_DIMS_MAX * sizeof *s->sum);
	if (!s->query || !s->sum || (hits > s->hits_cap && !GROW(s->hits, hits)))
		return err_set(f, EG_E_OVERLOADED, NULL, NULL, "no memory to search for %zu memories", hits);
	s->hits_cap = hits > s->hits_cap ? hits : s->hits_cap;
	return EG_E_OK;
}
