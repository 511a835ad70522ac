/* The log: one line per event, one write(2) per line, safe to share between processes.
 *
 * Promises: a line is written whole or not at all (O_APPEND, at most
 * EG_LOG_LINE_MAX bytes); control characters and broken UTF-8 in it are escaped,
 * so a line of the log is always one line; no field is longer than 1 KiB; the
 * same line in a row is written once, then counted. Works before log_open()
 * (text, info, stderr) and from any thread; no lock is shared between processes.
 *
 * Must never be logged: contents of memories, keys, bodies of requests.
 */
#ifndef COMMON_LOG_H
#define COMMON_LOG_H

#include <stddef.h>

#include "common/err.h"

#define EG_LOG_FIELD_MAX 1024          /* bytes of a message before escaping */
#define EG_LOG_LINE_MAX 8192

/* Same order as CONFIG_LEVEL_*, CONFIG_FORMAT_* of common/config.h. */
enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARN, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };
enum log_format { LOG_FORMAT_TEXT, LOG_FORMAT_JSON };

/* Opens `file` (or "stderr") for appending and sets level and format. On failure
 * (EG_E_INPUT, errno set) the log goes on where it was. May be called again (reload). */
enum err log_open(const char *file, enum log_level level, enum log_format format) EG_MUST_USE;
/* Opens the same file anew (USR1, after logrotate has moved it). */
enum err log_reopen(void) EG_MUST_USE;
/* Name in every line: "master process", "worker process", "wal process"... Copied. */
void log_set_kind(const char *kind);
enum log_level log_level_now(void);
/* Writes what is still held back ("last message repeated N times"); call now and
 * then from a loop, and before exit. */
void log_flush(void);
/* The descriptor that lines go to, for those who must keep it open over exec or fork. */
int log_fd(void);

void log_write(enum log_level level, const char *fmt, ...) EG_PRINTF(2, 3);

#define LOG_AT(level, ...) \
	((level) <= log_level_now() ? log_write((level), __VA_ARGS__) : (void)0)
#define LOG_ERROR(...) LOG_AT(LOG_LEVEL_ERROR, __VA_ARGS__)
#define LOG_WARN(...)  LOG_AT(LOG_LEVEL_WARN, __VA_ARGS__)
#define LOG_INFO(...)  LOG_AT(LOG_LEVEL_INFO, __VA_ARGS__)
#define LOG_DEBUG(...) LOG_AT(LOG_LEVEL_DEBUG, __VA_ARGS__)

/* Start-up only: logs the line at error level and exits with `status` (sysexits). */
void log_fatal(int status, const char *fmt, ...) EG_PRINTF(2, 3) __attribute__((noreturn));

/* Escapes `len` bytes of text into out (size bytes with NUL): bytes < 0x20 and 0x7f
 * and those that are not UTF-8 become \xHH (text) or \u00HH (json, which also
 * escapes " and \). Cuts at a whole character. Returns the length written. */
size_t log_escape(const char *text, size_t len, enum log_format format, char *out, size_t size);

#endif
