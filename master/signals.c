#include "master/signals.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "common/log.h"

static const struct row {
	int number;
	unsigned wish;
	const char *name, *verb, *does;
} rows[SIGNALS_ROWS] = {
#define X(signal, wish, verb, does) { SIG##signal, SIGNALS_##wish, "SIG" #signal, verb, does },
#include "master/signals.def"
#undef X
};

static void table_set(sigset_t *set)
{
	sigemptyset(set);
	for (size_t i = 0; i < SIGNALS_ROWS; i++)
		sigaddset(set, rows[i].number);
}

int signals_open(void)
{
	sigset_t set;

	table_set(&set);
	signal(SIGPIPE, SIG_IGN);
	/* A parent may have left CHLD ignored, and then no child could be waited for. */
	signal(SIGCHLD, SIG_DFL);
	if (sigprocmask(SIG_BLOCK, &set, NULL) != 0)
		return -1;
	return signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
}

unsigned signals_take(int fd)
{
	struct signalfd_siginfo info;
	unsigned wishes = 0;

	while (read(fd, &info, sizeof info) == (ssize_t)sizeof info) {
		for (size_t i = 0; i < SIGNALS_ROWS; i++) {
			if ((uint32_t)rows[i].number != info.ssi_signo)
				continue;
			wishes |= rows[i].wish;
			if (rows[i].wish != SIGNALS_REAP)
				LOG_INFO("%s from process %u: %s", rows[i].name, info.ssi_pid, rows[i].does);
		}
	}
	return wishes;
}

/* Nothing has been begun yet that would have to be finished. */
static void leave(int number)
{
	(void)number;
	_exit(0);
}

void signals_child(void)
{
	sigset_t set;

	for (size_t i = 0; i < SIGNALS_ROWS; i++) {
		unsigned wish = rows[i].wish;

		signal(rows[i].number, wish == SIGNALS_REAP ? SIG_DFL
		       : wish & (SIGNALS_STOP | SIGNALS_LEAVE) ? leave : SIG_IGN);
	}
	signal(SIGPIPE, SIG_IGN);
	table_set(&set);
	sigprocmask(SIG_UNBLOCK, &set, NULL);
}

int signals_of_verb(const char *verb)
{
	if (*verb == '\0')
		return 0;
	for (size_t i = 0; i < SIGNALS_ROWS; i++) {
		if (strcmp(rows[i].verb, verb) == 0)
			return rows[i].number;
	}
	return 0;
}

const char *signals_verbs(void)
{
	static char text[128];

	text[0] = '\0';
	for (size_t i = 0; i < SIGNALS_ROWS; i++) {
		size_t used = strlen(text);

		if (*rows[i].verb != '\0')
			snprintf(text + used, sizeof text - used, "%s%s", used ? "|" : "", rows[i].verb);
	}
	return text;
}
