/* Time: one monotonic clock for durations, one calendar for people.
 *
 * The calendar is the system's plus [testing] clock_offset_seconds, so that a
 * test can move a server through weeks. Everything that is stored or shown is
 * in microseconds since 1970 UTC; nobody else calls clock_gettime(CLOCK_REALTIME).
 * Durations and deadlines use the monotonic clock, which no offset moves.
 */
#ifndef COMMON_CLOCK_H
#define COMMON_CLOCK_H

#include <stddef.h>
#include <stdint.h>

#include "common/err.h"

#define EG_CLOCK_TEXT 40               /* bytes that clock_format needs, with its NUL */
/* Years 0001 to 9999, what RFC 3339 can write. */
#define EG_CLOCK_MIN_US INT64_C(-62135596800000000)
#define EG_CLOCK_MAX_US INT64_C(253402300799999999)

int64_t clock_mono_ns(void);
int64_t clock_mono_ms(void);
int64_t clock_real_us(void);           /* calendar, with the offset */

/* Moves this process's calendar; a reload may call it at any time. */
void clock_set_offset_seconds(int64_t seconds);
int64_t clock_offset_seconds(void);

/* RFC 3339, strictly: date, 'T' (or 't', or a space), time, and a zone ('Z', 'z' or +-hh:mm).
 * Fractions to microseconds, further digits are cut. A leap second (:60) is
 * taken at 23:59 UTC of a 30 June or 31 December, as the second before it.
 * EG_E_INPUT for anything else, *us untouched. The text is `len` bytes. */
enum err clock_parse(const char *text, size_t len, int64_t *us) EG_MUST_USE;

/* "2024-02-29T12:00:00Z", with .123 or .123456 only when not zero. Returns the
 * length. A time outside of MIN..MAX is a programmer's error. */
size_t clock_format(int64_t us, char out[EG_CLOCK_TEXT]);

#endif
