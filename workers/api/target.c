/* See target.h. */
#include "workers/api/target.h"

#include <string.h>
#include <strings.h>

#include "common/nearest.h"
#include "common/utf8.h"

static int hex(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool control(unsigned char c)
{
	return c < 0x20 || c == 0x7f;
}

/* Decode one component in place. A path may not hide a slash, a query value may
 * hold tabs and line ends and writes a space as '+'. */
static enum err decode(struct text *t, char *at, size_t len, bool in_query, struct fault *f)
{
	char *out = at, *end = at + len;

	t->at = at;
	for (char *in = at; in < end; in++) {
		char c = *in;
		if (c == '%') {
			int high = end - in > 2 ? hex(in[1]) : -1, low = high >= 0 ? hex(in[2]) : -1;
			if (low < 0)
				return err_set(f, EG_E_REQUEST, "target", NULL, "the request target holds a '%%' that two hexadecimal digits do not follow");
			c = (char)(high << 4 | low);
			if (control((unsigned char)c) && !(in_query && c && strchr("\t\n\r", c)))
				return err_set(f, EG_E_REQUEST, "target", NULL, "the request target holds %%%02X, a control character", (unsigned char)c);
			if (c == '/' && !in_query)
				return err_set(f, EG_E_REQUEST, "target", NULL, "the path of the request target holds %%2F, an encoded slash");
			in += 2;
		} else if (c == '+' && in_query) {
			c = ' ';
		}
		*out++ = c;
	}
	t->len = (size_t)(out - at);
	*out = '\0';
	if (utf8_valid(at, t->len) != t->len)
		return err_set(f, EG_E_REQUEST, "target", NULL, "the request target is not valid UTF-8 after %%-decoding");
	return EG_E_OK;
}

static enum err check_raw(const char *raw, size_t len, struct fault *f)
{
	for (size_t i = 0; i < len; i++)
		if (control((unsigned char)raw[i]) || raw[i] == ' ' || raw[i] == '#')
			return err_set(f, EG_E_REQUEST, "target", NULL, "the request target holds byte 0x%02x, which must be %%-encoded", (unsigned char)raw[i]);
	return EG_E_OK;
}

static enum err check_segments(const struct text *path, struct fault *f)
{
	const char *at = path->at;

	while (at) {
		const char *next = strchr(at + 1, '/');
		size_t len = next ? (size_t)(next - at) : strlen(at);
		if ((len == 2 && at[1] == '.') || (len == 3 && at[1] == '.' && at[2] == '.'))
			return err_set(f, EG_E_REQUEST, "target", NULL, "the path of the request target holds a dot segment");
		at = next;
	}
	return EG_E_OK;
}

static enum err parse_query(struct target *t, char *at, struct fault *f)
{
	enum err e;

	for (char *next; at; at = next) {
		size_t len = strcspn(at, "&");
		struct param *p = &t->query[t->n_query];
		next = at[len] ? at + len + 1 : NULL;
		at[len] = '\0';
		if (!len)
			continue;
		if (t->n_query == EG_QUERY_PARAMS)
			return err_set(f, EG_E_REQUEST, "query", "64", "the query string has more than %d parameters", EG_QUERY_PARAMS);
		size_t name = strcspn(at, "=");
		bool value = at[name] == '=';
		if ((e = decode(&p->name, at, name, true, f)))
			return e;
		if (!value)
			p->value = (struct text){ "", 0 };
		else if ((e = decode(&p->value, at + name + 1, len - name - 1, true, f)))
			return e == EG_E_REQUEST && f ? err_set(f, e, p->name.at, NULL, "the query parameter's value is not valid %%-encoded UTF-8") : e;
		t->n_query++;
	}
	return EG_E_OK;
}

/* "http://host[:port]/path": note the authority, go on at the path. The slash
 * before the path gives the NUL behind the authority its place, so the path is
 * moved back by one. */
static char *skip_authority(struct target *t, char *raw)
{
	static const char scheme[] = "http://";

	if (strncasecmp(raw, scheme, sizeof scheme - 1))
		return raw;
	char *name = raw + sizeof scheme - 1, *slash = name + strcspn(name, "/?");
	t->authority = (struct text){ raw, (size_t)(slash - name) };
	memmove(raw, name, t->authority.len);
	raw[t->authority.len] = '\0';
	return slash;
}

enum err target_parse(struct target *t, char *raw, size_t len, struct fault *f)
{
	char *path, *question;
	enum err e;

	t->authority = (struct text){ NULL, 0 };
	t->n_query = 0;
	if ((e = check_raw(raw, len, f)))
		return e;
	path = skip_authority(t, raw);
	if (*path != '/')
		return err_set(f, EG_E_REQUEST, "target", NULL, "the request target must start with '/'");
	question = strchr(path, '?');
	if (question)
		*question++ = '\0';
	if ((e = decode(&t->path, path, strlen(path), false, f)) || (e = check_segments(&t->path, f)))
		return e;
	return question ? parse_query(t, question, f) : EG_E_OK;
}

/* ---- near names */

const char *target_nearest(const char *text, const char *const names[])
{
	const char *nearest = NULL;
	unsigned least = ~0u;

	for (; *names; names++) {
		unsigned d = nearest_distance(text, strlen(text), *names, strlen(*names));
		if (d < least) {
			least = d;
			nearest = *names;
		}
	}
	return nearest;
}
