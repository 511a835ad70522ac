/* Segments made by hand, for tests to which only their names and how they end matter. */
#ifndef T_WAL_HEAD_H
#define T_WAL_HEAD_H

#include <stddef.h>
#include <stdint.h>

#include "wal/datadir.h"

#define HEAD_SALT 7u                   /* of each of them */

/* The segment that begins with this LSN: its two heads, and these bytes behind them. Replaces
 * the file, if there is one. */
void head_make(const struct datadir *d, uint64_t start_lsn, const void *end, size_t bytes);

#endif
