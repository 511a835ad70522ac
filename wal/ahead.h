/* A thread that reads a file ahead of whoever looks at it, past a wait for each piece. */
#ifndef WAL_AHEAD_H
#define WAL_AHEAD_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct ahead;

/* Memory to read into past the page cache, free() it: in huge pages, if they are to be had. A read
 * into scattered pages is three times slower, for each is an address of its own to the
 * device. *bytes: at least so many; rounded up. NULL: there is none. */
void *ahead_buffer(size_t *bytes);

/* Reads the file from `at` on (a multiple of a block), `bytes` of it ahead of whoever takes them. NULL: there is
 * no thread or no memory, so everybody reads for himself. fd stays the caller's, and is open until
 * ahead_close. */
struct ahead *ahead_open(int fd, size_t bytes, uint64_t at);
void ahead_close(struct ahead *a);     /* NULL: nothing */

/* Up to n bytes at this place, waiting until they are there; reading goes on behind them, so each place
 * is asked for once, one after the other. Where `at` is another place, it begins anew
 * there. 0: the file ends, or cannot be read; whoever reads it himself learns which. */
size_t ahead_take(struct ahead *a, void *to, size_t n, uint64_t at);

#endif
