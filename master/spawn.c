/* Fork and everything that a child does before it is itself.
 *
 * The order in the child matters: it gives up what is the master's before its
 * privileges, asks for a signal at the master's death after the last change of
 * user (which clears that wish), looks whether the master is still there after it
 * asked, and touches the shared desks as the process that it will stay.
 */
#include "master/spawn.h"

#include <errno.h>
#include <grp.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sysexits.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/fault.h"
#include "common/log.h"
#include "master/signals.h"
#include "master/title.h"

/* Become the user for good, and see that there is no way back. */
static void drop_privileges(const struct files_owner *o)
{
	gid_t group = o->gid;

	if (setgroups(1, &group) != 0 || setresgid(o->gid, o->gid, o->gid) != 0 ||
	    setresuid(o->uid, o->uid, o->uid) != 0)
		log_fatal(EX_NOPERM, "cannot become user %s: %s", o->name, strerror(errno));
	if (setuid(0) == 0 || geteuid() != o->uid || getegid() != o->gid)
		log_fatal(EX_NOPERM, "privileges are still there after becoming user %s", o->name);
}

static void confine(const struct files_owner *o)
{
	bool root = geteuid() == 0;

	if (*o->name != '\0')
		drop_privileges(o);
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
		log_fatal(EX_OSERR, "no_new_privs: %s", strerror(errno));
#ifndef EG_SANITIZE
	/* Nobody of the same user may look into memories or keys by ptrace or a core
	 * file. Root still reads /proc/PID/{fd,io,smaps}. A server that runs as an
	 * ordinary user stays dumpable, else its own operator could not look. (A
	 * leak checker traces its own process.) */
	if (root && prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0)
		log_fatal(EX_OSERR, "PR_SET_DUMPABLE: %s", strerror(errno));
#else
	(void)root;
#endif
}

static void follow_master(int master)
{
	if (prctl(PR_SET_PDEATHSIG, SIGQUIT, 0, 0, 0) != 0)
		log_fatal(EX_OSERR, "PR_SET_PDEATHSIG: %s", strerror(errno));
	if (getppid() != master)
		_exit(0);
}

/* Close what is the master's and the siblings'. */
static void leave_behind(const struct spawn *s, const struct kind *kind, uint32_t index)
{
	for (size_t i = 0; i < sizeof s->private_fds / sizeof *s->private_fds; i++) {
		if (s->private_fds[i] >= 0)
			close(s->private_fds[i]);
	}
	sockets_keep(s->sockets, kind->serves ? index : UINT_MAX);
}

static void child_run(const struct spawn *s, const struct kind *kind, struct heritage *h)
{
	struct listener *listeners = NULL;
	struct fault f;

	FAULT_KIND(kind->number);
	FAULT(CHILD_BORN);
	signals_child();
	/* Signals from the terminal are for the master, which passes them on in order. */
	setpgid(0, 0);
	title_set(kind->title, kind->comm);
	log_set_kind(kind->title);
	leave_behind(s, kind, h->index);
	if (kind->serves) {
		listeners = calloc(EG_SOCKETS_MAX, sizeof *listeners);
		EG_ASSERT(listeners != NULL);
		h->n_listeners = sockets_of(s->sockets, h->index, listeners);
		h->listeners = listeners;
	}
	confine(&s->owner);
	follow_master(h->parent_pid);
	if (desk_take(h->desks, h->desk, &f) != EG_E_OK)
		log_fatal(EX_OSERR, "desk %u: %s", h->desk, f.message);
	atomic_store(&desk_header(h->desks, h->desk)->config_generation, h->config_generation);
	exit(kind->main(h));
}

static void seat_take(struct seat *seat, const struct kind *kind, const struct heritage *h, uint32_t restarts)
{
	EG_ASSERT(atomic_load(&seat->state) == EG_DESK_FREE);
	atomic_store(&seat->kind, kind->number);
	atomic_store(&seat->index, h->index);
	atomic_store(&seat->node, h->node);
	atomic_store(&seat->restarts, restarts);
	atomic_store(&seat->started_us, (uint64_t)clock_real_us());
	atomic_store(&seat->pid, 0);
	atomic_store(&seat->incarnation, h->incarnation);
	atomic_store(&seat->state, EG_DESK_BUSY);
}

pid_t spawn_child(const struct spawn *s, const struct kind *kind, unsigned desk, uint32_t index,
                  uint32_t node, uint32_t restarts)
{
	struct heritage h = s->heritage;
	struct seat *seat = &desk_master(h.desks)->seats[desk];
	pid_t pid;

	h.desk = desk;
	h.index = index;
	h.node = node;
	h.incarnation = atomic_load(&seat->incarnation) + 1;
	h.parent_pid = getpid();
	seat_take(seat, kind, &h, restarts);
	FAULT(MASTER_SEAT_TAKEN);
	log_flush();
	pid = fork();
	if (pid == 0)
		child_run(s, kind, &h);
	if (pid < 0) {
		atomic_store(&seat->state, EG_DESK_FREE);
		return -1;
	}
	FAULT(MASTER_FORKED);
	atomic_store(&seat->pid, pid);
	return pid;
}
