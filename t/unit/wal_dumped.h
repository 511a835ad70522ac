/* Checkpoints made by a test from shared memory that nobody writes, and put in force behind
 * the back of a family's wal process; and what a store holds, as one number. */
#ifndef T_WAL_DUMPED_H
#define T_WAL_DUMPED_H

#include "shm/slot.h"
#include "t/unit/wal_load.h"
#include "wal/checkpoint.h"

struct dump {
	struct checkpoint_row rows[4096];
	struct checkpoint_space spaces[8];
	unsigned n, n_spaces;
	uint32_t layout;               /* of the checkpoint, 0: this build's */
};
extern struct dump dump;

/* Of all memories and spaces, in whatever slots they are; and each is found by its id. */
uint64_t store_digest(struct wal_family *f);
void dump_store(struct wal_family *f);   /* into `dump`; its layout stays */
/* Put what is in `dump` into force as checkpoint id. */
void put_in_force(struct wal_family *f, uint64_t id, uint64_t start_lsn);

uint64_t last_lsn(struct wal_family *f);
uint64_t applied(struct wal_family *f);
uint64_t fallbacks(struct wal_family *f);

uint64_t digest_after_start(struct wal_family *f);   /* a start without shared memory */
int status_of_start(struct wal_family *f);           /* one that must fail: its exit status */
void flip(struct wal_family *f, const char *name, off_t at);   /* all bits of a byte of a file of data_dir */

extern char *const dumped_overrides[2];   /* for family_open: batch, segments of 1 MiB */
int delete_some(struct wal_family *f, void *arg);    /* for family_child; arg is a struct load */
/* 2000 memories over several segments, some of them changed, some gone. */
void aged(struct wal_family *f);

#endif
