/* Files that say who is here: data_dir with its LOCK, and the pid file. */
#ifndef MASTER_FILES_H
#define MASTER_FILES_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/config.h"

struct files_owner {                   /* [server] user, looked up */
	char name[65];                 /* "" = stay who we are */
	uid_t uid;
	gid_t gid;
};

/* Who the children will be: [server] user when started as root, else ourselves
 * (a user other than oneself is then an error). */
enum err files_owner(const struct config *cfg, struct files_owner *o, struct fault *f) EG_MUST_USE;

/* Makes data_dir (0700) when it is missing, looks at its owner, mode and file
 * system, and opens LOCK in it (0600) without taking it. EG_E_FORBIDDEN: owner;
 * EG_E_INPUT: the rest. *fd stays open for the life of the family. `prefix` becomes
 * "/engram-<16 hex>-": begin of the name of every shared memory object of this
 * data_dir, from its device and inode, so that two servers on different
 * directories never meet. */
enum err files_open(const struct config *cfg, const struct files_owner *o, int *fd,
                    char prefix[40], struct fault *f) EG_MUST_USE;
/* Takes LOCK, waiting up to 5 s: the children of a master that died may still be
 * finishing. Who holds it may have a writer, nobody else; children hold it
 * with their master, so it is free when the last one has ended. EG_E_CONFLICT: it
 * belongs to another family; then *fd is closed. */
enum err files_lock(const struct config *cfg, int *fd, struct fault *f) EG_MUST_USE;
bool files_lock_try(int fd);           /* without waiting */
void files_lock_give(int fd);          /* once all children have ended */

/* Written beside and renamed, so nobody reads half a number. "" = none. */
enum err files_pid_write(const char *path, struct fault *f) EG_MUST_USE;
/* Removes it if it still names this process. */
void files_pid_remove(const char *path);
/* An upgrade keeps the old master's pid file beside the new one's, as PATH.oldbin. */
void files_pid_put_aside(const char *path);
void files_pid_bring_back(const char *path);
void files_pid_drop_aside(const char *path);
/* Process id in a pid file, 0 with the reason in f. */
pid_t files_pid_read(const char *path, struct fault *f);

/* A log file that the master opened belongs to the children's user, who has to be
 * able to open it anew. */
void files_give(int fd, const struct files_owner *o);

#endif
