/* The strict check of a request's head, without a server: raw heads, the walk
 * over what libmicrohttpd left of them, media types, Host. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "workers/api/guard.h"
#include "workers/api/rawhead.h"

/* ---- raw heads */

static enum err raw(const char *head, size_t n)
{
	struct fault f = { .err = EG_E_OK };
	size_t end = rawhead_end(head, n, 0);
	enum err e;

	assert_int_equal(end, n);
	e = rawhead_check(head, end, &f);
	assert_int_equal(e, f.err);
	return e;
}
#define RAW(text) raw(text, sizeof text - 1)
#define START "GET / HTTP/1.1\r\n"

static void raw_heads(void **state)
{
	(void)state;
	assert_int_equal(RAW(START "Host: a\r\n\r\n"), EG_E_OK);
	assert_int_equal(RAW("\r\n\r\n" START "Host: a\r\n\r\n"), EG_E_OK);
	assert_int_equal(RAW(START "Content-Length: 17\r\n\r\n"), EG_E_OK);
	assert_int_equal(RAW(START "X:\r\n\r\n"), EG_E_OK);
	assert_int_equal(RAW("GET / HTTP/1.1\nHost: a\n\n"), EG_E_REQUEST);
	assert_int_equal(RAW(START "X: a\nContent-Length: 5\r\n\r\n"), EG_E_REQUEST);
	assert_int_equal(RAW(START "X: a\r\n b\r\n\r\n"), EG_E_REQUEST);
	assert_int_equal(RAW(START "X : a\r\n\r\n"), EG_E_REQUEST);
	assert_int_equal(RAW(START "Broken\r\n\r\n"), EG_E_REQUEST);
	assert_int_equal(RAW(START ": a\r\n\r\n"), EG_E_REQUEST);
	assert_int_equal(RAW(START "X: a\0b\r\n\r\n"), EG_E_REQUEST);
	assert_int_equal(RAW(START "X: a\rb\r\n\r\n"), EG_E_REQUEST);
	assert_int_equal(RAW(START "Content-Length: +5\r\n\r\n"), EG_E_REQUEST);
	assert_int_equal(RAW(START "Content-Length: 5, 5\r\n\r\n"), EG_E_REQUEST);
	assert_int_equal(RAW(START "Content-Length:\r\n\r\n"), EG_E_REQUEST);
	assert_int_equal(RAW(START "Content-Length: 18446744073709551621\r\n\r\n"), EG_E_REQUEST);
	assert_int_equal(RAW("GET  / HTTP/1.1\r\n\r\n"), EG_E_REQUEST);
	assert_int_equal(RAW("GET /a b HTTP/1.1\r\n\r\n"), EG_E_REQUEST);
	assert_int_equal(RAW("GET / HTTP/2.0\r\n\r\n"), EG_E_REQUEST);
	assert_int_equal(RAW("GET /\r\n\r\n"), EG_E_REQUEST);
}

static void raw_end(void **state)
{
	static const char head[] = START "Host: a\r\n\r\nbody";
	size_t n = sizeof START "Host: a\r\n\r\n" - 1;

	(void)state;
	for (size_t i = 0; i < n; i++)
		for (size_t from = 0; from <= i; from++)
			assert_int_equal(rawhead_end(head, i, from), 0);
	for (size_t i = n; i < sizeof head; i++)
		for (size_t from = 0; from < n; from++)
			assert_int_equal(rawhead_end(head, i, from), n);
	assert_int_equal(rawhead_end("\r\n\r\n", 4, 0), 0);
}

static enum err chunk(const char *body)
{
	static const char head[] = "POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n";
	char all[4096];
	struct fault f;

	strcpy(all, head);
	strcat(all, body);
	return rawhead_chunk(all, sizeof head - 1, strlen(body), 1 << 20, &f);
}

static void first_chunk(void **state)
{
	char line[2048];

	(void)state;
	assert_int_equal(chunk(""), EG_E_OK);
	assert_int_equal(chunk("1"), EG_E_OK);
	assert_int_equal(chunk("1b\r\nx"), EG_E_OK);
	assert_int_equal(chunk("100000;a=b\r\nx"), EG_E_OK);
	assert_int_equal(chunk("100001\r\n"), EG_E_TOO_LARGE);
	assert_int_equal(chunk("fffffffffffffffffff"), EG_E_TOO_LARGE);
	assert_int_equal(chunk("1 b\r\n"), EG_E_REQUEST);
	assert_int_equal(chunk("\r\n"), EG_E_REQUEST);
	assert_int_equal(chunk("+5\r\n"), EG_E_REQUEST);
	assert_int_equal(chunk("5\n"), EG_E_REQUEST);
	memset(line, 'a', sizeof line);
	line[0] = '1';
	line[1] = ';';
	line[sizeof line - 1] = '\0';
	assert_int_equal(chunk(line), EG_E_REQUEST);
}

/* ---- the walk: heads cut as the library does it */

struct cut {
	char head[512];
	size_t n;
	struct guard guard;
	struct request *request;
	const char *target, *version;
};

static void begin(struct cut *c, const char *head, size_t n, struct request *r)
{
	memset(c, 0, sizeof *c);
	memcpy(c->head, head, n);
	c->n = n;
	c->request = r;
	char *blank = memchr(c->head, ' ', n), *second = memchr(blank + 1, ' ', n);
	*blank = *second = '\0';
	c->target = blank + 1;
	c->version = second + 1;
}

/* Replace what ends a token, then tell the guard each header. */
static enum err walk(struct cut *c)
{
	char *at = c->head + (c->version - c->head), *end = c->head + c->n, *lf = memchr(at, '\n', (size_t)(end - at));

	lf[-1] == '\r' ? (void)(lf[-1] = '\0') : (void)0;
	*lf = '\0';
	guard_begin(&c->guard, c->version, c->head, c->n, c->target, strlen(c->target));
	for (at = lf + 1; at < end; at = lf + 1) {
		lf = memchr(at, '\n', (size_t)(end - at));
		if (lf > at && lf[-1] == '\r')
			lf[-1] = '\0';
		*lf = '\0';
		if (!*at)
			break;
		char *colon = strchr(at, ':'), *value = colon + 1;
		*colon = '\0';
		while (*value == ' ' || *value == '\t')
			value++;
		guard_field(&c->guard, c->request, at, strlen(at), value, strlen(value));
	}
	return guard_end(&c->guard);
}

static enum err guarded(const char *head, size_t n)
{
	struct request *r = calloc(1, sizeof *r);
	struct cut c;
	enum err e;

	arena_init(&r->arena, 1024, 65536);
	begin(&c, head, n, r);
	e = walk(&c);
	arena_fini(&r->arena);
	free(r);
	return e;
}
#define GUARDED(text) guarded(text, sizeof text - 1)

static void walks(void **state)
{
	(void)state;
	assert_int_equal(GUARDED(START "Host: a\r\n\r\n"), EG_E_OK);
	assert_int_equal(GUARDED(START "Host:a\r\nX-Memory-Space: b \r\nY:\t\r\n\r\n"), EG_E_OK);
	assert_int_equal(GUARDED(START "Host: a\nX: b\r\n\r\n"), EG_E_REQUEST);
	assert_int_equal(GUARDED("GET / HTTP/1.1\nHost: a\r\n\r\n"), EG_E_REQUEST);
	assert_int_equal(GUARDED(START "Host: a\r\n\n"), EG_E_REQUEST);
	assert_int_equal(GUARDED(START "Host: a\r\nX: a\0b\r\n\r\n"), EG_E_REQUEST);
	assert_int_equal(GUARDED(START "Host: a\r\nX: a\0\r\n\r\n"), EG_E_REQUEST);
	assert_int_equal(GUARDED("GET /a\0b HTTP/1.1\r\nHost: a\r\n\r\n"), EG_E_REQUEST);
	assert_int_equal(GUARDED("GET / HTTP/1.2\r\nHost: a\r\n\r\n"), EG_E_REQUEST);
}

static void framing(void **state)
{
	(void)state;
	assert_int_equal(GUARDED(START "X: a\r\n\r\n"), EG_E_REQUEST);
	assert_int_equal(GUARDED("GET / HTTP/1.0\r\nX: a\r\n\r\n"), EG_E_OK);
	assert_int_equal(GUARDED(START "Host: a\r\nHost: a\r\n\r\n"), EG_E_REQUEST);
	assert_int_equal(GUARDED(START "Host: a\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n"), EG_E_REQUEST);
	assert_int_equal(GUARDED(START "Host: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"), EG_E_REQUEST);
	assert_int_equal(GUARDED(START "Host: a\r\nTransfer-Encoding: CHUNKED\r\n\r\n"), EG_E_OK);
	assert_int_equal(GUARDED(START "Host: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n"), EG_E_REQUEST);
	assert_int_equal(GUARDED(START "Host: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n"), EG_E_REQUEST);
	assert_int_equal(GUARDED("GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"), EG_E_REQUEST);
	assert_int_equal(GUARDED(START "Host: a\r\nX-Memory-Space: a\r\nX-Memory-Space: a\r\n\r\n"), EG_E_REQUEST);
	assert_int_equal(GUARDED(START "Host: a\r\nX-Memory-Space: \xff\r\n\r\n"), EG_E_REQUEST);
}

/* ---- bodies and Host */

static enum err body(const char *type, const char *encoding, uint64_t length)
{
	struct guard g = { .content_length = length };

	if (type)
		g.type = (struct text){ type, strlen(type) };
	if (encoding)
		g.encoding = (struct text){ encoding, strlen(encoding) };
	return guard_body(&g, 1 << 20);
}

static void bodies(void **state)
{
	(void)state;
	assert_int_equal(body("application/json", NULL, 1 << 20), EG_E_OK);
	assert_int_equal(body("Application/JSON; charset=UTF-8", "identity", 1), EG_E_OK);
	assert_int_equal(body("application/json ;", NULL, 1), EG_E_OK);
	assert_int_equal(body(NULL, NULL, 1), EG_E_MEDIA);
	assert_int_equal(body("application/jsonx", NULL, 1), EG_E_MEDIA);
	assert_int_equal(body("application/json; charset=utf-16", NULL, 1), EG_E_MEDIA);
	assert_int_equal(body("application/json", "gzip", 1), EG_E_MEDIA);
	assert_int_equal(body("application/json", NULL, (1 << 20) + 1), EG_E_TOO_LARGE);
}

static bool accepts(const char *header, const char *type)
{
	struct text t = { header, header ? strlen(header) : 0 };

	return guard_accepts(&t, type);
}

static void accept(void **state)
{
	static const char json[] = "application/json", plain[] = "text/plain";
	static const char browser[] = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
	static const char scraper[] = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.2";

	(void)state;
	assert_true(accepts(NULL, json));
	assert_true(accepts("", json));
	assert_true(accepts("*/*", json));
	assert_true(accepts("Application/JSON", json));
	assert_true(accepts("application/*", json));
	assert_true(accepts("text/html , application/json ; q=0.1", json));
	assert_true(accepts(browser, json));
	assert_true(accepts(scraper, plain));
	assert_false(accepts(scraper, json));
	assert_false(accepts("text/html", json));
	assert_false(accepts("application", json));
	assert_false(accepts("application/jsonx", json));
	assert_false(accepts("application/json;q=0", json));
	assert_false(accepts("application/json;q=0.000, */*", json));
	assert_true(accepts("application/*;q=0, application/json", json));
	assert_false(accepts("application/json", plain));
	assert_false(accepts(",,;", json));
}

static bool host(const struct guard_hosts *h, const char *name)
{
	return guard_hosts_allow(h, name, strlen(name));
}

static void hosts(void **state)
{
	char listen1[] = "192.0.2.7:80", listen2[] = "[2001:db8::1]:80", name[] = "Memory.Example", *listens[] = { listen1, listen2 }, *names[] = { name };
	struct config c = { .server_listen = { listens, 2 }, .server_allowed_hosts = { names, 1 } };
	struct guard_hosts h;
	struct fault f;

	(void)state;
	assert_int_equal(guard_hosts_init(&h, &c, &f), EG_E_OK);
	assert_true(host(&h, "localhost"));
	assert_true(host(&h, "127.0.0.1:7432"));
	assert_true(host(&h, "127.9.9.9"));
	assert_true(host(&h, "[::1]:7432"));
	assert_true(host(&h, "192.0.2.7:80"));
	assert_true(host(&h, "[2001:db8::1]"));
	assert_true(host(&h, "memory.example:443"));
	assert_false(host(&h, ""));
	assert_false(host(&h, "rebind.example"));
	assert_false(host(&h, "192.0.2.8"));
	assert_false(host(&h, "localhost/x"));
	assert_false(host(&h, "a@localhost"));
	assert_false(host(&h, "localhost, localhost"));
	assert_false(host(&h, "localhost:123456"));
	assert_false(host(&h, "localhost:8x"));
	h.any_address = true;
	assert_true(host(&h, "192.0.2.8"));
	assert_false(host(&h, "rebind.example"));
	guard_hosts_fini(&h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(raw_heads), cmocka_unit_test(raw_end), cmocka_unit_test(first_chunk), cmocka_unit_test(walks), cmocka_unit_test(framing),
		cmocka_unit_test(bodies), cmocka_unit_test(accept), cmocka_unit_test(hosts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
