#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "common/err.h"
#include "common/io.h"
#include "t/unit/wal_head.h"
#include "wal/segment.h"

void head_make(const struct datadir *d, uint64_t start_lsn, const void *end, size_t bytes)
{
	struct segment_header h = { .magic = EG_SEGMENT_MAGIC, .format = EG_SEGMENT_FORMAT, .timeline = 1,
		.number = start_lsn, .start_lsn = start_lsn, .salt = HEAD_SALT };
	uint8_t image[EG_SEGMENT_DATA] = { 0 };
	char name[32];
	int fd;

	memcpy(h.uuid, d->uuid, sizeof h.uuid);
	segment_seal_header(&h);
	memcpy(image, &h, sizeof h);
	memcpy(image + EG_BLOCK, &h, sizeof h);
	datadir_segment_name(name, start_lsn);
	fd = io_open(d->wal_fd, name, O_RDWR | O_CREAT | O_TRUNC);
	EG_ASSERT(fd >= 0 && io_write_at(fd, image, sizeof image, 0) == 0);
	if (bytes > 0)
		EG_ASSERT(io_write_at(fd, end, bytes, sizeof image) == 0);
	close(fd);
}
