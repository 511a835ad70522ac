/* A disk that loses power: what it may hold, from a tape.
 *
 * Certain is what was synced, with all that it promises and no more: a sync of a file
 * covers what had ended before it began, of that file alone; one that failed covers
 * nothing, and no later one makes up for it. A name is certain when its folder was
 * synced after it was made, moved, removed. A rename is one step: both names or none.
 * All else may be there or not, each thing for itself, in pieces, in any order.
 */
#ifndef T_WAL_POWERLOSS_DISK_H
#define T_WAL_POWERLOSS_DISK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/tape.h"

/* X(name, piece, data, names, sizes, lost, text): in pieces of so many bytes (0: whole
 * calls); data, names, sizes: what becomes of the uncertain; lost: what is in the place
 * of data that did not arrive. */
#define DISK_KINDS \
	X(PREFIX,   512,  ALL,    ALL,    ALL,    ZEROS, "everything up to the point, the last write torn") \
	X(SYNCED,   0,    NONE,   NONE,   NONE,   ZEROS, "what was synced and nothing else") \
	X(REORDER,  0,    RANDOM, ALL,    ALL,    ZEROS, "whole writes dropped, later ones kept") \
	X(TORN_4K,  4096, RANDOM, ALL,    ALL,    ZEROS, "blocks of 4 KiB dropped") \
	X(TORN_512, 512,  RANDOM, ALL,    ALL,    ZEROS, "sectors of 512 bytes dropped") \
	X(STALE_4K, 4096, RANDOM, ALL,    ALL,    STALE, "blocks that hold what was there before, or of other files") \
	X(STALE,    512,  RANDOM, RANDOM, ALL,    STALE, "the same with sectors and names") \
	X(SIZES,    0,    RANDOM, ALL,    RANDOM, ZEROS, "lengths without data, data without lengths") \
	X(DELAYED,  4096, NONE,   ALL,    ALL,    ZEROS, "lengths and names, but no data") \
	X(NO_NAMES, 0,    ALL,    NONE,   ALL,    ZEROS, "data, but no name that was not synced") \
	X(NAMES,    0,    RANDOM, RANDOM, ALL,    ZEROS, "names lost or kept each for itself") \
	X(JOURNAL,  4096, RANDOM, PREFIX, PREFIX, ZEROS, "names and lengths up to a point, data in blocks") \
	X(CHAOS,    512,  RANDOM, RANDOM, RANDOM, STALE, "everything for itself")

enum disk_kind {
#define X(name, piece, data, names, sizes, lost, text) DISK_##name,
	DISK_KINDS
#undef X
	DISK_N
};
extern const char *const disk_kind_names[DISK_N];

struct disk;
struct tape;

/* Understand a tape that began when `root` was as it is said to be by `base` (a folder
 * to be read now; NULL: empty). root_inode: of the folder that the tape is about. NULL:
 * the tape speaks of what it never saw made; why says so. */
struct disk *disk_new(const struct tape *t, uint64_t root_inode, const char *base, const char **why);
/* The same from an empty tape on, before which the disk was read: it is used up. */
struct disk *disk_onto(struct disk *d, const struct tape *t, const char **why);
void disk_free(struct disk *d);

/* The end of the tape; begin and end of an event that is neither a write nor a sync of
 * a file, the n-th one modulo their number (0 when there is none). */
uint64_t disk_end(const struct disk *d);
uint64_t disk_rare(const struct disk *d, uint64_t n);

/* Make what the disk holds when the power fails at that time, in the empty folder `at`. */
void disk_build(const struct disk *d, uint64_t time, enum disk_kind kind, uint64_t seed, const char *at);
/* Nothing was lost at the end of the tape: is `at` exactly that? Returns what differs first. */
bool disk_same(const struct disk *d, const char *at, char *text, size_t size);

#endif
