#include "master/options.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sysexits.h>
#include <unistd.h>

#include "common/log.h"
#include "master/build.h"
#include "master/master.h"
#include "master/signals.h"
#include "master/title.h"

#define EG_REFUSED 1                   /* configuration, address, no such server */

enum task { TASK_SERVE, TASK_TEST, TASK_DUMP, TASK_SIGNAL };

struct options {
	enum task task;
	char *path;                    /* -c */
	char **overrides;              /* -g */
	size_t n_overrides;
	char *verb;                    /* -s */
	bool daemon;                   /* -d */
	char **argv;                   /* all of it, to run the program again */
};

static void usage(FILE *out)
{
	fprintf(out, "usage: engram-server [-d] [-c FILE] [-g SECTION.KEY=VALUE]...\n"
	             "       engram-server -t | -T [-c FILE] [-g SECTION.KEY=VALUE]...\n"
	             "       engram-server -s %s [-c FILE]\n"
	             "       engram-server -v | -V | -h\n", signals_verbs());
}

static void copy(char **to, const char *text)
{
	free(*to);
	*to = strdup(text);
	EG_ASSERT(*to != NULL);
}

/* Texts are copied: the title overwrites argv. Returns -1, or an exit status. */
static int options_read(struct options *o, int argc, char *argv[])
{
	int c;

	o->overrides = calloc((size_t)argc + 1, sizeof *o->overrides);
	o->argv = calloc((size_t)argc + 1, sizeof *o->argv);
	EG_ASSERT(o->overrides != NULL && o->argv != NULL);
	for (int i = 0; i < argc; i++)
		copy(&o->argv[i], argv[i]);
	while ((c = getopt(argc, argv, "c:g:s:tTdvVh")) != -1) {
		switch (c) {
		case 'c': copy(&o->path, optarg); break;
		case 'g': copy(&o->overrides[o->n_overrides++], optarg); break;
		case 's': o->task = TASK_SIGNAL; copy(&o->verb, optarg); break;
		case 't': o->task = TASK_TEST; break;
		case 'T': o->task = TASK_DUMP; break;
		case 'd': o->daemon = true; break;
		case 'v': build_print(stdout); return 0;
		case 'V': build_print_all(stdout); return 0;
		case 'h': usage(stdout); return 0;
		default: usage(stderr); return EX_USAGE;
		}
	}
	if (optind == argc)
		return -1;
	fprintf(stderr, "engram-server: \"%s\" is no option\n", argv[optind]);
	usage(stderr);
	return EX_USAGE;
}

static const char *path_shown(const struct options *o)
{
	return o->path != NULL ? o->path : EG_CONFIG_FILE;
}

static struct config *load(const struct options *o, bool quiet)
{
	struct config_messages *messages = calloc(1, sizeof *messages);
	struct config *cfg;

	EG_ASSERT(messages != NULL);
	cfg = config_load(o->path, o->overrides, o->n_overrides, messages);
	if (!quiet || cfg == NULL)
		config_messages_print(messages, stderr);
	if (cfg == NULL)
		fprintf(stderr, "configuration file %s test failed\n", path_shown(o));
	free(messages);
	return cfg;
}

/* -t, -T */
static int test(const struct options *o)
{
	struct config *cfg = load(o, false);

	if (cfg == NULL)
		return EG_REFUSED;
	if (o->task == TASK_DUMP)
		config_dump(cfg, stdout);
	config_free(cfg);
	fprintf(stderr, "configuration file %s test is successful\n", path_shown(o));
	return 0;
}

/* ---- -s */

/* Is it a master? Its number may belong to another program by now. */
static bool is_master(pid_t pid)
{
	char path[64], comm[32] = "";
	FILE *in;

	snprintf(path, sizeof path, "/proc/%d/comm", (int)pid);
	in = fopen(path, "re");
	if (in == NULL)
		return false;
	if (fgets(comm, sizeof comm, in) == NULL)
		comm[0] = '\0';
	fclose(in);
	return strcmp(comm, "engram-server\n") == 0;
}

static int send_to(pid_t pid, int number)
{
	int handle = pidfd_open(pid, 0);
	int status = EG_REFUSED;

	if (handle < 0 || !is_master(pid))
		fprintf(stderr, "engram-server: process %d is no running server\n", (int)pid);
	else if (pidfd_send_signal(handle, number, NULL, 0) != 0)
		fprintf(stderr, "engram-server: process %d: %s\n", (int)pid, strerror(errno));
	else
		status = 0;
	if (handle >= 0)
		close(handle);
	return status;
}

static int send_signal(const struct options *o)
{
	int number = signals_of_verb(o->verb);
	struct config *cfg;
	struct fault f;
	pid_t pid = 0;

	if (number == 0) {
		fprintf(stderr, "engram-server: -s takes %s, not \"%s\"\n", signals_verbs(), o->verb);
		return EX_USAGE;
	}
	cfg = load(o, true);
	if (cfg == NULL)
		return EG_REFUSED;
	if (*cfg->server_pid_file == '\0')
		fprintf(stderr, "engram-server: -s needs server.pid_file, which is not set in %s\n", path_shown(o));
	else if ((pid = files_pid_read(cfg->server_pid_file, &f)) == 0)
		fprintf(stderr, "engram-server: %s\n", f.message);
	config_free(cfg);
	return pid == 0 ? EG_REFUSED : send_to(pid, number);
}

/* ---- serving */

/* Goes into the background. The process that was called waits until the server
 * stands, or passes on with what status it failed. Returns the descriptor to
 * report to. */
static int daemonise(void)
{
	unsigned char status = EX_OSERR;
	int ends[2];
	pid_t pid;

	if (pipe2(ends, O_CLOEXEC) != 0 || (pid = fork()) < 0)
		log_fatal(EX_OSERR, "cannot go into the background: %s", strerror(errno));
	if (pid > 0) {
		close(ends[1]);
		if (read(ends[0], &status, 1) != 1)
			fprintf(stderr, "engram-server: it ended at once, see its log\n");
		_exit(status);
	}
	close(ends[0]);
	setsid();
	pid = fork();
	if (pid < 0)
		log_fatal(EX_OSERR, "cannot go into the background: %s", strerror(errno));
	if (pid > 0)
		_exit(0);
	return ends[1];
}

static void report(int to, unsigned char status)
{
	int null;

	if (to < 0)
		return;
	if (status == 0) {
		null = open("/dev/null", O_RDWR | O_CLOEXEC);
		if (null < 0 || dup2(null, STDOUT_FILENO) < 0 || dup2(null, STDERR_FILENO) < 0)
			LOG_WARN("/dev/null: %s", strerror(errno));
		if (null > STDERR_FILENO)
			close(null);
	}
	if (write(to, &status, 1) != 1)
		LOG_WARN("who started the server does not listen any more");
	close(to);
}

static void stdin_from_null(void)
{
	int null = open("/dev/null", O_RDONLY | O_CLOEXEC);

	if (null < 0 || dup2(null, STDIN_FILENO) < 0)
		log_fatal(EX_OSERR, "/dev/null: %s", strerror(errno));
	if (null != STDIN_FILENO)
		close(null);
}

static int status_of(enum err e)
{
	return e == EG_E_INPUT ? EG_REFUSED : e == EG_E_CONFLICT ? EX_TEMPFAIL
	       : e == EG_E_FORBIDDEN ? EX_NOPERM : e == EG_E_VALIDATION ? EX_DATAERR : EX_OSERR;
}

static void say_listeners(const struct sockets *s, bool to_stdout)
{
	for (unsigned i = 0; i < s->n_addresses; i++) {
		LOG_INFO("listening on %s", s->addresses[i].text);
		if (to_stdout)
			printf("engram-server: listening on %s\n", s->addresses[i].text);
	}
	fflush(stdout);
}

/* The log may be a file: who called should see why nothing was started. */
static int refuse(const struct config *cfg, const struct fault *f, enum err e, int to)
{
	LOG_ERROR("%s%s%s", f->field, *f->field ? ": " : "", f->message);
	if (strcmp(cfg->logging_file, "stderr") != 0)
		fprintf(stderr, "engram-server: %s%s%s\n", f->field, *f->field ? ": " : "", f->message);
	log_flush();
	report(to, (unsigned char)status_of(e));
	return status_of(e);
}

static int serve(const struct options *o, const struct kinds *kinds)
{
	static struct master m;        /* large, and children must find it where it was */
	struct config *cfg = load(o, false);
	struct fault f;
	enum err e;
	bool to_file;
	int to = -1;

	if (cfg == NULL)
		return EG_REFUSED;
	to_file = strcmp(cfg->logging_file, "stderr") != 0;
	if (o->daemon && !to_file) {
		fprintf(stderr, "engram-server: -d needs a log file: set logging.file\n");
		config_free(cfg);
		return EG_REFUSED;
	}
	log_set_kind("master process");
	if (log_open(cfg->logging_file, (enum log_level)cfg->logging_level,
	             (enum log_format)cfg->logging_format) != EG_E_OK)
		log_fatal(EG_REFUSED, "logging.file: %s: %s", cfg->logging_file, strerror(errno));
	stdin_from_null();
	/* A new image started by an old master has its place already. */
	if (o->daemon && !upgrade_expected())
		to = daemonise();
	title_set("master process", "engram-server");
	m = (struct master){ .kinds = kinds, .cfg = cfg, .config_path = o->path,
	                     .overrides = o->overrides, .n_overrides = o->n_overrides, .argv = o->argv };
	e = master_open(&m, &f);
	if (e != EG_E_OK) {
		int status = refuse(cfg, &f, e, to);

		config_free(cfg);
		return status;
	}
	say_listeners(&m.sockets, to_file);
	report(to, 0);
	e = master_run(&m);
	master_close(&m);
	config_free(m.cfg);
	log_flush();
	return e == EG_E_OK ? 0 : status_of(e);
}

int options_run(int argc, char *argv[], const struct kinds *kinds)
{
	struct options o = { .task = TASK_SERVE };
	int status;

	title_init(argc, argv);
	status = options_read(&o, argc, argv);
	if (status < 0)
		status = o.task == TASK_SIGNAL ? send_signal(&o) : o.task == TASK_SERVE ? serve(&o, kinds) : test(&o);
	for (size_t i = 0; i < o.n_overrides; i++)
		free(o.overrides[i]);
	free(o.overrides);
	for (int i = 0; o.argv != NULL && o.argv[i] != NULL; i++)
		free(o.argv[i]);
	free(o.argv);
	free(o.path);
	free(o.verb);
	return status;
}
