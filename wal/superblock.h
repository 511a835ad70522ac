/* The SUPERBLOCK of a data directory: its identity, and which checkpoints are in force.
 *
 * Two blocks of 4 KiB, A and B. Each change writes the one that is older (block
 * seq % 2) and syncs, so a torn write leaves the other; the valid one with the
 * highest seq is in force. The first 40 bytes have been the same since format 1
 * (which was block A alone), with a CRC of their own: every build can say which
 * format it met. A newer format is refused; format 1 is read and written anew.
 *
 * Written by the wal process alone. Read by the loader, offline checks, backups.
 */
#ifndef WAL_SUPERBLOCK_H
#define WAL_SUPERBLOCK_H

#include <stdbool.h>
#include <stdint.h>

#include "common/err.h"

#define EG_SUPERBLOCK_MAGIC UINT64_C(0x4b4c425245505553)   /* "SUPERBLK" */
#define EG_SUPERBLOCK_FORMAT 2u
#define EG_SUPERBLOCK_BYTES 4096u      /* of a block */
#define EG_CHECKPOINTS_KEPT 2u

struct checkpoint_place {              /* where a checkpoint is found; id 0 = none */
	uint64_t id;                   /* of the file, too: checkpoints/<id, 16 hex>.ckpt */
	uint64_t start_lsn;            /* replay begins behind it */
	uint64_t max_lsn;              /* highest LSN that it speaks of */
	uint64_t manifest_offset, manifest_bytes;
	uint32_t manifest_crc;         /* that of the manifest's header, which covers all of it */
	uint32_t pad;
};

struct superblock {
	uint64_t magic;
	uint32_t format, timeline;
	uint8_t uuid[16];
	uint32_t stores;
	uint32_t head_crc;             /* CRC-32C of all before */
	uint64_t seq;                  /* rises with each write; format 1: 0 */
	struct checkpoint_place newest, previous;
	uint8_t pad[EG_SUPERBLOCK_BYTES - 48 - 2 * sizeof(struct checkpoint_place) - 4];
	uint32_t crc;                  /* CRC-32C of all before */
};
_Static_assert(sizeof(struct superblock) == EG_SUPERBLOCK_BYTES, "one block");

/* What both blocks say together. */
struct superblocks {
	struct superblock now;         /* the one in force */
	struct checkpoint_place places[4]; /* all checkpoints that a valid block names, newest first, each once */
	unsigned n_places;
	bool damaged;                  /* one block is not valid: the other one serves */
};

/* Read SUPERBLOCK in this folder. EG_E_NOT_FOUND when there is none, EG_E_VALIDATION
 * when neither block is valid or one has a newer format (the message names both). */
enum err superblock_read(int dir_fd, struct superblocks *s, struct fault *f) EG_MUST_USE;

/* A new one (made in tmp/, renamed, all synced). */
enum err superblock_make(int dir_fd, int tmp_fd, const uint8_t uuid[16], uint32_t stores, struct fault *f) EG_MUST_USE;
/* Seal *s with the next seq, write it over the older block, sync. On failure the old one
 * is in force, or the new one: read again before anything is built on either. */
enum err superblock_write(int dir_fd, struct superblock *s, struct fault *f) EG_MUST_USE;

void superblock_seal(struct superblock *s);

#endif
