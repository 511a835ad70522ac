/* Stimuli: what makes a process of a real server pass a fault point; see sweep.h. */
#include "common/fault.h"

#ifdef EG_FAULTS

#include "t/sweep/sweep.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/crc32c.h"
#include "common/err.h"

#define MS INT64_C(1000000)

static bool any_fired(void) { return sweep_fired(0) || sweep_fired(1); }

static bool await_ns(int64_t ns)
{
	int64_t deadline = served_now_ns() + ns;

	while (!any_fired() && served_now_ns() < deadline)
		served_pause_us(100);
	return sweep_fired(0);
}

void sweep_strike(struct sweep *w, enum served_kind kind, int number)
{
	pid_t pid = served_pid(&w->s, kind, kind == SERVED_WORKER ? (unsigned)sweep_pick(w, WORKERS) : 0);

	if (pid <= 0)
		return;
	EG_ASSERT(w->n_struck < STRUCK);
	w->struck[w->n_struck++] = pid;
	kill(pid, number);
}

/* ---- deaths and signals */

static void by_load(struct sweep *w) { (void)w; await_ns(400 * MS); }

/* Long enough for the log to be idle. */
static void by_pauses(struct sweep *w)
{
	atomic_store(&w->load.pause_us, 300000);
	await_ns(1000 * MS);
	atomic_store(&w->load.pause_us, 0);
}

static void by_dead_worker(struct sweep *w)
{
	sweep_strike(w, SERVED_WORKER, SIGKILL);
	await_ns(800 * MS);
}

static void by_dead_wal(struct sweep *w)
{
	sweep_strike(w, SERVED_WAL, SIGKILL);
	await_ns(800 * MS);
}

/* It may have stored anywhere: all is verified, graphs are built anew. */
static void by_crashed_wal(struct sweep *w)
{
	sweep_strike(w, SERVED_WAL, SIGILL);
	await_ns(800 * MS);
}

static void by_left_wal(struct sweep *w)
{
	sweep_strike(w, SERVED_WAL, SIGTERM);
	await_ns(800 * MS);
}

static void by_dead_consolidation(struct sweep *w)
{
	sweep_strike(w, SERVED_CONSOLIDATION, SIGKILL);
	await_ns(800 * MS);
}

static void by_time(struct sweep *w) { (void)w; await_ns(3500 * MS); }

static void by_reload(struct sweep *w)
{
	w->workers_change = true;
	kill(w->s.master, SIGHUP);
	await_ns(2500 * MS);
}

static void by_end(struct sweep *w)
{
	w->all_change = true;
	load_down(&w->load, true);
	kill(w->s.master, SIGTERM);
	await_ns(3000 * MS);
}

/* ---- starts */

static void fell(struct sweep *w, bool forget)
{
	w->all_change = true;
	load_down(&w->load, true);
	served_kill_all(&w->s, forget);
}

static void rise(struct sweep *w)
{
	served_start(&w->s);
	await_ns(2000 * MS);
}

static void by_new_master(struct sweep *w)
{
	fell(w, false);
	rise(w);
}

static void by_log_alone(struct sweep *w)
{
	fell(w, true);
	rise(w);
}

/* Another size: the spares of the old one are thrown away. */
static void by_other_size(struct sweep *w)
{
	w->segment_mb = 3 - w->segment_mb;
	sweep_settings(w);
	by_log_alone(w);
}

/* A data directory that is born. */
static void by_first_start(struct sweep *w)
{
	fell(w, true);
	sweep_forget(w);
	served_start(&w->s);
	load_run(&w->load);
	await_ns(2000 * MS);
}

/* ---- faults that are answered */

static void by_fault(enum fault_point p, enum fault_action a, uint32_t times)
{
	fault_arm(fault_page, 2, p, SERVED_WAL, a, 1, times);
	await_ns(1500 * MS);
}

static void by_failed_sync(struct sweep *w) { (void)w; by_fault(FAULT_GROUP_SYNC, FAULT_EIO, 1); }

/* No room for a spare, or for the head of the next segment. */
static void by_full_disk(struct sweep *w)
{
	by_fault(sweep_pick(w, 2) == 0 ? FAULT_SPARE_ALLOCATE : FAULT_SEGMENT_WRITE_HEADER, FAULT_ENOSPC, 1);
}

static void by_failed_header(struct sweep *w) { (void)w; by_fault(FAULT_SEGMENT_SYNC_HEADER, FAULT_EIO, 1); }

/* Short of its end: the next one has a tail to write again, or records to apply. */
static void by_dead_round(struct sweep *w)
{
	static const enum fault_point ends[] = { FAULT_ROUND_LOGGED, FAULT_GROUP_SYNC, FAULT_APPLY_RESERVED, FAULT_APPLY_BODY,
		FAULT_ANSWER_CELL };

	fault_arm(fault_page, 2, ends[sweep_pick(w, 5)], SERVED_WAL, FAULT_KILL, 1 + (uint32_t)sweep_pick(w, 30), 1);
	await_ns(800 * MS);
}

/* ---- what an operator asks for */

static void by_checkpoint(struct sweep *w)
{
	(void)client_ask(&w->hand, "POST", "/api/v1/admin/checkpoint", "{}");
	await_ns(200 * MS);
}

/* Retiring needs dead segments: the load goes on between two of them. */
static void by_checkpoints(struct sweep *w)
{
	for (unsigned i = 0; i < 3 && !any_fired(); i++) {
		by_checkpoint(w);
		await_ns(300 * MS);
	}
}

/* Against the one before, every other time. */
static void by_backup(struct sweep *w)
{
	char body[128], command[320];

	if (w->backups % 6 == 0) {
		snprintf(command, sizeof command, "rm -rf '%s/backups'; mkdir -p '%s/backups'", w->s.dir, w->s.dir);
		EG_ASSERT(system(command) == 0);
	}
	w->backups++;
	snprintf(body, sizeof body, "{\"to\":\"b%u\"", w->backups);
	if (w->backups % 2 == 0)
		snprintf(body + strlen(body), 64, ",\"base\":\"b%u\"", w->backups - 1);
	strcat(body, "}");
	(void)client_ask(&w->hand, "POST", "/api/v1/admin/backup", body);
	await_ns(400 * MS);
}

/* One that dies within; the next one of that name puts away what is left of it. */
static void by_half_backup(struct sweep *w)
{
	fault_arm(fault_page, 2, FAULT_BACKUP_SYNC, SERVED_WAL, FAULT_KILL, 1, 1);
	by_backup(w);
	if (any_fired() || !served_ready(&w->s, 5))
		return;
	w->backups--;
	by_backup(w);
}

/* One that gets other terms; and new ones that the log does not take, so they are taken back. */
static void by_spaces(struct sweep *w)
{
	int64_t deadline = served_now_ns() + 2000 * MS;
	char body[128];

	for (unsigned k = 1; k < 4 && !any_fired(); k++) {
		snprintf(body, sizeof body, "{\"id\":\"hand\",\"quota\":{\"memories\":%u}}", k);
		(void)client_ask(&w->hand, "POST", "/api/v1/spaces", body);
	}
	(void)client_ask(&w->hand, "DELETE", "/api/v1/spaces/hand", NULL);
	/* The round that fails has to hold one of ours: later ones are refused by the workers. */
	atomic_store(&w->load.pause_us, 50000);
	fault_arm(fault_page, 2, FAULT_GROUP_WRITE, SERVED_WAL, FAULT_EIO, 2 + (uint32_t)sweep_pick(w, 9), 1000);
	while (!any_fired() && served_now_ns() < deadline) {
		(void)client_ask(&w->hand, "POST", "/api/v1/spaces", "{\"id\":\"hand\"}");
		(void)client_ask(&w->hand, "DELETE", "/api/v1/spaces/hand", NULL);
	}
	atomic_store(&w->load.pause_us, 0);
}

/* The one that is there now, made from a whole base. */
static void by_backup_of_base(struct sweep *w)
{
	w->backups += w->backups % 2;
	by_backup(w);
	by_backup(w);
}

static void by_checkpoint_alone(struct sweep *w)
{
	by_checkpoint(w);
	if (any_fired())
		return;
	fell(w, true);
	rise(w);
}

/* ---- what lies in the files */

/* The last of a folder by name, into path; false: it is empty. */
static bool last_of(const struct sweep *w, const char *folder, const char *suffix, char path[512])
{
	char where[256], name[256] = "";
	const struct dirent *entry;
	DIR *dir;

	snprintf(where, sizeof where, "%s/%s", w->s.dir, folder);
	dir = opendir(where);
	while (dir != NULL && (entry = readdir(dir)) != NULL) {
		const char *dot = strrchr(entry->d_name, '.');

		if (dot != NULL && strcmp(dot, suffix) == 0 && strcmp(entry->d_name, name) > 0)
			snprintf(name, sizeof name, "%s", entry->d_name);
	}
	if (dir != NULL)
		closedir(dir);
	snprintf(path, 512, "%s/%s", where, name);
	return *name != '\0';
}

static void flip(const char *path, off_t at)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);
	char byte;

	EG_ASSERT(fd >= 0 && pread(fd, &byte, 1, at) == 1);
	byte ^= 0x10;
	EG_ASSERT(pwrite(fd, &byte, 1, at) == 1);
	close(fd);
}

/* What a writer leaves in tmp/ that dies there. */
static void rest(const struct sweep *w, const char *name)
{
	char path[192];
	FILE *f;

	snprintf(path, sizeof path, "%s/data/tmp/%s", w->s.dir, name);
	f = fopen(path, "w");
	if (f != NULL)
		fclose(f);
}

static void by_rest(struct sweep *w)
{
	rest(w, "rest");
	by_dead_wal(w);
}

static void by_half_checkpoint(struct sweep *w)
{
	rest(w, "0000000000000001-00000001.ckpt");
	by_checkpoint(w);
}

static void by_damaged_superblock(struct sweep *w)
{
	char path[192];
	struct stat st;

	fell(w, false);
	snprintf(path, sizeof path, "%s/data/SUPERBLOCK", w->s.dir);
	if (stat(path, &st) == 0)
		flip(path, (off_t)sweep_pick(w, 2) * st.st_size / 2 + 40);
	rise(w);
}

/* The one before it has to serve, and the log since then. */
static void by_damaged_checkpoint(struct sweep *w)
{
	char path[512];
	struct stat st;

	by_checkpoints(w);
	if (any_fired())
		return;
	fell(w, true);
	if (last_of(w, "data/checkpoints", ".ckpt", path) && stat(path, &st) == 0)
		flip(path, st.st_size / 2);
	rise(w);
}

/* As if another build had written it: the header's word 25 tells of the layout, its last one is
 * the CRC (wal/checkpoint.h). */
static void by_other_layout(struct sweep *w)
{
	uint32_t header[1024];
	char path[512];
	int fd;

	by_checkpoint(w);
	if (any_fired())
		return;
	fell(w, true);
	fd = last_of(w, "data/checkpoints", ".ckpt", path) ? open(path, O_RDWR | O_CLOEXEC) : -1;
	if (fd >= 0 && pread(fd, header, sizeof header, 0) == (ssize_t)sizeof header) {
		header[25] ^= 1;
		header[1023] = crc32c(0, header, sizeof header - sizeof header[0]);
		EG_ASSERT(pwrite(fd, header, sizeof header, 0) == (ssize_t)sizeof header);
	}
	if (fd >= 0)
		close(fd);
	rise(w);
}

/* ---- the second copy of the log */

static void by_damaged_copy(struct sweep *w)
{
	char path[512];
	struct stat st;

	fell(w, sweep_pick(w, 2) == 0);
	if (w->mirrored && last_of(w, "mirror/wal", ".wal", path) && stat(path, &st) == 0 && st.st_size > 8192)
		flip(path, 4200);
	rise(w);
}

static void by_lost_copy(struct sweep *w)
{
	(void)w;
	fault_arm(fault_page, 2, FAULT_MIRROR_SYNC, SERVED_WAL, FAULT_EIO, 1, 1);
	await_ns(3000 * MS);
}

static void by_mended_copy(struct sweep *w)
{
	(void)w;
	fault_arm(fault_page, 2, FAULT_GROUP_WRITE, SERVED_WAL, FAULT_EIO, 1, 1);
	await_ns(3000 * MS);
}

static const struct { const char *name; void (*run)(struct sweep *); } stimuli[STIMULI] = {
	[BY_LOAD] = { "load", by_load },
	[BY_PAUSES] = { "a load with pauses", by_pauses },
	[BY_DEAD_WORKER] = { "a dead worker", by_dead_worker },
	[BY_DEAD_WAL] = { "a dead wal process", by_dead_wal },
	[BY_CRASHED_WAL] = { "a crashed wal process", by_crashed_wal },
	[BY_LEFT_WAL] = { "a wal process that was asked to leave", by_left_wal },
	[BY_DEAD_ROUND] = { "a wal process that died in a round", by_dead_round },
	[BY_DEAD_CONSOLIDATION] = { "a dead consolidation process", by_dead_consolidation },
	[BY_TIME] = { "time", by_time },
	[BY_RELOAD] = { "a reload", by_reload },
	[BY_FAILED_SYNC] = { "a failed sync", by_failed_sync },
	[BY_FULL_DISK] = { "a full disk", by_full_disk },
	[BY_FAILED_HEADER] = { "a failed header", by_failed_header },
	[BY_REST] = { "a file in tmp/", by_rest },
	[BY_CHECKPOINT] = { "a checkpoint", by_checkpoint },
	[BY_CHECKPOINTS] = { "checkpoints", by_checkpoints },
	[BY_HALF_CHECKPOINT] = { "half a checkpoint in tmp/", by_half_checkpoint },
	[BY_BACKUP] = { "a backup", by_backup },
	[BY_BACKUP_OF_BASE] = { "a backup of a base", by_backup_of_base },
	[BY_NEW_MASTER] = { "a new master", by_new_master },
	[BY_LOG_ALONE] = { "the files alone", by_log_alone },
	[BY_CHECKPOINT_ALONE] = { "a checkpoint and the log after it", by_checkpoint_alone },
	[BY_DAMAGED_CHECKPOINT] = { "a damaged checkpoint", by_damaged_checkpoint },
	[BY_DAMAGED_SUPERBLOCK] = { "a damaged superblock", by_damaged_superblock },
	[BY_DAMAGED_COPY] = { "a damaged copy", by_damaged_copy },
	[BY_LOST_COPY] = { "a copy that cannot be written", by_lost_copy },
	[BY_MENDED_COPY] = { "a log that cannot be written", by_mended_copy },
	[BY_OTHER_SIZE] = { "another segment size", by_other_size },
	[BY_OTHER_LAYOUT] = { "a checkpoint of another layout", by_other_layout },
	[BY_HALF_BACKUP] = { "a backup after one that died", by_half_backup },
	[BY_SPACES] = { "spaces that change or are refused", by_spaces },
	[BY_FIRST_START] = { "the first start", by_first_start },
	[BY_END] = { "an end", by_end },
};

void stimulus_run(struct sweep *w, enum stimulus what) { stimuli[what].run(w); }

const char *stimulus_name(enum stimulus what) { return stimuli[what].name; }

#endif
