#include "contrib/client/client.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum kind { FLAG, TEXT, LIST, WHOLE, REAL };

static const struct row {
	const char *name;
	enum kind kind;
	const char *argument, *commands, *help;
} rows[OPTIONS] = {
#define X(name, text, kind, argument, commands, help) { text, kind, argument, commands, help },
#include "contrib/client/options.def"
#undef X
};

static bool takes(const struct row *r, const char *command)
{
	size_t len = strlen(command);

	if (!strcmp(r->commands, "*"))
		return true;
	for (const char *at = r->commands; at; at = strchr(at, ',')) {
		at += *at == ',';
		if (!strncmp(at, command, len) && (at[len] == ',' || !at[len]))
			return true;
	}
	return false;
}

static int find(const char *command, const char *word, size_t len)
{
	for (int o = 0; o < OPTIONS; o++)
		if (strlen(rows[o].name) == len && !memcmp(rows[o].name, word, len) && takes(&rows[o], command))
			return o;
	return -1;
}

static int set_number(struct client *c, int o, const char *value)
{
	const char *what = rows[o].kind == WHOLE ? "a whole number" : "a number";
	char *end;
	double number;

	errno = 0;
	number = strtod(value, &end);
	if (end == value || *end || errno || !isfinite(number)
	    || (rows[o].kind == WHOLE && (number < 0 || number > 1e9 || number != floor(number))))
		return client_fail(EX_USAGE, "--%s needs %s, not '%s'", rows[o].name, what, value);
	c->number[o] = number;
	return EX_OK;
}

static int set(struct client *c, int o, const char *value)
{
	if (c->given[o] && rows[o].kind != LIST)
		return client_fail(EX_USAGE, "--%s is given twice", rows[o].name);
	c->given[o] = true;
	if (rows[o].kind == FLAG)
		return EX_OK;
	c->text[o] = value;
	if (rows[o].kind == WHOLE || rows[o].kind == REAL)
		return set_number(c, o, value);
	if (rows[o].kind == TEXT)
		return EX_OK;
	if (!c->list[o] && !(c->list[o] = calloc(1, sizeof *c->list[o])))
		return client_fail(EX_OSERR, "out of memory");
	if (c->list[o]->n == CLIENT_LIST_MAX)
		return client_fail(EX_USAGE, "--%s is given more than %d times", rows[o].name, CLIENT_LIST_MAX);
	c->list[o]->item[c->list[o]->n++] = value;
	return EX_OK;
}

/* One word that starts with --; *used becomes how many arguments it took. */
static int read_one(struct client *c, int argc, char **argv, int *used)
{
	const char *word = argv[0] + 2;
	const char *equals = strchr(word, '=');
	int o = find(c->name, word, equals ? (size_t)(equals - word) : strlen(word));

	*used = 1;
	if (o < 0)
		return client_fail(EX_USAGE, "'%s' takes no option %s (see: engram help %s)", c->name, argv[0], c->name);
	if (rows[o].kind == FLAG)
		return equals ? client_fail(EX_USAGE, "--%s takes no argument", rows[o].name) : set(c, o, NULL);
	if (equals)
		return set(c, o, equals + 1);
	if (argc < 2)
		return client_fail(EX_USAGE, "--%s needs an argument: %s", rows[o].name, rows[o].argument);
	*used = 2;
	return set(c, o, argv[1]);
}

int options_read(struct client *c, int argc, char **argv)
{
	bool literal = false;

	c->operand = argv;
	for (int i = 0, used, status; i < argc; i += used) {
		used = 1;
		if (!literal && !strcmp(argv[i], "--")) {
			literal = true;
		} else if (!literal && !strcmp(argv[i], "-h")) {
			c->given[OPT_HELP] = true;
		} else if (!literal && !strncmp(argv[i], "--", 2)) {
			if ((status = read_one(c, argc - i, argv + i, &used)))
				return status;
		} else if (!literal && argv[i][0] == '-' && argv[i][1]) {
			return client_fail(EX_USAGE, "there is no option %s (after -- a word may start with -)", argv[i]);
		} else {
			c->operand[c->operands++] = argv[i];
		}
	}
	return EX_OK;
}

void options_free(struct client *c)
{
	for (int o = 0; o < OPTIONS; o++)
		free(c->list[o]);
}

void options_print(const char *command)
{
	for (int common = 0; common < 2; common++)
		for (int o = 0; o < OPTIONS; o++) {
			char head[64];

			if (!takes(&rows[o], command) || (!strcmp(rows[o].commands, "*")) != common)
				continue;
			snprintf(head, sizeof head, "--%s %s", rows[o].name, rows[o].argument);
			printf("  %-24s %s\n", head, rows[o].help);
		}
}

double option_number(const struct client *c, enum option o, double other)
{
	return c->given[o] ? c->number[o] : other;
}
