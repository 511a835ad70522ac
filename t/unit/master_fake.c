/* engram-server with children that only obey: they take their desk, beat, answer
 * each connection with an empty 200, follow the configuration and leave when
 * told. t/master_cycle.t runs it to see the master alone.
 *
 * USR2 to a child: it stops beating. Files in the folder that ENGRAM_FAKE names:
 * "die" = workers end before they are ready; "slow" = workers are not ready as long
 * as it is there; "stubborn" = workers do not leave.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/config.h"
#include "common/log.h"
#include "master/options.h"

static volatile sig_atomic_t quit, stop, reopen, mute;

static void on_signal(int number)
{
	quit = quit || number == SIGQUIT;
	stop = stop || number == SIGTERM;
	reopen = reopen || number == SIGUSR1;
	mute = mute || number == SIGUSR2;
}

static bool asked_for(const char *what)
{
	const char *dir = getenv("ENGRAM_FAKE");
	char path[4096];

	if (dir == NULL)
		return false;
	snprintf(path, sizeof path, "%s/%s", dir, what);
	return access(path, F_OK) == 0;
}

static void catch_signals(sigset_t *before)
{
	static const int numbers[] = { SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2 };
	struct sigaction act = { .sa_handler = on_signal };
	sigset_t set;

	sigemptyset(&set);
	for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
		sigaddset(&set, numbers[i]);
		sigaction(numbers[i], &act, NULL);
	}
	sigprocmask(SIG_BLOCK, &set, before);
}

static void follow_config(const struct heritage *h, uint32_t *generation)
{
	uint32_t now = atomic_load(&desk_master(h->desks)->config_generation);
	static struct config_messages messages;
	struct config *cfg;

	if (now == *generation)
		return;
	*generation = now;
	cfg = config_load(h->config_path, h->overrides, h->n_overrides, &messages);
	EG_ASSERT(cfg != NULL);
	LOG_INFO("follows generation %u: request_seconds %lld", now, (long long)cfg->limits_request_seconds);
	config_free(cfg);
}

static void drain_dead(const struct heritage *h)
{
	for (unsigned d = EG_DESK_FIRST; d < h->desks->n; d++) {
		struct seat *seat = &desk_master(h->desks)->seats[d];

		if (atomic_load(&seat->state) == EG_DESK_DEAD) {
			atomic_store(&desk_wal(h->desks)->drained[d], atomic_load(&seat->incarnation));
			desk_ring(h->desks, EG_DESK_MASTER);
		}
	}
}

/* Every connection that waits; returns how many there were. */
static int answer(const struct heritage *h)
{
	static const char reply[] = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
	char request[4096];
	int n = 0;

	for (unsigned i = 0; i < h->n_listeners; i++) {
		int fd = accept(h->listeners[i].fd, NULL, NULL);

		if (fd < 0)
			continue;
		n++;
		if (read(fd, request, sizeof request) > 0 && write(fd, reply, sizeof reply - 1) < 0)
			LOG_WARN("reply: %s", strerror(errno));
		close(fd);
	}
	return n;
}

static void become_ready(const struct heritage *h)
{
	struct desk_header *own = desk_header(h->desks, h->desk);

	if (atomic_load(&own->ready) || (h->n_listeners > 0 && asked_for("slow")))
		return;
	atomic_store(&own->ready, 1);
	desk_ring(h->desks, EG_DESK_MASTER);
}

static int fake_main(const struct heritage *h, bool writer)
{
	struct pollfd fds[64] = { { .fd = h->desks->bell[h->desk], .events = POLLIN } };
	const struct timespec tick = { 0, 50 * 1000 * 1000 };
	uint32_t generation = h->config_generation;
	sigset_t before;

	catch_signals(&before);
	if (h->n_listeners > 0 && asked_for("die"))
		return 3;
	EG_ASSERT(h->n_listeners < 63);
	for (unsigned i = 0; i < h->n_listeners; i++)
		fds[i + 1] = (struct pollfd){ .fd = h->listeners[i].fd, .events = POLLIN };
	LOG_INFO("born with generation %u: request_seconds %lld, %u listeners", generation,
	         (long long)h->config->limits_request_seconds, h->n_listeners);
	atomic_store(&desk_header(h->desks, h->desk)->sleeping, 1);
	while (!stop && !(quit && (h->n_listeners == 0 || !asked_for("stubborn")))) {
		if (!mute)
			desk_beat(h->desks);
		become_ready(h);
		if (reopen) {
			reopen = 0;
			EG_ASSERT(log_reopen() == EG_E_OK);
			LOG_INFO("opened the log anew");
		}
		if (h->n_listeners == 0)
			follow_config(h, &generation);
		if (writer)
			drain_dead(h);
		(void)ppoll(fds, h->n_listeners + 1, &tick, &before);
		(void)desk_hush(h->desks);
		while (answer(h) > 0)
			;
	}
	if (writer)
		drain_dead(h);
	LOG_INFO("leaves, asked to %s", stop ? "stop" : "leave");
	return 0;
}

/* With an object in shared memory, to be removed by the master. */
static int fake_wal(const struct heritage *h)
{
	char name[64];
	int fd;

	snprintf(name, sizeof name, "%sfake", h->shm_prefix);
	fd = shm_open(name, O_RDWR | O_CREAT, 0600);
	if (fd < 0)
		log_fatal(1, "%s: %s", name, strerror(errno));
	close(fd);
	return fake_main(h, true);
}

static int fake_child(const struct heritage *h)
{
	return fake_main(h, false);
}

int main(int argc, char *argv[])
{
#define wal_main fake_wal
#define worker_main fake_child
#define consolidator_main fake_child
	static const struct kind rows[] = {
#define X(name, title, comm, main, desk, serves, rank, does) \
		{ EG_PROCESS_##name, title, comm, main, desk, serves, rank },
#include "master/kinds.def"
#undef X
	};
	const struct kinds kinds = { rows, sizeof rows / sizeof *rows };

	return options_run(argc, argv, &kinds);
}
