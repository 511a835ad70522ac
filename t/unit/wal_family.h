/* A small family for tests of shm/ and wal/: this process plays the master, one
 * child runs wal_main(), others send through lanes or read the store. */
#ifndef T_WAL_FAMILY_H
#define T_WAL_FAMILY_H

#include <stdbool.h>
#include <sys/types.h>

#include "common/config.h"
#include "shm/heritage.h"
#include "wal/submit.h"

struct wal_family {
	char dir[64];                  /* data directory, removed at the end */
	struct config *config;
	struct desks desks;
	struct heritage heritage;
	pid_t wal;
};

/* overrides: -g texts, n of them (server.data_dir is added). */
void family_open(struct wal_family *f, char *const overrides[], size_t n);
void family_close(struct wal_family *f);   /* ends the wal process, removes everything */

void family_empty(struct wal_family *f);   /* removes what is in the data directory */

void family_start_wal(struct wal_family *f);
int family_stop_wal(struct wal_family *f, int signal);   /* wait status */
/* Another master on the same data directory; forget: the shared memory is gone too. */
void family_reboot(struct wal_family *f, bool forget);

/* Remove a folder with all that is in it; of a copy of the log, all but the folder. */
void family_remove(const char *path);
void family_remove_copy(const char *path);

/* Run fn in a child that sits at desk number (incarnation rises); its exit status.
 * The desk is marked DEAD afterwards and waited for until it is drained. */
int family_child(struct wal_family *f, unsigned desk, int (*fn)(struct wal_family *, void *), void *arg);
pid_t family_spawn(struct wal_family *f, unsigned desk, int (*fn)(struct wal_family *, void *), void *arg);
int family_reap(struct wal_family *f, unsigned desk, pid_t pid);

/* Wait for the answer to a ticket. Ends the process (99) when there is none in two minutes. */
void family_await(struct desks *d, struct ticket *t, enum err *err, uint64_t *lsn);
/* Store memory m<key> of space "work", with nothing in it; the error of its answer. */
enum err family_store(struct wal_family *f, struct submit *lane, unsigned key);

#endif
