/* What the commands of `engram` share: one run of the program.
 *
 * main.c reads the arguments by the two tables (commands.def, options.def) and
 * calls one client_* function, which returns the exit status (sysexits.h). A
 * command talks HTTP to the server, or reads files by wal/ and lower; it never
 * does both, and it keeps nothing between runs.
 */
#ifndef CONTRIB_CLIENT_CLIENT_H
#define CONTRIB_CLIENT_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <sysexits.h>

enum option {
#define X(name, text, kind, argument, commands, help) OPT_##name,
#include "contrib/client/options.def"
#undef X
	OPTIONS
};

enum {
	CLIENT_LIST_MAX = 64,                  /* repetitions of one option */
};

struct list {
	size_t n;
	const char *item[CLIENT_LIST_MAX];
};

struct client {
	const char *name;                      /* of the command, for messages */
	const char *url;                       /* without a slash at its end */
	const char *key;                       /* ENGRAM_API_KEY or NULL */
	const char *space;                     /* NULL: the server's default */
	bool json;
	int operands;
	char **operand;
	bool given[OPTIONS];
	const char *text[OPTIONS];             /* TEXT, and the word of numbers */
	double number[OPTIONS];                /* WHOLE, REAL */
	struct list *list[OPTIONS];            /* LIST, NULL when not given */
};

/* Options of the command c->name from argv[0..argc), operands in argv's order.
 * EX_OK, or EX_USAGE after a message. */
int options_read(struct client *c, int argc, char **argv);
void options_free(struct client *c);
/* The options of a command, one a line, those of all commands last. */
void options_print(const char *command);

/* A number option's value, or other when it was not given. */
double option_number(const struct client *c, enum option o, double other);

/* "engram: ..." on stderr. Returns status, so that it can be returned. */
int client_fail(int status, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#define X(function, name, least, most, operands, summary) int client_##function(struct client *c);
#include "contrib/client/commands.def"
#undef X

#endif
