/* See rawhead.h. */
#include "workers/api/rawhead.h"

#include <string.h>
#include <strings.h>

#include "workers/api/guard.h"

/* Empty lines before the request line do not count (RFC 9112, 2.2). */
static size_t skip_empty(const char *bytes, size_t n)
{
	size_t at = 0;

	while (at < n && (bytes[at] == '\r' || bytes[at] == '\n'))
		at++;
	return at;
}

size_t rawhead_end(const char *bytes, size_t n, size_t from)
{
	size_t at = skip_empty(bytes, n);

	/* The end may straddle what was seen before. */
	if (from > at + 3)
		at = from - 3;
	while (at < n) {
		const char *lf = memchr(bytes + at, '\n', n - at);
		if (!lf)
			return 0;
		at = (size_t)(lf - bytes) + 1;
		if (at < n && bytes[at] == '\n')
			return at + 1;
		if (at + 1 < n && bytes[at] == '\r' && bytes[at + 1] == '\n')
			return at + 2;
	}
	return 0;
}

static enum err bad(struct fault *f, const char *field, const char *what)
{
	return err_set(f, EG_E_REQUEST, field, NULL, "%s", what);
}

/* The next line without its end; false when it does not end with CR and LF. */
static bool next_line(const char **at, const char *end, struct text *line)
{
	const char *lf = memchr(*at, '\n', (size_t)(end - *at));

	EG_ASSERT(lf);
	line->at = *at;
	line->len = (size_t)(lf - *at);
	*at = lf + 1;
	return line->len && line->at[--line->len] == '\r';
}

static enum err check_start(const struct text *line, struct fault *f)
{
	const char *end = line->at + line->len, *blank = memchr(line->at, ' ', line->len);
	const char *last = memrchr(line->at, ' ', line->len);

	if (!blank || last == blank || last == blank + 1 || memchr(blank + 1, ' ', (size_t)(last - blank - 1)))
		return bad(f, "request line", "the request line must be a method, a target and a version, with single blanks between");
	if (!guard_token(line->at, (size_t)(blank - line->at)))
		return bad(f, "method", "the method must be a token");
	if (!guard_printable(blank + 1, (size_t)(last - blank - 1)))
		return bad(f, "target", "the request target holds a control character");
	if (end - last != 9 || (memcmp(last + 1, "HTTP/1.1", 8) && memcmp(last + 1, "HTTP/1.0", 8)))
		return bad(f, "version", "the protocol version must be HTTP/1.0 or HTTP/1.1");
	return EG_E_OK;
}

static enum err check_field(const struct text *line, struct fault *f)
{
	static const char length[] = "Content-Length";
	const char *colon = memchr(line->at, ':', line->len), *value, *end = line->at + line->len;

	if (line->at[0] == ' ' || line->at[0] == '\t')
		return bad(f, "headers", "a header continues on a second line");
	if (!colon || !guard_token(line->at, (size_t)(colon - line->at)))
		return bad(f, "headers", "a header's name must be a token, directly followed by ':'");
	value = colon + 1;
	if (!guard_printable(value, (size_t)(end - value)))
		return bad(f, "headers", "a header's value holds a control character");
	if (colon - line->at != sizeof length - 1 || strncasecmp(line->at, length, sizeof length - 1))
		return EG_E_OK;
	for (; value < end && (*value == ' ' || *value == '\t'); value++)
		;
	for (; end > value && (end[-1] == ' ' || end[-1] == '\t'); end--)
		;
	if (end == value || end - value > 18)
		return bad(f, length, "Content-Length must be a decimal number of at most 18 digits");
	for (; value < end; value++)
		if (*value < '0' || *value > '9')
			return bad(f, length, "Content-Length must be a decimal number");
	return EG_E_OK;
}

enum err rawhead_check(const char *head, size_t n, struct fault *f)
{
	const char *at = head + skip_empty(head, n), *end = head + n;
	struct text line;
	enum err e;

	if (!next_line(&at, end, &line))
		return bad(f, "request line", "the request line must end with CR and LF");
	if ((e = check_start(&line, f)))
		return e;
	while (at < end) {
		if (!next_line(&at, end, &line))
			return bad(f, "headers", "a header does not end with CR and LF");
		if (line.len && (e = check_field(&line, f)))
			return e;
	}
	return EG_E_OK;
}

/* ---- the first chunk */

enum { SIZE_LINE = 1024 };             /* bytes of a size line with its extensions */

static bool is_chunked(const char *head, size_t n)
{
	static const char name[] = "Transfer-Encoding:";
	const char *at = head + skip_empty(head, n), *end = head + n;
	struct text line;

	while (at < end && next_line(&at, end, &line))
		if (line.len >= sizeof name - 1 && !strncasecmp(line.at, name, sizeof name - 1))
			return true;
	return false;
}

enum err rawhead_chunk(const char *head, size_t head_bytes, size_t n, size_t limit_bytes, struct fault *f)
{
	const char *at = head + head_bytes, *lf = memchr(at, '\n', n), *end = lf ? lf : at + n;
	uint64_t size = 0;

	if (!n || !is_chunked(head, head_bytes))
		return EG_E_OK;
	if (end - at > SIZE_LINE)
		return bad(f, "body", "the size line of the first chunk is too long");
	for (; at < end; at++) {
		char c = *at | 0x20;
		unsigned digit = c >= '0' && c <= '9' ? (unsigned)(c - '0') : c >= 'a' && c <= 'f' ? (unsigned)(c - 'a' + 10) : 16;
		if (digit == 16 || size > limit_bytes)
			break;
		size = size * 16 + digit;
	}
	if (size > limit_bytes)
		return err_set(f, EG_E_TOO_LARGE, "body", NULL, "the first chunk is larger than %zu MiB, the limit of a body", limit_bytes >> 20);
	if (lf && (at == head + head_bytes || (*at != '\r' && *at != ';')))
		return bad(f, "body", "the size of the first chunk is not a hexadecimal number");
	return EG_E_OK;
}
