#include "master/title.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

static char *area;
static size_t area_bytes;

/* The texts of the moved environment, in one piece: who unsets a variable drops the
 * pointer to it, not the text. Kept for the life of the process. */
static char *environ_texts;

/* Copies the environment, and says whether it all went well: a title is not worth
 * an environment with holes. */
static bool environ_move(void)
{
	size_t n = 0, bytes = 1;
	char **copy, *to;

	for (; environ[n] != NULL; n++)
		bytes += strlen(environ[n]) + 1;
	copy = calloc(n + 1, sizeof *copy);
	to = environ_texts = malloc(bytes);
	if (copy == NULL || to == NULL) {
		free(copy);
		return false;
	}
	for (size_t i = 0; i < n; i++) {
		copy[i] = to;
		to = stpcpy(to, environ[i]) + 1;
	}
	environ = copy;
	return true;
}

void title_init(int argc, char *argv[])
{
	char *end = argv[0];
	char *name;

	/* Arguments and environment stand in one row; stop where they do not. */
	for (int i = 0; i < argc && argv[i] == end; i++)
		end += strlen(argv[i]) + 1;
	for (char **e = environ; *e != NULL && *e == end; e++)
		end += strlen(*e) + 1;
	/* glibc keeps pointers into argv[0] for its messages. */
	name = strdup("engram-server");
	if (name == NULL || !environ_move())
		return;
	program_invocation_name = program_invocation_short_name = name;
	area = argv[0];
	area_bytes = (size_t)(end - area);
}

void title_set(const char *kind, const char *comm)
{
	prctl(PR_SET_NAME, comm, 0, 0, 0);
	if (area == NULL)
		return;
	memset(area, 0, area_bytes);
	snprintf(area, area_bytes, "engram-server: %s", kind);
}
