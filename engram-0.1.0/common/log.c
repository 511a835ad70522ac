/* A line is put together on the stack and handed over by one write(2). The only
 * shared state is the line before (to count repetitions), under a lock of this
 * process. A descriptor that may be in use by another thread is never closed
 * but replaced by dup3(). Not for signal handlers. */
#include "common/log.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/utf8.h"

#define PATH_BYTES 4096
#define KIND_BYTES 32
#define REPEAT_NS INT64_C(5000000000)  /* a repeated line is told of so often */

static const char *const level_names[] = { "error", "warn", "info", "debug" };

static _Atomic int level_now = LOG_LEVEL_INFO;
static _Atomic int format_now = LOG_FORMAT_TEXT;
static _Atomic int fd_now = STDERR_FILENO;
static _Atomic uint64_t lost;          /* lines that write(2) did not take */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int file_fd = -1;               /* ours, once a file was opened */
static char path[PATH_BYTES] = "stderr";
static char kind[KIND_BYTES] = "engram";
static struct {
	enum log_level level;
	int64_t told_ns;               /* when it or its count was last written */
	uint64_t held;                 /* repetitions not yet told */
	char text[EG_LOG_FIELD_MAX + 8];
} last;

/* ---- escaping */

static bool printable(uint32_t c)
{
	return c >= 0x20 && (c < 0x7f || c >= 0xa0);
}

/* Writes what stands for the n bytes at p; 0 when there is no room. */
static size_t escape_one(const unsigned char *p, unsigned n, bool plain, enum log_format format, char *out,
                         size_t room)
{
	char text[32];
	size_t len = 0;

	if (plain && format == LOG_FORMAT_JSON && (*p == '"' || *p == '\\'))
		len = (size_t)snprintf(text, sizeof text, "\\%c", *p);
	else if (plain)
		memcpy(text, p, len = n);
	else
		for (unsigned i = 0; i < n; i++)
			len += (size_t)snprintf(text + len, sizeof text - len,
			                        format == LOG_FORMAT_JSON ? "\\u%04x" : "\\x%02x", p[i]);
	if (len >= room)
		return 0;
	memcpy(out, text, len);
	return len;
}

size_t log_escape(const char *text, size_t len, enum log_format format, char *out, size_t size)
{
	size_t used = 0;

	EG_ASSERT(size > 0);
	for (size_t i = 0; i < len;) {
		uint32_t c = 0;
		unsigned n = utf8_get(text + i, len - i, &c);
		size_t got = escape_one((const unsigned char *)text + i, n ? n : 1, n && printable(c), format,
		                        out + used, size - used);
		if (!got)
			break;
		used += got;
		i += n ? n : 1;
	}
	out[used] = '\0';
	return used;
}

/* ---- writing */

static void time_text(char out[EG_CLOCK_TEXT])
{
	int64_t us = clock_real_us();
	int ms = (int)(us / 1000 % 1000);
	size_t n;

	if (ms < 0)
		ms += 1000;
	n = clock_format(us - us % 1000 - ms * 1000, out);
	snprintf(out + n - 1, EG_CLOCK_TEXT - (n - 1), ".%03dZ", ms);
}

static bool put(const char *line, size_t len)
{
	ssize_t n;

	do
		n = write(atomic_load(&fd_now), line, len);
	while (n < 0 && errno == EINTR);
	if (n != (ssize_t)len)
		atomic_fetch_add(&lost, 1);
	return n == (ssize_t)len;
}

/* Call with the lock held (kind). */
static bool emit(enum log_level level, const char *text, size_t len)
{
	enum log_format format = (enum log_format)atomic_load(&format_now);
	char time[EG_CLOCK_TEXT], escaped[EG_LOG_LINE_MAX - 256], line[EG_LOG_LINE_MAX];
	int n;

	time_text(time);
	log_escape(text, len, format, escaped, sizeof escaped);
	if (format == LOG_FORMAT_JSON)
		n = snprintf(line, sizeof line,
		             "{\"time\":\"%s\",\"level\":\"%s\",\"kind\":\"%s\",\"pid\":%d,\"message\":\"%s\"}\n",
		             time, level_names[level], kind, (int)getpid(), escaped);
	else
		n = snprintf(line, sizeof line, "%s [%s] %s %d: %s\n", time, level_names[level], kind, (int)getpid(),
		             escaped);
	return put(line, (size_t)n);
}

static void emitf(enum log_level level, const char *fmt, uint64_t n)
{
	char text[96];

	snprintf(text, sizeof text, fmt, (unsigned long long)n);
	emit(level, text, strlen(text));
}

static void tell_held(int64_t now)
{
	if (last.held)
		emitf(last.level, "last message repeated %llu times", last.held);
	last.held = 0;
	last.told_ns = now;
}

static bool is_repeated(enum log_level level, const char *text)
{
	return last.text[0] && last.level == level && strcmp(last.text, text) == 0;
}

static void write_locked(enum log_level level, const char *text)
{
	int64_t now = clock_mono_ns();

	if (is_repeated(level, text)) {
		last.held++;
		if (now - last.told_ns >= REPEAT_NS)
			tell_held(now);
		return;
	}
	tell_held(now);
	last.level = level;
	snprintf(last.text, sizeof last.text, "%s", text);
	if (emit(level, text, strlen(text))) {
		uint64_t n = atomic_exchange(&lost, 0);
		if (n)
			emitf(LOG_LEVEL_ERROR, "%llu lines of the log before this one could not be written", n);
	}
}

static void write_va(enum log_level level, const char *fmt, va_list ap)
{
	char text[EG_LOG_FIELD_MAX + 8];
	int saved = errno;
	int n = vsnprintf(text, EG_LOG_FIELD_MAX + 1, fmt, ap);

	if (n > EG_LOG_FIELD_MAX) {            /* say that it was cut, and cut between characters */
		size_t at = EG_LOG_FIELD_MAX;
		while (at > EG_LOG_FIELD_MAX - 4 && ((unsigned char)text[at - 1] & 0xc0) == 0x80)
			at--;
		if ((unsigned char)text[at - 1] >= 0xc0)
			at--;
		memcpy(text + at, "...", 4);
	}
	pthread_mutex_lock(&lock);
	write_locked(level, text);
	pthread_mutex_unlock(&lock);
	errno = saved;
}

void log_write(enum log_level level, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	write_va(level, fmt, ap);
	va_end(ap);
}

void log_fatal(int status, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	write_va(LOG_LEVEL_ERROR, fmt, ap);
	va_end(ap);
	exit(status);
}

void log_flush(void)
{
	pthread_mutex_lock(&lock);
	tell_held(clock_mono_ns());
	pthread_mutex_unlock(&lock);
}

/* ---- opening */

/* Call with the lock held. Puts `file` behind file_fd. */
static enum err open_locked(const char *file)
{
	int fd, err;

	if (strcmp(file, "stderr") == 0) {
		atomic_store(&fd_now, STDERR_FILENO);
		return EG_E_OK;
	}
	fd = open(file, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY, 0640);
	if (fd < 0)
		return EG_E_INPUT;
	if (file_fd < 0) {
		file_fd = fd;
	} else {
		int done = dup3(fd, file_fd, O_CLOEXEC);
		err = errno;
		close(fd);
		errno = err;
		if (done < 0)
			return EG_E_INPUT;
	}
	atomic_store(&fd_now, file_fd);
	return EG_E_OK;
}

enum err log_open(const char *file, enum log_level level, enum log_format format)
{
	enum err e = EG_E_INPUT;

	pthread_mutex_lock(&lock);
	tell_held(clock_mono_ns());
	if (strlen(file) >= sizeof path)
		errno = ENAMETOOLONG;
	else
		e = open_locked(file);
	if (e == EG_E_OK) {
		snprintf(path, sizeof path, "%s", file);
		atomic_store(&level_now, level);
		atomic_store(&format_now, format);
	}
	pthread_mutex_unlock(&lock);
	return e;
}

enum err log_reopen(void)
{
	enum err e;

	pthread_mutex_lock(&lock);
	tell_held(clock_mono_ns());
	e = open_locked(path);
	pthread_mutex_unlock(&lock);
	return e;
}

void log_set_kind(const char *text)
{
	pthread_mutex_lock(&lock);
	snprintf(kind, sizeof kind, "%s", text);
	pthread_mutex_unlock(&lock);
}

enum log_level log_level_now(void)
{
	return (enum log_level)atomic_load_explicit(&level_now, memory_order_relaxed);
}

int log_fd(void)
{
	return atomic_load(&fd_now);
}
