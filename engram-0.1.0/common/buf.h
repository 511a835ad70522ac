/* A growing byte buffer with a limit: replies, log lines and keys are built
 * here.
 *
 * Errors are sticky: once an addition would pass the limit (or memory is
 * short) the buffer is `failed`, further additions do nothing, and the caller
 * looks once, at the end. The bytes are always followed by a NUL that does not
 * count, so `data` may be printed.
 */
#ifndef COMMON_BUF_H
#define COMMON_BUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/err.h"

struct buf {
	char *data;       /* NULL until the first byte */
	size_t len;       /* bytes used */
	size_t cap;       /* bytes allocated */
	size_t limit;     /* len never passes this */
	bool failed;      /* an addition was refused; the content is not complete */
};

/* An empty buffer that holds at most limit bytes. Allocates nothing yet. */
void buf_init(struct buf *b, size_t limit);
/* Give the memory back; b is then as after buf_init with the same limit. */
void buf_free(struct buf *b);
/* Empty it and clear the flag, keep the memory. */
void buf_reset(struct buf *b);

void buf_add(struct buf *b, const void *data, size_t len);
void buf_putc(struct buf *b, char c);
void buf_puts(struct buf *b, const char *text);
void buf_printf(struct buf *b, const char *fmt, ...) EG_PRINTF(2, 3);
/* Room for len more bytes, to be filled by the caller, who then adds what he
 * wrote to b->len. NULL: refused, the flag is set. */
char *buf_room(struct buf *b, size_t len);

/* A JSON string with its quotes. Bytes that are no valid UTF-8 come out as
 * U+FFFD, one for each bad byte; controls, DEL, quote and backslash escaped. */
void buf_json_string(struct buf *b, const char *text, size_t len);
void buf_json_text(struct buf *b, const char *text);    /* NUL-terminated; NULL gives null */
void buf_json_bool(struct buf *b, bool v);
void buf_json_int(struct buf *b, int64_t v);
void buf_json_uint(struct buf *b, uint64_t v);
/* The shortest decimal that reads back as the same number, whatever the
 * locale. v must be finite: JSON has no other numbers (asserted). */
void buf_json_double(struct buf *b, double v);
void buf_json_float(struct buf *b, float v);

#endif
