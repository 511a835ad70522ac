/* A thread that reads the next window of a file while the present one is looked at. */
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

/* NULL: there is no thread or no memory, so everybody reads for himself. fd stays the caller's, and is
 * open until ahead_close. */
struct ahead *ahead_open(int fd);
void ahead_close(struct ahead *a);     /* NULL: nothing */

/* Read from here on, as much as a window holds; `at` is a multiple of a block. */
void ahead_ask(struct ahead *a, uint64_t at);
/* Up to n bytes at this place, if that was asked for: waits until they are there. 0: it was not, or
 * they could not be read; whoever reads them himself learns why. */
ssize_t ahead_take(struct ahead *a, void *to, size_t n, uint64_t at);

#endif
