/* The master: keeps the family alive and in step with its configuration.
 *
 * It opens what has to outlive every child (the lock, the sockets, the desks),
 * forks, and then only waits: for signals, for deaths, for time. It never maps the
 * store, so whatever a child does to memory, the master can clean up after it.
 */
#ifndef MASTER_MASTER_H
#define MASTER_MASTER_H

#include "common/config.h"
#include "master/family.h"
#include "master/files.h"
#include "master/kinds.h"
#include "master/sockets.h"
#include "master/upgrade.h"

enum master_end { MASTER_STAYS, MASTER_LEAVES, MASTER_STOPS };   /* no stop, graceful, fast */

struct master {
	const struct kinds *kinds;
	struct config *cfg;            /* in force; a reload frees it for another one */
	const char *config_path;       /* as given with -c; NULL = default */
	char *const *overrides;        /* -g, in order */
	size_t n_overrides;
	char *const *argv;             /* the command line, to start a new image */
	unsigned workers, nodes;
	int signal_fd;
	bool serve;                    /* false after WINCH, until the next reload */
	bool ready;                    /* has said so */
	enum master_end end;
	int64_t report_at;             /* next look at its own memory, monotonic ns */
	struct sockets sockets;
	struct desks desks;
	struct family family;
	struct upgrade upgrade;
};

/* Everything before the first fork, in order: user, lock, pid file, sockets,
 * desks, signals. m holds kinds, cfg, config_path, overrides and argv, else zero; what
 * they point to stays the caller's. On an error what was made is taken back:
 * EG_E_INPUT configuration or address, EG_E_CONFLICT data_dir is taken,
 * EG_E_FORBIDDEN rights, EG_E_INTERNAL the system. */
enum err master_open(struct master *m, struct fault *f) EG_MUST_USE;
/* Runs until a stop was asked for and everybody has left; then the shared memory
 * of this data_dir is removed. Or until another master serves (upgrade.h). An error:
 * this one was to serve instead of another, and could not; EG_E_VALIDATION: the
 * log is damaged, and nothing could be served. */
enum err master_run(struct master *m) EG_MUST_USE;
/* One rank after the other is told to leave. True: nobody is left. */
bool master_leave(struct master *m, int64_t now);
/* Removes the pid file, closes everything; cfg stays. */
void master_close(struct master *m);

/* A new configuration into force, as far as it may (reload.c). False: the old one
 * stays, as the log says. */
bool reload_run(struct master *m);
/* The file descriptors and the configuration that children get from now on. */
void master_heritage(struct master *m);

#endif
