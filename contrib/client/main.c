/* The program `engram`: a memory server's client and its operator's tool.
 *
 * Finds the command that the first words name, reads options by their table,
 * runs it. Which server: --url, else ENGRAM_URL, else the default port on this
 * machine; ENGRAM_API_KEY and ENGRAM_SPACE likewise. Exit statuses are those of
 * sysexits.h, so that scripts can tell a typing error from a server that is
 * away.
 */
#include "contrib/client/client.h"

#include <curl/curl.h>
#include <locale.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config.h"

#define ANY 1000000                            /* operands: what the kernel lets through is less */
#define DEFAULT_URL "http://127.0.0.1:7432"

static const struct command {
	const char *name;
	int (*run)(struct client *c);
	int least, most;
	const char *operands, *summary;
} commands[] = {
#define X(function, name, least, most, operands, summary) { name, client_##function, least, most, operands, summary },
#include "contrib/client/commands.def"
#undef X
};

#define COMMANDS (sizeof commands / sizeof *commands)

int client_fail(int status, const char *fmt, ...)
{
	va_list args;

	fflush(stdout);
	fputs("engram: ", stderr);
	va_start(args, fmt);
	vfprintf(stderr, fmt, args);
	va_end(args);
	fputc('\n', stderr);
	return status;
}

/* The command whose words begin argv, the longest one; *words tells how many. */
static const struct command *find(int argc, char **argv, int *words)
{
	const struct command *best = NULL;
	char two[64] = "";

	if (argc > 1)
		snprintf(two, sizeof two, "%s %s", argv[0], argv[1]);
	for (size_t i = 0; i < COMMANDS && argc > 0; i++) {
		if (!strcmp(commands[i].name, two)) {
			*words = 2;
			return &commands[i];
		}
		if (!strcmp(commands[i].name, argv[0])) {
			*words = 1;
			best = &commands[i];
		}
	}
	return best;
}

static void print_commands(FILE *out)
{
	fputs("usage: engram COMMAND [OPTIONS] [OPERANDS]\n\n", out);
	for (size_t i = 0; i < COMMANDS; i++)
		fprintf(out, "  %-14s %-13s %s\n", commands[i].name, commands[i].operands, commands[i].summary);
	fputs("\nengram help COMMAND shows its options; the manual is engram(1).\n", out);
}

static void print_command(const struct command *command)
{
	printf("usage: engram %s [OPTIONS]%s%s\n\n%s\n\n", command->name, *command->operands ? " " : "",
	       command->operands, command->summary);
	options_print(command->name);
}

int client_help(struct client *c)
{
	const struct command *command;
	int words;

	if (!c->operands) {
		print_commands(stdout);
		return EX_OK;
	}
	command = find(c->operands, c->operand, &words);
	if (!command)
		return client_fail(EX_USAGE, "there is no command '%s'", c->operand[0]);
	print_command(command);
	return EX_OK;
}

int client_version(struct client *c)
{
	if (c->json)
		printf("{\"name\":\"%s\",\"version\":\"%s\"}\n", PACKAGE_NAME, PACKAGE_VERSION);
	else
		printf("%s %s\n", PACKAGE_NAME, PACKAGE_VERSION);
	return EX_OK;
}

static const char *choose(const char *option, const char *variable)
{
	const char *value = option ? option : getenv(variable);

	return value && *value ? value : NULL;
}

static int run(const struct command *command, struct client *c)
{
	const char *url = choose(c->text[OPT_URL], "ENGRAM_URL");
	char *own;
	size_t len;
	int status;

	if (c->operands < command->least || c->operands > command->most)
		return client_fail(EX_USAGE, "usage: engram %s [OPTIONS]%s%s", command->name,
		                   *command->operands ? " " : "", command->operands);
	if (!(own = strdup(url ? url : DEFAULT_URL)))
		return client_fail(EX_OSERR, "out of memory");
	for (len = strlen(own); len && own[len - 1] == '/'; len--)
		own[len - 1] = 0;
	c->url = own;
	c->key = choose(NULL, "ENGRAM_API_KEY");
	c->space = choose(c->text[OPT_SPACE], "ENGRAM_SPACE");
	c->json = c->given[OPT_JSON];
	status = command->run(c);
	free(own);
	return status;
}

/* Output that could not be written is a failure, e.g. on a full disk. */
static int flushed(int status)
{
	if ((fflush(stdout) || ferror(stdout)) && status == EX_OK)
		return client_fail(EX_IOERR, "cannot write the output");
	return status;
}

int main(int argc, char **argv)
{
	struct client c = { 0 };
	const struct command *command;
	int words = 0, status;

	setlocale(LC_CTYPE, "");
	if (argc > 1 && (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h")))
		argv[1] = (char[]){ "help" };
	if (argc > 1 && !strcmp(argv[1], "--version"))
		argv[1] = (char[]){ "version" };
	command = find(argc - 1, argv + 1, &words);
	if (!command) {
		if (argc > 1)
			client_fail(EX_USAGE, "there is no command '%s'", argv[1]);
		print_commands(stderr);
		return EX_USAGE;
	}
	if (curl_global_init(CURL_GLOBAL_DEFAULT))
		return client_fail(EX_SOFTWARE, "libcurl does not start");
	c.name = command->name;
	status = options_read(&c, argc - 1 - words, argv + 1 + words);
	if (status == EX_OK && c.given[OPT_HELP])
		print_command(command);
	else if (status == EX_OK)
		status = run(command, &c);
	options_free(&c);
	curl_global_cleanup();
	return flushed(status);
}
