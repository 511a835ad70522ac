/* One document, two parsers: ours and jansson. They must agree on accepting it
 * (but for our limits) and on everything in it. For the unit test and the
 * fuzzer. */
#ifndef UNIT_COMMON_JSON_TWIN_H
#define UNIT_COMMON_JSON_TWIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "common/arena.h"
#include "common/buf.h"

enum { TWIN_LIMIT = 1 << 26 };

static inline void twin_text(struct buf *b, char kind, const char *text, size_t len)
{
	buf_printf(b, "%c%zu:", kind, len);
	buf_add(b, text, len);
}

/* All that jansson reads in the document, as text. False: it refuses. */
bool twin_jansson(const char *data, size_t len, struct buf *b);
/* What differs, in words; NULL: nothing. */
const char *twin_check(const char *data, size_t len, struct arena *arena);

#endif
