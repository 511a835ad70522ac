/* Load: file, then overrides, then defaults for what neither has set, then what
 * the keys say together. All four pass the same parser and checks. */
#include "common/config_parts.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#define MACHINE_TEXT 4096

/* ---- messages */

static void say(struct config_messages *m, enum config_severity severity, const char *file, int line, const char *fmt,
                va_list ap)
{
	struct config_message *to;
	size_t n;

	m->errors += severity == CONFIG_ERROR;
	if (m->n == EG_CONFIG_MESSAGES_MAX) {
		m->dropped++;
		return;
	}
	to = &m->v[m->n++];
	to->severity = severity;
	n = line > 0 ? (size_t)snprintf(to->text, sizeof to->text, "%.200s:%d: ", file, line)
	             : (size_t)snprintf(to->text, sizeof to->text, "%.200s: ", file);
	vsnprintf(to->text + n, sizeof to->text - n, fmt, ap);
}

void config_say(struct config_loader *l, enum config_severity severity, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	say(l->out, severity, l->file, l->line, fmt, ap);
	va_end(ap);
}

void config_say_of(struct config_loader *l, enum config_severity severity, size_t index, const char *fmt, ...)
{
	const struct config_origin *o = &l->cfg->origin[index];
	va_list ap;

	va_start(ap, fmt);
	if (o->source == CONFIG_FILE)
		say(l->out, severity, l->cfg->path, o->line, fmt, ap);
	else
		say(l->out, severity, o->source == CONFIG_OVERRIDE ? "-g" : "default", 0, fmt, ap);
	va_end(ap);
}

/* ---- one key */

void config_set(struct config_loader *l, size_t index, const char *text, enum config_source source)
{
	struct config_wrong why;
	struct toml v;

	l->cfg->origin[index] = (struct config_origin){ source, l->line };
	if (!toml_parse(text, &v, &why)) {
		config_say(l, CONFIG_ERROR, "%s: %s", config_key(index)->name, why.text);
		return;
	}
	if (!config_value_set(config_key(index), &v, config_field(l->cfg, index), &why))
		config_say(l, CONFIG_ERROR, "%s", why.text);
	toml_free(&v);
}

/* ---- overrides */

/* On a command line a plain word needs no quotes within quotes. */
static bool needs_quotes(const struct config_key *k, const char *value)
{
	return (k->type == CONFIG_STRING || k->type == CONFIG_ENUM || k->type == CONFIG_STRINGS) &&
	       !strchr("\"'[", *value) && !strpbrk(value, "\"\\");
}

static void set_override(struct config_loader *l, const char *text)
{
	const char *eq = strchr(text, '=');
	char name[160] = "", quoted[EG_CONFIG_LINE_MAX + 4];
	char *dot;
	size_t i, n = eq ? (size_t)(eq - text) : 0;

	while (n > 0 && text[n - 1] == ' ')
		n--;
	if (n == 0 || n >= sizeof name || !memchr(text, '.', n) || strlen(text) > EG_CONFIG_LINE_MAX) {
		config_say(l, CONFIG_ERROR, "\"%.100s\" is no override; write section.key=value", text);
		return;
	}
	memcpy(name, text, n);
	dot = strrchr(name, '.');
	*dot = '\0';
	if (!config_section_known(name)) {
		char near[80];
		config_say(l, CONFIG_ERROR, "unknown section [%.64s], did you mean [%s]?", name,
		           config_nearest_section(name, near, sizeof near));
	} else if (config_name_known(l, name, dot + 1, &i)) {
		const char *value = eq + 1 + strspn(eq + 1, " \t");
		snprintf(quoted, sizeof quoted, needs_quotes(config_key(i), value) ? "\"%s\"" : "%s", value);
		config_set(l, i, quoted, CONFIG_OVERRIDE);
	}
}

/* ---- defaults */

static void set_default(struct config_loader *l, size_t index)
{
	const struct config_key *k = config_key(index);
	char text[MACHINE_TEXT];

	if (!k->machine) {
		config_set(l, index, k->dflt, CONFIG_DEFAULT);
		return;
	}
	k->machine(l->cfg, text, sizeof text);
	config_set(l, index, text, CONFIG_MACHINE);
}

/* Constants first: a machine's default may depend on them, and on machine
 * defaults of rows above. */
static void set_defaults(struct config_loader *l)
{
	for (int machine = 0; machine < 2; machine++)
		for (size_t i = 0; i < CONFIG_KEY_COUNT; i++)
			if (l->cfg->origin[i].source == CONFIG_UNSET && !config_key(i)->machine == !machine)
				set_default(l, i);
}

/* ---- load */

static struct config *load(FILE *in, const char *name, char *const overrides[], size_t n, struct config_messages *out)
{
	struct config *cfg = calloc(1, sizeof *cfg);
	struct config_loader l = { cfg, out, name, 0 };

	EG_ASSERT(cfg);
	cfg->path = strdup(in ? name : "");
	EG_ASSERT(cfg->path);
	if (in)
		config_read(&l, in);
	l.file = "-g";
	l.line = 0;
	for (size_t i = 0; i < n; i++)
		set_override(&l, overrides[i]);
	l.file = "default";
	if (out->errors == 0)
		set_defaults(&l);
	if (out->errors == 0)
		config_check(&l);
	if (out->errors == 0)
		return cfg;
	config_free(cfg);
	return NULL;
}

struct config *config_load_stream(FILE *in, const char *name, char *const overrides[], size_t n,
                                  struct config_messages *out)
{
	memset(out, 0, sizeof *out);
	return load(in, name, overrides, n, out);
}

struct config *config_load(const char *path, char *const overrides[], size_t n, struct config_messages *out)
{
	const char *name = path ? path : EG_CONFIG_FILE;
	FILE *in = fopen(name, "re");
	struct config_loader l = { NULL, out, name, 0 };
	struct config *cfg;

	memset(out, 0, sizeof *out);
	if (!in && !path && errno == ENOENT) {
		config_say(&l, CONFIG_NOTE, "there is no such file; all keys have their defaults");
	} else if (!in) {
		config_say(&l, CONFIG_ERROR, "cannot be opened: %s", strerror(errno));
		return NULL;
	}
	cfg = load(in, name, overrides, n, out);
	if (in)
		fclose(in);
	return cfg;
}

void config_free(struct config *cfg)
{
	if (!cfg)
		return;
	for (size_t i = 0; i < CONFIG_KEY_COUNT; i++)
		config_value_free(config_key(i), config_field(cfg, i));
	free(cfg->path);
	free(cfg);
}

/* ---- compare */

size_t config_changed(const struct config *old, const struct config *new, config_changed_fn *changed, void *arg)
{
	size_t restarts = 0;

	for (size_t i = 0; i < CONFIG_KEY_COUNT; i++) {
		const struct config_key *k = config_key(i);
		if (config_value_equal(k, config_field_of(old, i), config_field_of(new, i)))
			continue;
		restarts += !k->reload;
		if (changed)
			changed(k, i, arg);
	}
	return restarts;
}
