/* The lines of a configuration file, over inih.
 *
 * inih alone would take an indented key for the continuation of the line before,
 * cut a quoted string at " ;", keep "# comment" in a value, and fail on lines
 * over 199 bytes. So it never sees a line as it was written: our reader takes
 * each line apart first (indentation and comments outside of quotes go, whatever
 * is not ours is refused with what to write instead) and hands inih the bare
 * "[section]" or "key = 1"; the value's text waits in struct lines until inih
 * has put section and key together and calls handle(). inih thus owns the
 * structure of the file, we own the bytes.
 */
#include "common/config_parts.h"

#include <ctype.h>
#include <ini.h>
#include <stdlib.h>
#include <string.h>

#include "common/utf8.h"

#define NAME_MAX_BYTES 48              /* inih cuts longer names */

struct lines {
	struct config_loader *l;
	FILE *in;
	char *raw;             /* getline's */
	size_t raw_size;
	char *value;           /* of the line that inih is looking at, inside raw */
	bool section_bad;      /* an unknown section was told of once; its keys are not */
	char skip_to[4];       /* refused value over several lines: skip until this */
};

/* ---- a line, taken apart */

/* The end of what stands before a comment that is outside of quotes. */
static char *find_comment(char *s)
{
	char quote = '\0';

	for (; *s; s++) {
		if (quote == '"' && *s == '\\' && s[1])
			s++;
		else if (quote)
			quote = *s == quote ? '\0' : quote;
		else if (*s == '"' || *s == '\'')
			quote = *s;
		else if (*s == '#')
			break;
	}
	return s;
}

static char *strip(char *s)
{
	size_t n;

	s += strspn(s, " \t");
	n = strlen(s);
	while (n > 0 && (s[n - 1] == ' ' || s[n - 1] == '\t'))
		s[--n] = '\0';
	return s;
}

static size_t name_len(const char *s)
{
	size_t n = 0;

	while (isalnum((unsigned char)s[n]) || s[n] == '_' || s[n] == '-')
		n++;
	return n;
}

static void wrong(struct lines *f, const char *text)
{
	config_say(f->l, CONFIG_ERROR, "%s", text);
}

/* A value that goes on in the next lines is refused once, not line by line. */
static void note_open_value(struct lines *f, const char *value)
{
	static const char *const open[][2] = { { "\"\"\"", "\"\"\"" }, { "'''", "'''" }, { "[", "]" }, { "{", "}" } };

	for (size_t i = 0; i < sizeof open / sizeof *open; i++) {
		size_t n = strlen(open[i][0]);
		if (strncmp(value, open[i][0], n) == 0 && !strstr(value + n, open[i][1])) {
			strcpy(f->skip_to, open[i][1]);
			return;
		}
	}
}

/* "[a.b]" -> "a.b" in place; NULL: refused. */
static char *take_section(struct lines *f, char *s)
{
	char *name = s + 1 + strspn(s + 1, " \t"), *p = name;
	char near[80];

	if (s[1] == '[')
		return wrong(f, "tables in lists ([[...]]) are not supported; write one [section]"), NULL;
	for (size_t n; (n = name_len(p)) > 0; p++)
		if (*(p += n) != '.')
			break;
	char *end = p + strspn(p, " \t");
	if (*end != ']' || p == name || p[-1] == '.')
		return wrong(f, "a section is written [name] or [name.name], without quotes"), NULL;
	if (end[1])
		return wrong(f, "only a comment (# ...) may stand behind a [section]"), NULL;
	*p = '\0';
	if (!config_section_known(name)) {
		config_say(f->l, CONFIG_ERROR, "unknown section [%.64s], did you mean [%s]?", name,
		           config_nearest_section(name, near, sizeof near));
		return NULL;
	}
	return name;
}

/* "key = value" -> key in place, f->value; NULL: refused. */
static char *take_key(struct lines *f, char *s)
{
	size_t n = name_len(s);
	char *p = s + n + strspn(s + n, " \t");

	if (*s == '"' || *s == '\'')
		return wrong(f, "write the key without quotes"), NULL;
	if (n > 0 && *p == '.')
		return wrong(f, "dotted keys are not supported; write the part before the last dot as [section] above"), NULL;
	if (n == 0 || *p != '=')
		return wrong(f, "this is neither [section] nor key = value nor a comment (# ...)"), NULL;
	if (n > NAME_MAX_BYTES)
		return wrong(f, "no key has so long a name"), NULL;
	s[n] = '\0';
	f->value = strip(p + 1);
	return s;
}

/* ---- the reader that inih calls for each line */

static bool skipping(struct lines *f, const char *s)
{
	if (!f->skip_to[0])
		return false;
	if (strstr(s, f->skip_to))
		f->skip_to[0] = '\0';
	return true;
}

/* Writes into `out` what inih shall see of the line. */
static void translate(struct lines *f, char *s, char *out, size_t size)
{
	char *name;

	*find_comment(s) = '\0';
	s = strip(s);
	if (!*s)
		return;
	if (*s == '[') {
		name = take_section(f, s);
		f->section_bad = !name;
		if (name)
			snprintf(out, size, "[%s]\n", name);
	} else if (!f->section_bad) {
		name = take_key(f, s);
		if (name)
			snprintf(out, size, "%s = 1\n", name);
	}
}

/* Bytes that no line may hold. */
static bool line_is_text(struct lines *f, size_t n)
{
	if (n > EG_CONFIG_LINE_MAX)
		return config_say(f->l, CONFIG_ERROR, "the line has %zu bytes; %d are allowed", n, EG_CONFIG_LINE_MAX), false;
	if (memchr(f->raw, '\0', n) || utf8_valid(f->raw, n) != n)
		return wrong(f, "the line is not UTF-8 text"), false;
	return true;
}

static char *next_line(char *out, int size, void *arg)
{
	struct lines *f = arg;
	ssize_t n = getline(&f->raw, &f->raw_size, f->in);
	char *s = f->raw;

	if (n < 0)
		return NULL;
	f->l->line++;
	snprintf(out, (size_t)size, "\n");
	while (n > 0 && (f->raw[n - 1] == '\n' || f->raw[n - 1] == '\r'))
		f->raw[--n] = '\0';
	if (f->l->line == 1 && n >= 3 && memcmp(s, "\xef\xbb\xbf", 3) == 0)
		s += 3;
	if (line_is_text(f, (size_t)n) && !skipping(f, s))
		translate(f, s, out, (size_t)size);
	return out;
}

/* ---- what inih found */

bool config_name_known(struct config_loader *l, const char *section, const char *key, size_t *index)
{
	char name[160];
	const struct config_key *other;

	snprintf(name, sizeof name, "%s.%s", section, key);
	*index = config_find(name);
	if (*index < CONFIG_KEY_COUNT)
		return true;
	other = config_key_elsewhere(key);
	if (other)
		config_say(l, CONFIG_ERROR, "unknown key \"%s\" in [%s], did you mean \"%s\" in [%.*s]?", key, section, key,
		           (int)config_section_len(other), other->name);
	else
		config_say(l, CONFIG_ERROR, "unknown key \"%s\" in [%s], did you mean \"%s\"?", key, section,
		           config_nearest_key(section, key));
	return false;
}

static int handle(void *arg, const char *section, const char *key, const char *protected)
{
	struct lines *f = arg;
	struct config_loader *l = f->l;
	size_t i;

	(void)protected;
	if (!*section) {
		const struct config_key *k = config_key_elsewhere(key);
		config_say(l, CONFIG_ERROR, "\"%s\" stands before any section; write [%.*s] above it", key,
		           k ? (int)config_section_len(k) : 7, k ? k->name : "section");
	} else if (config_name_known(l, section, key, &i)) {
		if (l->cfg->origin[i].source == CONFIG_FILE)
			config_say(l, CONFIG_ERROR, "%s is given twice, here and in line %d; leave one out",
			           config_key(i)->name, l->cfg->origin[i].line);
		else
			config_set(l, i, f->value, CONFIG_FILE);
	}
	note_open_value(f, f->value);
	return 1;
}

void config_read(struct config_loader *l, FILE *in)
{
	struct lines f = { .l = l, .in = in };
	int rc = ini_parse_stream(next_line, &f, handle, &f);

	if (ferror(in))
		config_say(l, CONFIG_ERROR, "the file cannot be read to its end");
	else if (rc != 0)
		config_say(l, CONFIG_ERROR, "the file cannot be parsed (inih: %d)", rc);
	free(f.raw);
}
