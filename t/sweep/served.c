/* A real server under test, see the header. */
#include "t/sweep/served.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "common/err.h"
#include "t/sweep/client.h"

const char *const served_kinds[SERVED_KINDS] = { "master", "wal", "worker", "consolidation" };

int64_t served_now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

void served_pause_us(unsigned us)
{
	const struct timespec t = { us / 1000000, (long)(us % 1000000) * 1000 };

	nanosleep(&t, NULL);
}

/* ---- files */

static void run_command(const char *format, const char *dir)
{
	char command[512];

	snprintf(command, sizeof command, format, dir, dir);
	if (system(command) != 0)
		fprintf(stderr, "# failed: %s\n", command);
}

void served_init(struct served *s, const char *under, unsigned workers)
{
	const char *build = getenv("top_builddir"), *tmp = under ? under : getenv("TMPDIR");

	memset(s, 0, sizeof *s);
	prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
	snprintf(s->dir, sizeof s->dir, "%s/engram-sweep-XXXXXX", tmp ? tmp : "/tmp");
	if (mkdtemp(s->dir) == NULL) {
		printf("Bail out! %s: %s\n", s->dir, strerror(errno));
		exit(2);
	}
	snprintf(s->bin, sizeof s->bin, "%s/engram-server", build ? build : ".");
	s->workers = workers;
	s->port = client_free_port();
	s->log_fd = -1;
	s->settings = "";
	served_forget(s);
}

void served_forget(struct served *s)
{
	run_command("rm -rf '%s/data' && mkdir -m 700 '%s/data'", s->dir);
}

void served_fini(struct served *s, bool keep)
{
	if (s->master > 0)
		served_kill_all(s, true);
	if (s->log_fd >= 0)
		close(s->log_fd);
	if (!keep)
		run_command("rm -rf '%s'", s->dir);
}

/* ---- start */

static void add_settings(struct served *s, char **argv, unsigned n, char *buf, size_t size)
{
	static char option[] = "-g";
	char *line, *rest = NULL;

	snprintf(buf, size, "%s", s->settings);
	for (line = strtok_r(buf, "\n", &rest); line != NULL && n < 60; line = strtok_r(NULL, "\n", &rest)) {
		argv[n++] = option;
		argv[n++] = line;
	}
	argv[n] = NULL;
}

static void write_config(const struct served *s)
{
	char path[160];
	FILE *f;

	snprintf(path, sizeof path, "%s/engram.toml", s->dir);
	f = fopen(path, "w");
	EG_ASSERT(f != NULL);
	fprintf(f, "[server]\nlisten = \"127.0.0.1:%u\"\ndata_dir = \"%s/data\"\npid_file = \"%s/pid\"\n"
	        "[workers]\nper_node = %u\n", s->port, s->dir, s->dir, s->workers);
	fclose(f);
}

static void become_server(struct served *s)
{
	static char buf[4096];
	char path[160], log[160], faults[160], *argv[64] = { s->bin, (char[]){ "-c" }, path };
	int fd;

	snprintf(path, sizeof path, "%s/engram.toml", s->dir);
	snprintf(log, sizeof log, "%s/log", s->dir);
	snprintf(faults, sizeof faults, "%s/faults", s->dir);
	fd = open(log, O_WRONLY | O_CREAT | O_APPEND, 0600);
	setpgid(0, 0);
	prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
	dup2(open("/dev/null", O_RDONLY), 0);
	dup2(fd, 1);
	dup2(fd, 2);
	setenv("ENGRAM_FAULTS", faults, 1);
	add_settings(s, argv, 3, buf, sizeof buf);
	execv(s->bin, argv);
	_exit(127);
}

void served_start(struct served *s)
{
	EG_ASSERT(s->master == 0);
	write_config(s);
	fflush(stdout);
	s->master = fork();
	EG_ASSERT(s->master >= 0);
	if (s->master == 0)
		become_server(s);
	s->starts++;
}

/* ---- processes */

static bool kind_of(pid_t pid, enum served_kind *kind)
{
	static const char *const titles[SERVED_KINDS] =
		{ "master process", "wal process", "worker process", "consolidation process" };
	char path[64], text[256] = "";
	ssize_t n;
	int fd;

	snprintf(path, sizeof path, "/proc/%d/cmdline", (int)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
	if (fd >= 0)
		close(fd);
	for (unsigned k = 1; n > 0 && k < SERVED_KINDS; k++)
		if (strstr(text, titles[k]) != NULL) {
			*kind = (enum served_kind)k;
			return true;
		}
	return false;
}

unsigned served_family(const struct served *s, struct member *v, unsigned max)
{
	char path[64], text[4096] = "", *at = text, *end;
	unsigned n = 0;
	FILE *f;

	if (s->master <= 0)
		return 0;
	v[n++] = (struct member){ s->master, SERVED_MASTER };
	snprintf(path, sizeof path, "/proc/%d/task/%d/children", (int)s->master, (int)s->master);
	f = fopen(path, "r");
	if (f == NULL)
		return 0;
	(void)!fgets(text, sizeof text, f);
	fclose(f);
	for (pid_t pid; (pid = (pid_t)strtol(at, &end, 10)) > 0 && n < max; at = end) {
		v[n].pid = pid;
		if (kind_of(pid, &v[n].kind))
			n++;
	}
	return n;
}

pid_t served_pid(const struct served *s, enum served_kind kind, unsigned nth)
{
	struct member v[32];
	unsigned n = served_family(s, v, 32);

	for (unsigned i = 0; i < n; i++)
		if (v[i].kind == kind && nth-- == 0)
			return v[i].pid;
	return 0;
}

static bool complete(const struct served *s)
{
	struct member v[32];
	unsigned n = served_family(s, v, 32), of[SERVED_KINDS] = { 0 };

	for (unsigned i = 0; i < n; i++)
		of[v[i].kind]++;
	return of[SERVED_WAL] == 1 && of[SERVED_WORKER] == s->workers && of[SERVED_CONSOLIDATION] == 1;
}

bool served_ready(struct served *s, double seconds)
{
	int64_t deadline = served_now_ns() + (int64_t)(seconds * 1e9);
	struct client c;
	bool ready = false;

	client_init(&c, s->port);
	while (!ready && served_now_ns() < deadline && !served_down(s)) {
		ready = complete(s) && client_ask(&c, "GET", "/health/ready", NULL) == 200 && complete(s);
		if (!ready)
			served_pause_us(2000);
	}
	client_fini(&c);
	return ready;
}

bool served_down(struct served *s)
{
	if (s->master > 0 && waitpid(s->master, NULL, WNOHANG) == s->master)
		s->master = 0;
	return s->master <= 0;
}

/* Those whose master has died are children of this process now. */
static void bury_orphans(void)
{
	char path[64], text[4096] = "", *at = text, *end;
	FILE *f;

	snprintf(path, sizeof path, "/proc/self/task/%d/children", (int)getpid());
	f = fopen(path, "r");
	if (f == NULL)
		return;
	(void)!fgets(text, sizeof text, f);
	fclose(f);
	for (pid_t pid; (pid = (pid_t)strtol(at, &end, 10)) > 0; at = end)
		kill(pid, SIGKILL);
	while (waitpid(-1, NULL, 0) > 0)
		;
}

static void unlink_objects(pid_t wal)
{
	char path[64], line[512], name[256];
	FILE *f;

	snprintf(path, sizeof path, "/proc/%d/maps", (int)wal);
	f = fopen(path, "r");
	while (f != NULL && fgets(line, sizeof line, f) != NULL) {
		char *at = strstr(line, "/dev/shm/engram-");

		if (at != NULL && sscanf(at, "%255s", name) == 1)
			unlink(name);
	}
	if (f != NULL)
		fclose(f);
}

void served_kill_all(struct served *s, bool forget)
{
	struct member v[32];
	unsigned n;

	if (s->master > 0)
		kill(s->master, SIGSTOP);
	n = served_family(s, v, 32);
	for (unsigned i = 0; i < n && forget; i++)
		if (v[i].kind == SERVED_WAL)
			unlink_objects(v[i].pid);
	while (n-- > 0)
		kill(v[n].pid, SIGKILL);
	if (s->master > 0)
		kill(s->master, SIGKILL);
	if (s->master > 0)
		waitpid(s->master, NULL, 0);
	s->master = 0;
	bury_orphans();
}

bool served_stop(struct served *s)
{
	int64_t deadline = served_now_ns() + INT64_C(40000000000);
	int status = -1;

	if (s->master <= 0)
		return false;
	kill(s->master, SIGTERM);
	while (waitpid(s->master, &status, WNOHANG) == 0 && served_now_ns() < deadline)
		served_pause_us(2000);
	if (status == -1)
		served_kill_all(s, true);
	s->master = 0;
	return status == 0;
}

/* ---- the log */

static bool complains(const char *line)
{
	if (strstr(line, "assertion failed") != NULL || strstr(line, "Sanitizer") != NULL
	    || strstr(line, "runtime error: ") != NULL
	    || strstr(line, " is killed") != NULL || strstr(line, "is built anew from the log") != NULL)
		return true;
	/* Status 0: the test has asked. 75: to go on from the log, see wal/writer.c. */
	if (strstr(line, "though nobody asked") != NULL && strstr(line, "status 0") == NULL
	    && strstr(line, "status 75") == NULL)
		return true;
	/* SIGKILL, and SIGILL: by_crashed_wal. */
	return strstr(line, "was ended by signal") != NULL && strstr(line, "by signal 9") == NULL
	       && strstr(line, "by signal 4 ") == NULL;
}

unsigned served_complaints(struct served *s)
{
	static char buf[65536];
	static size_t held;
	char path[160], *line, *end;
	unsigned n = 0;
	ssize_t got;

	snprintf(path, sizeof path, "%s/log", s->dir);
	if (s->log_fd < 0)
		s->log_fd = open(path, O_RDONLY | O_CLOEXEC);
	while (s->log_fd >= 0 && (got = read(s->log_fd, buf + held, sizeof buf - 1 - held)) > 0) {
		held += (size_t)got;
		buf[held] = '\0';
		for (line = buf; (end = strchr(line, '\n')) != NULL; line = end + 1) {
			*end = '\0';
			if (!complains(line))
				continue;
			printf("# log: %s\n", line);
			n++;
		}
		held -= (size_t)(line - buf);
		memmove(buf, line, held);
		held = held == sizeof buf - 1 ? 0 : held;
	}
	return n;
}
