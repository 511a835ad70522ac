/* See guard.h. */
#include "workers/api/guard.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/utf8.h"

static const char *const header_names[] = {
#define X(name, wire) wire,
	EG_HEADERS(X)
#undef X
};

static void refuse(struct guard *g, const char *field, const char *what)
{
	if (!g->fault.err)
		err_set(&g->fault, EG_E_REQUEST, field, NULL, "%s", what);
}

/* ---- the walk */

/* The next bytes were ended by the library with n NULs. */
static void expect_ends(struct guard *g, size_t n, const char *what)
{
	if (!g->walk || g->fault.err)
		return;
	if ((size_t)(g->end - g->at) < n || memcmp(g->at, "\0\0", n))
		refuse(g, "headers", what);
	else
		g->at += n;
}

void guard_begin(struct guard *g, const char *version, const char *head, size_t bytes,
                 const char *target, size_t target_bytes)
{
	memset(g, 0, sizeof *g);
	g->http10 = !strcmp(version, "HTTP/1.0");
	if (!g->http10 && strcmp(version, "HTTP/1.1"))
		refuse(g, "version", "the protocol version must be HTTP/1.0 or HTTP/1.1");
	if (!head)
		return;
	g->walk = true;
	g->at = version + strlen(version);
	g->end = head + bytes;
	if (target + target_bytes + 1 != version)
		refuse(g, "target", "the request line must be a method, a target without blanks or NUL, and a version, with single blanks between");
	expect_ends(g, 2, "the request line must end with CR and LF");
}

bool guard_token(const char *at, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (!isalnum((unsigned char)at[i]) && (!at[i] || !strchr("!#$%&'*+-.^_`|~", at[i])))
			return false;
	return n > 0;
}

bool guard_printable(const char *at, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (((unsigned char)at[i] < 0x20 && at[i] != '\t') || at[i] == 0x7f)
			return false;
	return true;
}

static void walk_field(struct guard *g, const char *name, size_t name_bytes, const char *value, size_t value_bytes)
{
	if (!g->walk || g->fault.err)
		return;
	if (name != g->at || (size_t)(g->end - g->at) < name_bytes + 1) {
		refuse(g, "headers", "the headers hold a folded line, a NUL or a line that does not end with CR and LF");
		return;
	}
	g->at += name_bytes + 1;
	while (g->at < g->end && (*g->at == ' ' || *g->at == '\t'))
		g->at++;
	if (value != g->at || (size_t)(g->end - g->at) < value_bytes) {
		refuse(g, "headers", "the headers hold a folded line");
		return;
	}
	g->at += value_bytes;
	expect_ends(g, 2, "a header holds a NUL or does not end with CR and LF");
}

/* ---- single headers */

static bool same(const char *at, size_t n, const char *name)
{
	return strlen(name) == n && !strncasecmp(at, name, n);
}

/* v without the blanks behind it; text promises a NUL there. */
static struct text trimmed(struct guard *g, struct request *r, struct text v)
{
	if (v.at[v.len]) {
		v.at = arena_strndup(&r->arena, v.at, v.len);
		if (!v.at) {
			refuse(g, "headers", "the headers are too large");
			return (struct text){ "", 0 };
		}
	}
	return v;
}

static void keep(struct guard *g, struct request *r, const char *name, size_t n, struct text v)
{
	for (unsigned i = 0; i < HEADERS; i++) {
		if (!same(name, n, header_names[i]))
			continue;
		if (r->header[i].at)
			refuse(g, header_names[i], "this header is given twice");
		else if (utf8_valid(v.at, v.len) != v.len)
			refuse(g, header_names[i], "this header is not valid UTF-8");
		r->header[i] = trimmed(g, r, v);
		return;
	}
}

void guard_field(struct guard *g, struct request *r, const char *name, size_t name_bytes,
                 const char *value, size_t value_bytes)
{
	struct text v = { value, value_bytes };

	walk_field(g, name, name_bytes, value, value_bytes);
	if (!guard_token(name, name_bytes))
		refuse(g, "headers", "a header's name must be a token, directly followed by ':'");
	if (!guard_printable(value, value_bytes))
		refuse(g, "headers", "a header's value holds a control character");
	while (v.len && (v.at[v.len - 1] == ' ' || v.at[v.len - 1] == '\t'))
		v.len--;
	if (same(name, name_bytes, "Host")) {
		g->n_host++;
		g->host = v;
	} else if (same(name, name_bytes, "Content-Length")) {
		g->n_length++;
		g->length = v;
	} else if (same(name, name_bytes, "Transfer-Encoding")) {
		g->n_coding++;
		g->coding = v;
	} else if (same(name, name_bytes, "Content-Type")) {
		g->type = v;
	} else if (same(name, name_bytes, "Content-Encoding")) {
		g->encoding = v;
	} else {
		keep(g, r, name, name_bytes, v);
	}
}

/* ---- the whole */

static void judge_length(struct guard *g)
{
	if (g->n_length > 1)
		refuse(g, "Content-Length", "Content-Length is given twice");
	if (g->n_length && g->n_coding)
		refuse(g, "Transfer-Encoding", "Content-Length and Transfer-Encoding exclude each other");
	if (!g->n_length || g->fault.err)
		return;
	for (size_t i = 0; i < g->length.len; i++) {
		unsigned digit = (unsigned char)g->length.at[i] - '0';
		if (digit > 9 || g->content_length > ((uint64_t)INT64_MAX - digit) / 10) {
			refuse(g, "Content-Length", "Content-Length must be a decimal number that fits in 63 bits");
			return;
		}
		g->content_length = g->content_length * 10 + digit;
	}
	if (!g->length.len)
		refuse(g, "Content-Length", "Content-Length is empty");
}

enum err guard_end(struct guard *g)
{
	expect_ends(g, 2, "the headers must end with an empty line of CR and LF");
	if (g->walk && !g->fault.err && g->at != g->end)
		refuse(g, "headers", "the headers hold a NUL or a line that does not end with CR and LF");
	if (g->n_host > 1)
		refuse(g, "Host", "Host is given twice");
	if (!g->n_host && !g->http10)
		refuse(g, "Host", "Host is missing");
	if (g->n_coding > 1 || (g->n_coding && !same(g->coding.at, g->coding.len, "chunked")))
		refuse(g, "Transfer-Encoding", "the only transfer coding that is understood is \"chunked\", once");
	if (g->n_coding && g->http10)
		refuse(g, "Transfer-Encoding", "HTTP/1.0 has no Transfer-Encoding");
	judge_length(g);
	return g->fault.err;
}

/* "application/json", with charset=utf-8 or nothing behind it. */
static bool json_type(const struct text *t)
{
	static const char wanted[] = "application/json";
	size_t n = sizeof wanted - 1;
	const char *at, *end = t->at + t->len;

	if (t->len < n || strncasecmp(t->at, wanted, n))
		return false;
	for (at = t->at + n; at < end && strchr(" \t", *at); at++)
		;
	if (at == end)
		return true;
	if (*at++ != ';')
		return false;
	while (at < end && strchr(" \t", *at))
		at++;
	return at == end || same(at, (size_t)(end - at), "charset=utf-8") || same(at, (size_t)(end - at), "charset=\"utf-8\"");
}

enum err guard_body(struct guard *g, uint64_t limit_bytes)
{
	char limit[32];

	if (g->encoding.at && !same(g->encoding.at, g->encoding.len, "identity"))
		return err_set(&g->fault, EG_E_MEDIA, "Content-Encoding", "identity", "a body must come without Content-Encoding (gzip and others are not read)");
	if (!g->type.at || !json_type(&g->type))
		return err_set(&g->fault, EG_E_MEDIA, "Content-Type", "application/json", "Content-Type must be application/json, with charset=utf-8 or without a charset");
	snprintf(limit, sizeof limit, "%llu MiB", (unsigned long long)(limit_bytes >> 20));
	if (g->content_length > limit_bytes)
		return err_set(&g->fault, EG_E_TOO_LARGE, "body", limit, "the body is larger than %s", limit);
	return EG_E_OK;
}

/* ---- Accept */

static struct text next_piece(struct text *rest, char end)
{
	const char *at = rest->at, *stop = memchr(at, end, rest->len);
	size_t n = stop ? (size_t)(stop - at) : rest->len;

	rest->at += stop ? n + 1 : n;
	rest->len -= stop ? n + 1 : n;
	for (; n && strchr(" \t", *at); at++, n--)
		;
	for (; n && strchr(" \t", at[n - 1]); n--)
		;
	return (struct text){ at, n };
}

/* How closely a media range fits: 0 not, 1 by both stars, 2 by its type, 3 wholly. */
static int range_fit(struct text range, const char *type)
{
	size_t major = strcspn(type, "/") + 1;

	if (same(range.at, range.len, "*/*"))
		return 1;
	if (range.len == major + 1 && range.at[major] == '*' && !strncasecmp(range.at, type, major))
		return 2;
	return same(range.at, range.len, type) ? 3 : 0;
}

/* "q=0", "q=0.000" */
static bool no_weight(struct text parameter)
{
	if (parameter.len < 3 || strncasecmp(parameter.at, "q=0", 3))
		return false;
	for (size_t i = 3; i < parameter.len; i++)
		if (parameter.at[i] != (i == 3 ? '.' : '0'))
			return false;
	return true;
}

bool guard_accepts(const struct text *accept, const char *type)
{
	struct text rest = *accept;
	bool yes = !rest.at || !rest.len;
	int best = 0;

	while (rest.len) {
		struct text part = next_piece(&rest, ',');
		int fit = range_fit(next_piece(&part, ';'), type);
		bool taken = true;

		while (part.len)
			taken &= !no_weight(next_piece(&part, ';'));
		if (fit > best || (fit && fit == best && taken)) {
			best = fit;
			yes = taken;
		}
	}
	return yes;
}

/* ---- Host */

/* host without its port; false when it is malformed. */
static bool split_host(const char *host, size_t n, char out[256])
{
	size_t name;

	if (!n || n > 255)
		return false;
	if (host[0] == '[') {
		const char *close = memchr(host, ']', n);
		if (!close)
			return false;
		name = (size_t)(close - host) + 1;
	} else {
		const char *colon = memchr(host, ':', n);
		name = colon ? (size_t)(colon - host) : n;
	}
	if (!name)
		return false;
	if (name < n && host[name] != ':')
		return false;
	for (size_t i = name + 1; i < n; i++)
		if (!isdigit((unsigned char)host[i]) || i > name + 5)
			return false;
	for (size_t i = 0; i < name; i++) {
		if (!isalnum((unsigned char)host[i]) && (!host[i] || !strchr("-._[]:", host[i])))
			return false;
		out[i] = (char)tolower((unsigned char)host[i]);
	}
	out[name] = '\0';
	return true;
}

/* Is it an address, and which: 4, 6, or 0 for a name. */
static int address(const char *host, struct in_addr *v4, struct in6_addr *v6)
{
	char inner[256];
	size_t n = strlen(host);

	if (inet_pton(AF_INET, host, v4) == 1)
		return 4;
	if (n < 4 || host[0] != '[')
		return 0;
	memcpy(inner, host + 1, n - 2);
	inner[n - 2] = '\0';
	return inet_pton(AF_INET6, inner, v6) == 1 ? 6 : 0;
}

static bool loopback(const char *host)
{
	struct in_addr v4;
	struct in6_addr v6;
	int family = address(host, &v4, &v6);

	if (family == 4)
		return ntohl(v4.s_addr) >> 24 == 127;
	return family == 6 ? IN6_IS_ADDR_LOOPBACK(&v6) : !strcmp(host, "localhost");
}

enum err guard_hosts_init(struct guard_hosts *h, const struct config *c, struct fault *f)
{
	size_t n = c->server_listen.n + c->server_allowed_hosts.n;
	char host[256];
	int port;

	memset(h, 0, sizeof *h);
	h->names = calloc(n ? n : 1, sizeof *h->names);
	if (!h->names)
		return err_set(f, EG_E_INTERNAL, NULL, NULL, "out of memory");
	for (size_t i = 0; i < c->server_listen.n; i++) {
		if (config_address(c->server_listen.v[i], host, &port))
			continue;
		if (!strcmp(host, "0.0.0.0") || !strcmp(host, "::") || !strcmp(host, "*"))
			h->any_address = true;
		snprintf(h->names[h->n++], sizeof *h->names, strchr(host, ':') ? "[%.253s]" : "%.255s", host);
	}
	for (size_t i = 0; i < c->server_allowed_hosts.n; i++) {
		char *name = h->names[h->n++];
		snprintf(name, sizeof *h->names, "%s", c->server_allowed_hosts.v[i]);
		for (; *name; name++)
			*name = (char)tolower((unsigned char)*name);
	}
	return EG_E_OK;
}

void guard_hosts_fini(struct guard_hosts *h)
{
	free(h->names);
	memset(h, 0, sizeof *h);
}

bool guard_hosts_allow(const struct guard_hosts *h, const char *host, size_t n)
{
	struct in_addr v4;
	struct in6_addr v6;
	char name[256];

	if (!split_host(host, n, name))
		return false;
	if (loopback(name))
		return true;
	for (unsigned i = 0; i < h->n; i++)
		if (!strcmp(h->names[i], name))
			return true;
	return h->any_address && address(name, &v4, &v6);
}
