/* What is in force, as text: for -T, introspection and the terminal. */
#include "common/config_parts.h"

#include <stdlib.h>
#include <string.h>

#include "common/buf.h"

#define VALUE_MAX (1 << 20)

static char *value_text(const struct config *cfg, size_t index, bool json)
{
	struct buf b;

	buf_init(&b, VALUE_MAX);
	config_value_print(config_key(index), config_field_of(cfg, index), json, &b);
	EG_ASSERT(!b.failed);
	return b.data;
}

char *config_value_json(const struct config *cfg, size_t index)
{
	return value_text(cfg, index, true);
}

char *config_value_toml(const struct config *cfg, size_t index)
{
	return value_text(cfg, index, false);
}

/* A comment must stay one line, whatever the file is called. */
static void print_origin(const struct config *cfg, size_t index, FILE *out)
{
	const struct config_origin *o = &cfg->origin[index];

	switch (o->source) {
	case CONFIG_MACHINE:
		fprintf(out, "machine: %s", config_key(index)->dflt);
		break;
	case CONFIG_FILE:
		for (const char *p = cfg->path; *p; p++)
			fputc((unsigned char)*p < 0x20 || *p == 0x7f ? '?' : *p, out);
		fprintf(out, ":%d", o->line);
		break;
	case CONFIG_OVERRIDE:
		fputs("-g", out);
		break;
	case CONFIG_DEFAULT:
	case CONFIG_UNSET:
		fputs("default", out);
		break;
	}
}

void config_dump(const struct config *cfg, FILE *out)
{
	size_t before = 0;

	for (size_t i = 0; i < CONFIG_KEY_COUNT; i++) {
		const struct config_key *k = config_key(i);
		size_t n = config_section_len(k);
		char *value = config_value_toml(cfg, i);
		if (i == 0 || n != before || strncmp(k->name, config_key(i - 1)->name, n) != 0)
			fprintf(out, "%s[%.*s]\n", i ? "\n" : "", (int)n, k->name);
		fprintf(out, "%s = %s  # ", config_key_part(k), value);
		print_origin(cfg, i, out);
		fputs(k->force == CONFIG_NOW ? "\n" : "; not in force yet\n", out);
		free(value);
		before = n;
	}
}

void config_messages_print(const struct config_messages *m, FILE *out)
{
	for (size_t i = 0; i < m->n; i++)
		fprintf(out, "%s\n", m->v[i].text);
	if (m->dropped)
		fprintf(out, "%zu more messages are not shown\n", m->dropped);
}
