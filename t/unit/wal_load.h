/* What the children of a test family (wal_family.h) send and expect: memories m0,
 * m1, ... of space "work", each with a vector, whose text tells its version. */
#ifndef T_WAL_LOAD_H
#define T_WAL_LOAD_H

#include <sys/wait.h>

#include "shm/epoch.h"
#include "shm/store.h"
#include "t/unit/wal_family.h"
#include "wal/submit.h"

#define LOAD_DIM 24u

struct load { unsigned first, n, version; bool atomic; };
struct load_parts { char id[32], text[64]; float vector[LOAD_DIM]; uint64_t terms[2]; };

void load_draft(struct draft *d, struct load_parts *p, unsigned key, unsigned version);
bool load_attach(struct wal_family *f, struct store *s, struct epoch *e);

/* For family_child; arg is a struct load. Send: every operation must be
 * acknowledged with its version. Check: the store holds exactly those. */
int load_send(struct wal_family *f, void *arg);
int load_check(struct wal_family *f, void *arg);

static inline int load_status(int status) { return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + status; }

#define LOAD_RUN(f, desk, fn, ...) \
	assert_int_equal(load_status(family_child(f, desk, fn, &(struct load){ __VA_ARGS__ })), 0)

#endif
