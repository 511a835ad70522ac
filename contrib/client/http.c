#include "contrib/client/http.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "config.h"

#define REPLY_MAX_BYTES ((size_t)256 << 20)
#define CONNECT_TIMEOUT_MS 5000L
#define TIMEOUT_SECONDS 60

/* The first row that holds the status wins. */
static const struct {
	long from, to;
	int exit;
} meanings[] = {
	{ 200, 299, EX_OK },
	{ 401, 401, EX_NOPERM },
	{ 403, 403, EX_NOPERM },
	{ 404, 404, EX_NOINPUT },
	{ 408, 408, EX_TEMPFAIL },
	{ 429, 429, EX_TEMPFAIL },
	{ 400, 499, EX_DATAERR },
	{ 503, 503, EX_TEMPFAIL },
	{ 507, 507, EX_TEMPFAIL },
	{ 500, 599, EX_SOFTWARE },
	{ 0, 999, EX_PROTOCOL },
};

int http_exit_status(long status)
{
	for (size_t i = 0; i < sizeof meanings / sizeof *meanings; i++)
		if (status >= meanings[i].from && status <= meanings[i].to)
			return meanings[i].exit;
	return EX_PROTOCOL;
}

void reply_init(struct reply *r)
{
	memset(r, 0, sizeof *r);
	buf_init(&r->body, REPLY_MAX_BYTES);
}

void reply_free(struct reply *r)
{
	buf_free(&r->body);
}

/* libcurl's callbacks: less than what came ends the request. */
static size_t take_body(char *data, size_t size, size_t n, void *to)
{
	struct reply *r = to;

	buf_add(&r->body, data, size * n);
	return r->body.failed ? 0 : size * n;
}

static size_t take_header(char *data, size_t size, size_t n, void *to)
{
	static const char name[] = "retry-after:";
	struct reply *r = to;
	char number[16] = "";
	size_t len = size * n;

	if (len > sizeof name - 1 && !strncasecmp(data, name, sizeof name - 1)) {
		size_t rest = len - (sizeof name - 1);

		memcpy(number, data + sizeof name - 1, rest < sizeof number ? rest : sizeof number - 1);
		r->retry_after_s = (unsigned)strtoul(number, NULL, 10);
	}
	return len;
}

static bool add_header(struct curl_slist **list, const char *name, const char *value)
{
	size_t bytes = strlen(name) + strlen(value) + 1;
	char *line = malloc(bytes);
	struct curl_slist *longer = NULL;

	if (line) {
		snprintf(line, bytes, "%s%s", name, value);
		longer = curl_slist_append(*list, line);
		free(line);
	}
	if (longer)
		*list = longer;
	return longer;
}

struct curl_slist *http_headers(const struct client *c, bool with_body)
{
	struct curl_slist *list = NULL;
	bool ok = add_header(&list, "Accept: ", "application/json");

	if (ok && with_body)
		ok = add_header(&list, "Content-Type: ", "application/json") && add_header(&list, "Expect:", "");
	if (ok && c->key)
		ok = add_header(&list, "Authorization: Bearer ", c->key);
	if (ok && c->space)
		ok = add_header(&list, "X-Memory-Space: ", c->space);
	if (ok)
		return list;
	curl_slist_free_all(list);
	return NULL;
}

static bool set_url(CURL *h, const struct client *c, const char *path)
{
	size_t bytes = strlen(c->url) + strlen(path) + 1;
	char *url = malloc(bytes);
	bool ok = url;

	if (ok) {
		snprintf(url, bytes, "%s%s", c->url, path);
		ok = !curl_easy_setopt(h, CURLOPT_URL, url);
	}
	free(url);
	return ok;
}

bool http_prepare(CURL *h, const struct client *c, const char *method, const char *path,
                  struct curl_slist *headers, const char *body, size_t len, struct reply *r)
{
	r->status = 0;
	r->retry_after_s = 0;
	r->trouble[0] = 0;
	buf_reset(&r->body);
	if (!set_url(h, c, path))
		return false;
	return !curl_easy_setopt(h, CURLOPT_CUSTOMREQUEST, method)
	    && !curl_easy_setopt(h, CURLOPT_HTTPHEADER, headers)
	    && (!body || (!curl_easy_setopt(h, CURLOPT_POSTFIELDS, body)
	                  && !curl_easy_setopt(h, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)len)))
	    && !curl_easy_setopt(h, CURLOPT_WRITEFUNCTION, take_body)
	    && !curl_easy_setopt(h, CURLOPT_WRITEDATA, r)
	    && !curl_easy_setopt(h, CURLOPT_HEADERFUNCTION, take_header)
	    && !curl_easy_setopt(h, CURLOPT_HEADERDATA, r)
	    && !curl_easy_setopt(h, CURLOPT_ERRORBUFFER, r->trouble)
	    && !curl_easy_setopt(h, CURLOPT_USERAGENT, PACKAGE_NAME "/" PACKAGE_VERSION)
	    && !curl_easy_setopt(h, CURLOPT_PROTOCOLS_STR, "http,https")
	    && !curl_easy_setopt(h, CURLOPT_PROXY, "")
	    && !curl_easy_setopt(h, CURLOPT_NOSIGNAL, 1L)
	    && !curl_easy_setopt(h, CURLOPT_CONNECTTIMEOUT_MS, CONNECT_TIMEOUT_MS)
	    && !curl_easy_setopt(h, CURLOPT_TIMEOUT, (long)option_number(c, OPT_TIMEOUT, TIMEOUT_SECONDS));
}

static int perform(const struct client *c, CURL *h, const char *method, const char *path,
                   struct curl_slist *headers, const char *text, struct reply *r)
{
	CURLcode code;

	if (!http_prepare(h, c, method, path, headers, text, text ? strlen(text) : 0, r))
		return client_fail(EX_USAGE, "%s is no URL of a server", c->url);
	code = curl_easy_perform(h);
	if (code == CURLE_URL_MALFORMAT || code == CURLE_UNSUPPORTED_PROTOCOL)
		return client_fail(EX_USAGE, "%s is no URL of a server", c->url);
	if (code)
		return client_fail(EX_UNAVAILABLE, "no answer from %s: %s", c->url,
		                   *r->trouble ? r->trouble : curl_easy_strerror(code));
	curl_easy_getinfo(h, CURLINFO_RESPONSE_CODE, &r->status);
	return EX_OK;
}

int http_call(const struct client *c, const char *method, const char *path, const json_t *body,
              struct reply *r)
{
	CURL *h = curl_easy_init();
	struct curl_slist *headers = http_headers(c, body);
	char *text = body ? json_dumps(body, JSON_COMPACT) : NULL;
	int status;

	if (!h || !headers || (body && !text))
		status = client_fail(EX_OSERR, "out of memory");
	else
		status = perform(c, h, method, path, headers, text, r);
	free(text);
	curl_slist_free_all(headers);
	curl_easy_cleanup(h);
	return status;
}

static void report_part(const json_t *error, const char *name)
{
	const json_t *part = json_object_get(error, name);
	char *text;

	if (json_is_string(part)) {
		fprintf(stderr, "  %s: %s\n", name, json_string_value(part));
	} else if (part && !json_is_null(part) && (text = json_dumps(part, JSON_ENCODE_ANY | JSON_COMPACT))) {
		fprintf(stderr, "  %s: %s\n", name, text);
		free(text);
	}
}

int http_report(const struct client *c, const struct reply *r)
{
	json_t *json = r->body.data ? json_loadb(r->body.data, r->body.len, 0, NULL) : NULL;
	const json_t *error = json_object_get(json, "error");
	const char *message = json_string_value(json_object_get(error, "message"));
	const char *code = json_string_value(json_object_get(error, "code"));

	fflush(stdout);
	if (!message) {
		client_fail(0, "%s answered %ld", c->url, r->status);
	} else if (c->json) {
		fprintf(stderr, "%s\n", r->body.data);
	} else {
		client_fail(0, "%s (%s, %ld)", message, code ? code : "no code", r->status);
		report_part(error, "field");
		report_part(error, "limit");
		report_part(error, "suggestion");
		if (r->retry_after_s)
			fprintf(stderr, "  again in: %u s\n", r->retry_after_s);
	}
	json_decref(json);
	return http_exit_status(r->status);
}

int http_expect(const struct client *c, const char *method, const char *path, const json_t *body,
                struct reply *r)
{
	int status = http_call(c, method, path, body, r);

	if (status == EX_OK && (r->status < 200 || r->status > 299))
		status = http_report(c, r);
	return status;
}

json_t *http_parse(const struct reply *r)
{
	json_error_t where;
	json_t *json = json_loadb(r->body.data ? r->body.data : "", r->body.len, 0, &where);

	if (!json)
		client_fail(0, "the server's answer is no JSON: %s", where.text);
	return json;
}

int http_ask(const struct client *c, const char *method, const char *path, const json_t *body,
             json_t **json)
{
	struct reply r;
	int status;

	reply_init(&r);
	status = http_expect(c, method, path, body, &r);
	*json = NULL;
	if (status == EX_OK && c->json)
		printf("%s\n", r.body.data ? r.body.data : "");
	else if (status == EX_OK && !(*json = http_parse(&r)))
		status = EX_PROTOCOL;
	reply_free(&r);
	return status;
}

void http_path(struct buf *b, const char *path)
{
	buf_init(b, 4096);
	buf_puts(b, path);
}

static void add_escaped(struct buf *b, const char *text)
{
	static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";

	for (; *text; text++)
		if (strchr(plain, *text))
			buf_putc(b, *text);
		else
			buf_printf(b, "%%%02X", (unsigned char)*text);
}

void http_path_part(struct buf *b, const char *text)
{
	buf_putc(b, '/');
	add_escaped(b, text);
}

void http_query(struct buf *b, const char *name, const char *value)
{
	buf_putc(b, b->data && strchr(b->data, '?') ? '&' : '?');
	buf_puts(b, name);
	buf_putc(b, '=');
	add_escaped(b, value);
}
