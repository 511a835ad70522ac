/* A real engram-server for programs that hurt it: start, find its processes, restart.
 *
 * The caller becomes the reaper of orphans, so that no process of a family whose
 * master died goes unnoticed. Used by the long tests of this folder only.
 */
#ifndef T_SWEEP_SERVED_H
#define T_SWEEP_SERVED_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

enum served_kind { SERVED_MASTER, SERVED_WAL, SERVED_WORKER, SERVED_CONSOLIDATION, SERVED_KINDS };

struct member { pid_t pid; enum served_kind kind; };

struct served {
	char dir[128];                 /* data/, log, pid, engram.toml, faults; removed at the end */
	char bin[256];
	const char *settings;          /* lines of -g options, "section.key=value\n..." */
	unsigned port, workers;
	pid_t master;                  /* 0: not running */
	int log_fd;                    /* read position: what was looked at */
	uint64_t starts;
};

extern const char *const served_kinds[SERVED_KINDS];

/* Makes the folder (below TMPDIR or `under`); bin: engram-server of this build. */
void served_init(struct served *s, const char *under, unsigned workers);
void served_fini(struct served *s, bool keep);
/* Fresh data directory; the server must not run. */
void served_forget(struct served *s);

void served_start(struct served *s);
/* Every process is there and /health/ready says yes; false after so many seconds. */
bool served_ready(struct served *s, double seconds);
/* Living members by pid; their number. A child that has not named itself yet is left out. */
unsigned served_family(const struct served *s, struct member *v, unsigned max);
pid_t served_pid(const struct served *s, enum served_kind kind, unsigned nth);
/* Has it ended? The master is waited for. */
bool served_down(struct served *s);
/* SIGKILL to all at once; forget: its shared memory objects go too, as at a reboot. */
void served_kill_all(struct served *s, bool forget);
/* SIGTERM and wait; false: it did not end, or not with status 0. */
bool served_stop(struct served *s);
/* Lines of the log since the last look that tell of an end other than by SIGKILL,
 * or of a broken assertion; printed. */
unsigned served_complaints(struct served *s);

int64_t served_now_ns(void);
void served_pause_us(unsigned us);

#endif
