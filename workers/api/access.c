/* See access.h. */
#include "workers/api/access.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"
#include "workers/api/conn.h"
#include "workers/api/routes.h"

enum { SLOW_PER_SECOND = 5 };          /* lines; more are only counted */

static _Atomic int log_fd_now = -1;

enum err access_open(const char *file, struct fault *f)
{
	int fd = -1, old = atomic_load(&log_fd_now);

	if (*file) {
		fd = open(file, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0640);
		if (fd < 0)
			return err_set(f, EG_E_INPUT, "monitoring.access_log", NULL, "cannot open %.200s: %s", file, strerror(errno));
	}
	/* The number stays the same, so a thread that is writing meets the old or the new file. */
	if (old >= 0 && fd >= 0) {
		dup3(fd, old, O_CLOEXEC);
		close(fd);
	} else {
		atomic_store(&log_fd_now, fd);
	}
	return EG_E_OK;
}

/* The path alone: queries may hold text of memories. */
static void path_text(const struct request *r, char out[300])
{
	size_t n = r->target ? strcspn(r->target, "?") : 0;

	log_escape(r->target ? r->target : "", n > 256 ? 256 : n, LOG_FORMAT_JSON, out, 300);
}

static void write_line(const struct request *r, size_t bytes, int64_t took_us, int fd)
{
	char line[512], when[EG_CLOCK_TEXT], peer[64], path[300];
	int n;

	clock_format(clock_real_us(), when);
	conn_peer(r->conn, peer);
	path_text(r, path);
	n = snprintf(line, sizeof line, "%s %s %s \"%s\" %d %zu %.3f\n", when, peer,
	             r->method < HTTP_METHODS ? method_name(r->method) : "-", path, r->status, bytes, (double)took_us / 1000);
	if (n > 0)
		(void)!write(fd, line, (size_t)n < sizeof line ? (size_t)n : sizeof line - 1);
}

/* A server that is slow all the time must not write a line for each request. */
static void note_slow(const struct request *r, int64_t took_us)
{
	static _Atomic int64_t second;
	static _Atomic unsigned lines;
	int64_t now = clock_mono_ms() / 1000;

	if (atomic_exchange(&second, now) != now) {
		unsigned n = atomic_exchange(&lines, 0);
		if (n > SLOW_PER_SECOND)
			LOG_WARN("%u more slow requests in a second", n - SLOW_PER_SECOND);
	}
	if (atomic_fetch_add(&lines, 1) < SLOW_PER_SECOND)
		LOG_WARN("slow request: %s took %.1f ms, status %d", r->route ? r->route->name : "none", (double)took_us / 1000, r->status);
}

void access_note(const struct request *r, size_t bytes)
{
	int fd = atomic_load_explicit(&log_fd_now, memory_order_relaxed);
	int64_t took_us = (clock_mono_ns() - r->begin_ns) / 1000;

	if (fd >= 0)
		write_line(r, bytes, took_us, fd);
	if (took_us > r->config->monitoring_slow_query_threshold_ms * 1000)
		note_slow(r, took_us);
}
