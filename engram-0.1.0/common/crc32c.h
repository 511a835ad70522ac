/* CRC-32C (Castagnoli, reflected 0x82f63b78, as in iSCSI): log records,
 * segment pages, region headers. The CPU's instruction where there is one. */
#ifndef COMMON_CRC32C_H
#define COMMON_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/* CRC of data, continuing crc (0 at the start): crc32c(crc32c(0, a), b) is the
 * CRC of a followed by b. */
uint32_t crc32c(uint32_t crc, const void *data, size_t len);
/* The same without the CPU's instruction, to check it against. */
uint32_t crc32c_table(uint32_t crc, const void *data, size_t len);

#endif
