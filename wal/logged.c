/* Logged, see the header: a list, sorted when first asked. */
#include "wal/logged.h"

#include <stdlib.h>
#include <string.h>

#include "common/err.h"

void logged_add(struct logged *l, const struct record *r, bool commit)
{
	if (l->n == l->cap) {
		l->cap = l->cap ? l->cap * 2 : 256;
		l->at = realloc(l->at, l->cap * sizeof *l->at);
		EG_ASSERT(l->at != NULL);
	}
	l->at[l->n++] = (struct logged_op){ .entry = r->entry, .lsn = r->lsn, .version = r->version,
		.producer = r->producer, .op = r->op, .commit = commit };
	l->sorted = false;
}

static int compare(const void *pa, const void *pb)
{
	const struct logged_op *a = pa, *b = pb;

	if (a->producer != b->producer)
		return a->producer < b->producer ? -1 : 1;
	if (a->entry != b->entry)
		return a->entry < b->entry ? -1 : 1;
	if (a->commit != b->commit)
		return a->commit ? 1 : -1;
	return (a->op > b->op) - (a->op < b->op);
}

const struct logged_op *logged_find(struct logged *l, uint32_t producer, uint64_t entry, uint16_t op, bool commit)
{
	struct logged_op key = { .entry = entry, .producer = producer, .op = commit ? 0 : op, .commit = commit };

	if (l->n == 0)
		return NULL;
	if (!l->sorted)
		qsort(l->at, l->n, sizeof *l->at, compare);
	l->sorted = true;
	return bsearch(&key, l->at, l->n, sizeof *l->at, compare);
}

void logged_clear(struct logged *l)
{
	free(l->at);
	memset(l, 0, sizeof *l);
}
