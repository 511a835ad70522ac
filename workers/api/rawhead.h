/* The raw bytes of a connection's first head, looked at before libmicrohttpd
 * gets the socket.
 *
 * Some faults never reach the guard: the library answers them by itself, in
 * HTML, and a malformed Content-Length even twice. Where the bytes are still
 * ours we refuse them ourselves. Requests that follow on a kept connection are
 * the library's; there the same faults end the connection, too.
 */
#ifndef API_RAWHEAD_H
#define API_RAWHEAD_H

#include <stddef.h>

#include "common/err.h"

/* Bytes up to and with the empty line that ends the head, 0: not complete. An
 * empty line is recognised however its ends are written. from: bytes that were
 * looked at before. */
size_t rawhead_end(const char *bytes, size_t n, size_t from);
/* Check that head. EG_E_REQUEST with the reason in f, or EG_E_OK. */
enum err rawhead_check(const char *head, size_t n, struct fault *f) EG_MUST_USE;
/* After rawhead_check: if the body is chunked and its first size line is among
 * the n bytes behind the head, check that, too: the library waits for what a
 * huge size promises, and for the end of a line that its memory cannot hold. */
enum err rawhead_chunk(const char *head, size_t head_bytes, size_t n, size_t limit_bytes, struct fault *f) EG_MUST_USE;

#endif
