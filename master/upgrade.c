/* The steps of both masters, see the header for the whole. */
#include "master/upgrade.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/log.h"
#include "master/master.h"
#include "master/notify.h"

#define EG_HANDOVER "ENGRAM_HANDOVER"  /* "<channel> <table of sockets>", two descriptors */
#define EG_NS INT64_C(1000000000)
#define EG_PREPARE_SECONDS 30          /* for a configuration and host names */
#define EG_TAKE_SECONDS 5              /* until LOCK is free after it was given */

enum { WORD_PREPARED = 'P', WORD_GIVEN = 'G', WORD_READY = 'R', WORD_NONE = 0, WORD_END = -1 };

static void set_handover(struct master *m, uint32_t on)
{
	atomic_store(&desk_master(&m->desks)->handover, on);
}

/* ---- the channel */

static void say(struct master *m, char word)
{
	if (send(m->upgrade.channel, &word, 1, MSG_NOSIGNAL) != 1)
		LOG_DEBUG("upgrade: the other master does not listen");
}

static int hear(const struct master *m)
{
	char word;
	ssize_t n = recv(m->upgrade.channel, &word, 1, MSG_DONTWAIT);

	if (n == 1)
		return word;
	return n < 0 && (errno == EAGAIN || errno == EINTR) ? WORD_NONE : WORD_END;
}

static void hang_up(struct master *m)
{
	struct upgrade *u = &m->upgrade;

	if (u->channel >= 0)
		close(u->channel);
	if (u->handle >= 0)
		close(u->handle);
	u->channel = u->handle = -1;
	m->family.spawn.private_fds[1] = -1;
	u->phase = UPGRADE_NONE;
}

/* ---- the old master: starting */

static int socket_table(const struct sockets *s)
{
	int fd = memfd_create("engram-sockets", MFD_CLOEXEC);
	FILE *out = fd < 0 ? NULL : fdopen(dup(fd), "w");
	bool ok = out != NULL;

	if (ok) {
		sockets_write(s, out);
		ok = fclose(out) == 0 && lseek(fd, 0, SEEK_SET) == 0;
	}
	if (!ok && fd >= 0)
		close(fd);
	return ok ? fd : -1;
}

/* In the child. Signals stay blocked until the new image reads them. */
static void become(const struct master *m, int channel, int table)
{
	char text[64];

	snprintf(text, sizeof text, "%d %d", channel, table);
	setenv(EG_HANDOVER, text, 1);
	if (getenv("WATCHDOG_PID") != NULL) {
		snprintf(text, sizeof text, "%d", (int)getpid());
		setenv("WATCHDOG_PID", text, 1);
	}
	fcntl(channel, F_SETFD, 0);
	fcntl(table, F_SETFD, 0);
	sockets_inherit(&m->sockets, true);
	execvp(m->argv[0], m->argv);
	LOG_ERROR("upgrade: %s: %s", m->argv[0], strerror(errno));
	log_flush();
	_exit(127);
}

static bool start_new(struct master *m)
{
	struct upgrade *u = &m->upgrade;
	int table = socket_table(&m->sockets), ends[2];

	if (table < 0)
		return false;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) {
		close(table);
		return false;
	}
	log_flush();
	u->pid = fork();
	if (u->pid == 0)
		become(m, ends[1], table);
	close(table);
	close(ends[1]);
	u->channel = ends[0];
	u->handle = u->pid > 0 ? pidfd_open(u->pid, 0) : -1;
	return u->pid > 0;
}

void upgrade_begin(struct master *m, int64_t now)
{
	struct upgrade *u = &m->upgrade;

	if (u->phase != UPGRADE_NONE) {
		LOG_WARN("upgrade: another one is going on");
		return;
	}
	files_pid_put_aside(m->cfg->server_pid_file);
	if (!start_new(m)) {
		LOG_ERROR("upgrade: a new master cannot be started: %s", strerror(errno));
		files_pid_bring_back(m->cfg->server_pid_file);
		hang_up(m);
		return;
	}
	u->phase = UPGRADE_STARTING;
	u->deadline = now + EG_PREPARE_SECONDS * EG_NS;
	m->family.spawn.private_fds[1] = u->channel;
	LOG_INFO("upgrade: %s is started as process %d", m->argv[0], (int)u->pid);
}

/* ---- the old master: leaving, or coming back */

static void end_new(const struct master *m, int number)
{
	if (m->upgrade.handle >= 0)
		(void)pidfd_send_signal(m->upgrade.handle, number, NULL, 0);
}

static void come_back(struct master *m)
{
	set_handover(m, 0);
	hang_up(m);
	files_pid_bring_back(m->cfg->server_pid_file);
	m->ready = false;
	LOG_ERROR("upgrade: it has failed; this server goes on as before");
}

/* Its children are waited for by LOCK, which they hold as well. */
static void reclaim(struct master *m)
{
	m->upgrade.phase = UPGRADE_RECLAIMING;
	LOG_ERROR("upgrade: the new master %d ended before it was ready", (int)m->upgrade.pid);
}

static void step_starting(struct master *m, int64_t now)
{
	int word = hear(m);

	if (word == WORD_PREPARED) {
		m->upgrade.phase = UPGRADE_LEAVING;
		set_handover(m, 1);
		LOG_INFO("upgrade: the new master %d is prepared; this family leaves", (int)m->upgrade.pid);
	} else if (word == WORD_END || now >= m->upgrade.deadline) {
		LOG_ERROR("upgrade: the new master %d %s", (int)m->upgrade.pid,
		          word == WORD_END ? "ended before it was prepared" : "is not prepared in time");
		end_new(m, SIGKILL);
		come_back(m);
	}
}

static void step_leaving(struct master *m, int64_t now)
{
	struct family *fam = &m->family;

	if (hear(m) == WORD_END) {
		LOG_ERROR("upgrade: the new master %d has ended", (int)m->upgrade.pid);
		come_back(m);
		return;
	}
	/* A writer that dies now still has answers to give. */
	if (family_serving(fam) > 0)
		family_fill(fam, false, now);
	if (!master_leave(m, now))
		return;
	files_lock_give(fam->spawn.heritage.lock_fd);
	say(m, WORD_GIVEN);
	m->upgrade.phase = UPGRADE_GIVEN;
	LOG_INFO("upgrade: everybody has left; the data is the new master's");
}

static enum upgrade_rule step_given(struct master *m)
{
	int word = hear(m);

	if (word == WORD_READY) {
		LOG_INFO("upgrade: master %d serves; this one ends", (int)m->upgrade.pid);
		notify_successor(m->upgrade.pid);
		files_pid_drop_aside(m->cfg->server_pid_file);
		return UPGRADE_GONE;
	}
	if (word == WORD_END)
		reclaim(m);
	return UPGRADE_HOLD;
}

static enum upgrade_rule step_reclaiming(struct master *m)
{
	if (!files_lock_try(m->family.spawn.heritage.lock_fd))
		return UPGRADE_HOLD;
	come_back(m);
	return UPGRADE_SERVE;
}

void upgrade_cancel(struct master *m)
{
	switch (m->upgrade.phase) {
	case UPGRADE_STARTING:
	case UPGRADE_LEAVING:
		end_new(m, SIGKILL);       /* it has no children and has written nothing */
		come_back(m);
		break;
	case UPGRADE_GIVEN:
		end_new(m, SIGTERM);
		m->upgrade.phase = UPGRADE_RECLAIMING;
		break;
	case UPGRADE_NONE: case UPGRADE_RECLAIMING: case UPGRADE_WAITING: case UPGRADE_TAKING: case UPGRADE_ENTERING:
		break;
	}
}

/* ---- the new master */

bool upgrade_expected(void)
{
	return getenv(EG_HANDOVER) != NULL;
}

enum err upgrade_join(struct master *m, struct fault *f)
{
	struct upgrade *u = &m->upgrade;
	int table;
	FILE *in;
	enum err e;

	if (sscanf(getenv(EG_HANDOVER), "%d %d", &u->channel, &table) != 2 || (in = fdopen(table, "r")) == NULL)
		return err_set(f, EG_E_INPUT, NULL, NULL, EG_HANDOVER " names no descriptors");
	unsetenv(EG_HANDOVER);
	fcntl(u->channel, F_SETFD, FD_CLOEXEC);
	u->phase = UPGRADE_WAITING;
	e = sockets_read(&m->sockets, in, m->workers, f);
	fclose(in);
	return e;
}

void upgrade_prepared(struct master *m)
{
	m->family.spawn.private_fds[1] = m->upgrade.channel;
	say(m, WORD_PREPARED);
	LOG_INFO("upgrade: prepared; the old family leaves");
}

static enum upgrade_rule step_entering(struct master *m)
{
	struct family *fam = &m->family;

	if (family_hopeless(fam)) {
		LOG_ERROR("upgrade: a child does not live; the old server comes back");
		m->upgrade.end = EG_E_INTERNAL;
		return UPGRADE_HOLD;
	}
	if (!family_writer_ready(fam))
		return UPGRADE_BACKSTAGE;
	if (family_ready(fam)) {
		say(m, WORD_READY);
		hang_up(m);
	}
	return UPGRADE_SERVE;
}

static enum upgrade_rule step_taking(struct master *m, int64_t now)
{
	if (files_lock_try(m->family.spawn.heritage.lock_fd)) {
		m->upgrade.phase = UPGRADE_ENTERING;
		return step_entering(m);
	}
	if (now >= m->upgrade.deadline) {
		LOG_ERROR("upgrade: data_dir is still in use");
		m->upgrade.end = EG_E_CONFLICT;
	}
	return UPGRADE_HOLD;
}

static enum upgrade_rule step_waiting(struct master *m, int64_t now)
{
	int word = hear(m);

	if (word != WORD_GIVEN && word != WORD_END)
		return UPGRADE_HOLD;
	if (word == WORD_END)
		LOG_WARN("upgrade: the old master has ended; its children are waited for");
	m->upgrade.phase = UPGRADE_TAKING;
	m->upgrade.deadline = word == WORD_END ? INT64_MAX : now + EG_TAKE_SECONDS * EG_NS;
	return step_taking(m, now);
}

enum upgrade_rule upgrade_step(struct master *m, int64_t now)
{
	/* A new master that was told to stop leaves everything to the old one. */
	if (m->end != MASTER_STAYS && m->upgrade.phase >= UPGRADE_WAITING)
		return UPGRADE_HOLD;
	switch (m->upgrade.phase) {
	case UPGRADE_NONE: return UPGRADE_SERVE;
	case UPGRADE_STARTING: step_starting(m, now); return UPGRADE_SERVE;
	case UPGRADE_LEAVING: step_leaving(m, now); return UPGRADE_HOLD;
	case UPGRADE_GIVEN: return step_given(m);
	case UPGRADE_RECLAIMING: return step_reclaiming(m);
	case UPGRADE_WAITING: return step_waiting(m, now);
	case UPGRADE_TAKING: return step_taking(m, now);
	case UPGRADE_ENTERING: return step_entering(m);
	}
	return UPGRADE_SERVE;
}
