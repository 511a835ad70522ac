/* Base64 (RFC 4648 section 4), strict: padded, no white space, unused bits 0.
 * So that each value has one spelling. */
#ifndef COMMON_BASE64_H
#define COMMON_BASE64_H

#include <stddef.h>
#include <sys/types.h>

#include "common/err.h"

/* Characters for len bytes, without a NUL. */
#define BASE64_LEN(len) (((len) + 2) / 3 * 4)

/* Writes BASE64_LEN(len) characters and no NUL. */
void base64_encode(const void *data, size_t len, char *out);
/* Bytes written to out, or -1: not base64, or more than cap bytes. */
ssize_t base64_decode(const char *text, size_t len, void *out, size_t cap) EG_MUST_USE;

#endif
