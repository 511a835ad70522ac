/* Targets: decoding, what is refused, query parameters; routes and spaces. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "workers/api/routes.h"
#include "workers/api/target.h"

static char raw[8192];
static struct param query[EG_QUERY_PARAMS];
static struct target target;

static enum err parse(const char *text)
{
	struct fault f = { .err = EG_E_OK };
	enum err e;

	strcpy(raw, text);
	target = (struct target){ .query = query };
	e = target_parse(&target, raw, strlen(raw), &f);
	assert_int_equal(e, f.err);
	return e;
}

static void paths(void **state)
{
	(void)state;
	assert_int_equal(parse("/health/%61live"), EG_E_OK);
	assert_string_equal(target.path.at, "/health/alive");
	assert_int_equal(parse("/a%25b%20c/%C3%BC"), EG_E_OK);
	assert_string_equal(target.path.at, "/a%b c/\xc3\xbc");
	assert_int_equal(parse("http://a.b:1/c?d=e"), EG_E_OK);
	assert_string_equal(target.path.at, "/c");
	assert_string_equal(target.authority.at, "a.b:1");
	assert_int_equal(target.n_query, 1);
}

static void refused(void **state)
{
	static const char *const bad[] = {
		"", "health", "*", "/a%00b", "/%2e%2e/x", "/..", "/a/./b", "/a/..", "/a%2fb", "/a%2Fb", "/a%", "/a%4", "/a%zz", "/a%0d%0a",
		"/a b", "/a#b", "/%ff%fe", "/%c0%ae", "/a\x7f", "/?a=%00", "/?a=%01", "/?a=%ff", "/?%zz", "http://a.b", "ftp://a/b",
	};

	(void)state;
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		assert_int_equal(parse(bad[i]), EG_E_REQUEST);
}

static void queries(void **state)
{
	char many[4096] = "/?";

	(void)state;
	assert_int_equal(parse("/a?q=red+apple%2Bpear%0A&&empty=&bare&x=%2F"), EG_E_OK);
	assert_int_equal(target.n_query, 4);
	assert_string_equal(query[0].name.at, "q");
	assert_string_equal(query[0].value.at, "red apple+pear\n");
	assert_string_equal(query[1].value.at, "");
	assert_string_equal(query[2].name.at, "bare");
	assert_string_equal(query[3].value.at, "/");
	for (int i = 0; i < EG_QUERY_PARAMS; i++)
		strcat(many, "a=b&");
	assert_int_equal(parse(many), EG_E_OK);
	strcat(many, "a=b");
	assert_int_equal(parse(many), EG_E_REQUEST);
}

/* ---- what handlers ask */

static struct request *request_new(const char *path)
{
	static struct config config = { .memory_spaces_default_space = raw + 8000 };
	struct request *r = calloc(1, sizeof *r);

	strcpy(raw + 8000, "default");
	r->config = &config;
	arena_init(&r->arena, 1024, 65536);
	buf_init(&r->out, 65536);
	r->path = (struct text){ path, strlen(path) };
	return r;
}

static void request_free(struct request *r)
{
	arena_fini(&r->arena);
	buf_free(&r->out);
	free(r);
}

static void give(struct request *r, const char *name, const char *value)
{
	r->query[r->n_query++] = (struct param){ { name, strlen(name) }, { value, strlen(value) } };
}

static void query_check(void **state)
{
	static const char *const names[] = { "max_results", "threshold", NULL };
	struct request *r = request_new("/");
	struct fault f;

	(void)state;
	give(r, "threshold", "1");
	give(r, "space", "a");
	assert_int_equal(request_query_check(r, names, &f), EG_E_OK);
	assert_string_equal(request_query(r, "threshold")->at, "1");
	assert_null(request_query(r, "max_results"));
	give(r, "max_result", "1");
	assert_int_equal(request_query_check(r, names, &f), EG_E_REQUEST);
	assert_string_equal(f.field, "max_result");
	assert_non_null(strstr(f.message, "nearest known one is max_results"));
	r->n_query--;
	give(r, "space", "a");
	assert_int_equal(request_query_check(r, names, &f), EG_E_REQUEST);
	request_free(r);
}

static void spaces(void **state)
{
	struct request *r = request_new("/");
	struct text a = { "a", 1 }, b = { "b", 1 }, bad = { "A", 1 }, out;
	struct fault f;

	(void)state;
	assert_int_equal(request_space(r, NULL, &out, &f), EG_E_OK);
	assert_string_equal(out.at, "default");
	r->header[HEADER_SPACE_ID] = a;
	give(r, "space", "a");
	assert_int_equal(request_space(r, &a, &out, &f), EG_E_OK);
	assert_string_equal(out.at, "a");
	assert_int_equal(request_space(r, &b, &out, &f), EG_E_REQUEST);
	assert_string_equal(f.field, "memory_space_id");
	assert_int_equal(request_space(r, &bad, &out, &f), EG_E_REQUEST);
	request_free(r);
}

static void routes(void **state)
{
	struct request *r = request_new("/health/alive");

	(void)state;
	assert_int_equal(routes_find(r, "HEAD"), EG_E_OK);
	assert_string_equal(r->route->name, "health_alive");
	assert_int_equal(r->method, HTTP_HEAD);
	assert_int_equal(routes_find(r, "POST"), EG_E_METHOD);
	assert_int_equal(r->status, 405);
	assert_string_equal(r->extra[0].name, "Allow");
	assert_string_equal(r->extra[0].value, "GET, HEAD");
	assert_int_equal(routes_find(r, "get"), EG_E_METHOD);
	r->path = (struct text){ "/helth/alive", 12 };
	assert_int_equal(routes_find(r, "GET"), EG_E_NO_RESOURCE);
	assert_non_null(strstr(r->out.data, "the nearest route is /health/alive"));
	request_free(r);
}

/* Every row can be found under its own path, and by its method alone. */
static void every_route(void **state)
{
	unsigned n;
	const struct route *all = routes_all(&n);

	(void)state;
	for (unsigned i = 0; i < n; i++) {
		char path[256] = "";
		for (const char *at = all[i].path; *at; at++) {
			if (*at != '{') {
				strncat(path, at, 1);
				continue;
			}
			strcat(path, "some-id");
			at += strcspn(at, "}");
		}
		struct request *r = request_new(path);
		assert_int_equal(routes_find(r, method_name(all[i].method)), EG_E_OK);
		assert_ptr_equal(r->route, &all[i]);
		assert_true(*all[i].summary);
		request_free(r);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(paths), cmocka_unit_test(refused), cmocka_unit_test(queries), cmocka_unit_test(query_check),
		cmocka_unit_test(spaces), cmocka_unit_test(routes), cmocka_unit_test(every_route),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
