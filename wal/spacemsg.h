/* Messages in a record's packed part: packing for those who send, reading for
 * the writer. Bodies are protobuf-c messages of wal/record.proto; memories are
 * packed and unpacked by workers/mind, spaces here, where the writer needs them. */
#ifndef WAL_SPACEMSG_H
#define WAL_SPACEMSG_H

#include "shm/space.h"
#include "wal/submit.h"

struct space_message {
	char id[EG_SPACE_ID_MAX + 1];
	size_t id_bytes;
	enum vector_source source;
	uint32_t dimension;
	uint64_t settings, quota_memories, quota_bytes;
	bool create_only;
};

/* Bytes written to out (at most 256). */
size_t space_message_pack(const struct space_message *m, uint8_t out[256]);
/* false when the packed part is no such message or beyond its limits. */
bool space_message_read(const struct record *r, struct space_message *m);

#endif
