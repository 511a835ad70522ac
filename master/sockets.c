#include "master/sockets.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"

#define EG_BACKLOG 4096                /* connections in a queue; the kernel cuts it to somaxconn */
#define EG_CLAIM_PAUSE_NS 10000000     /* between two tries for an address in use */

static const char *reason(int error)
{
	return error == EADDRINUSE ? "the address is in use by another process"
	       : error == EADDRNOTAVAIL ? "this machine has no such address"
	       : error == EACCES ? "ports below 1024 need a privilege" : strerror(error);
}

static void address_show(struct sockets_address *a)
{
	char host[INET6_ADDRSTRLEN];
	char port[8];

	EG_ASSERT(getnameinfo((struct sockaddr *)&a->at, a->at_bytes, host, sizeof host, port, sizeof port,
	                      NI_NUMERICHOST | NI_NUMERICSERV) == 0);
	snprintf(a->text, sizeof a->text, a->at.ss_family == AF_INET6 ? "[%s]:%s" : "%s:%s", host, port);
}

/* A socket bound to the address, or -1 with errno. */
static int bound(const struct sockets_address *a, bool shared)
{
	int fd = socket(a->at.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int on = 1;

	if (fd < 0)
		return -1;
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0 &&
	    (!shared || setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on) == 0) &&
	    (a->at.ss_family != AF_INET6 ||
	     setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on) == 0) &&
	    bind(fd, (const struct sockaddr *)&a->at, a->at_bytes) == 0)
		return fd;
	on = errno;
	close(fd);
	errno = on;
	return -1;
}

/* SO_REUSEPORT would let a second server of the same user take half of the
 * connections without a word: a bind without it finds out. Where the port is 0
 * this also chooses it. The kernel says to nobody when an address gets free, so
 * it is asked again and again. */
static enum err address_claim(struct sockets_address *a, unsigned patience_ms, struct fault *f)
{
	const struct timespec pause = { .tv_nsec = EG_CLAIM_PAUSE_NS };
	int64_t deadline = clock_mono_ns() + (int64_t)patience_ms * 1000000;
	int fd = bound(a, false);

	if (fd < 0 && errno == EADDRINUSE && patience_ms > 0)
		LOG_INFO("%s is in use; up to %u ms are given to whoever is leaving it", a->written, patience_ms);
	while (fd < 0 && errno == EADDRINUSE && clock_mono_ns() < deadline) {
		nanosleep(&pause, NULL);
		fd = bound(a, false);
	}
	if (fd < 0)
		return err_set(f, EG_E_INPUT, "server.listen", NULL, "%s: %s", a->written, reason(errno));
	EG_ASSERT(getsockname(fd, (struct sockaddr *)&a->at, &a->at_bytes) == 0);
	close(fd);
	address_show(a);
	return EG_E_OK;
}

static enum err socket_add(struct sockets *s, unsigned address, unsigned worker, struct fault *f)
{
	const struct sockets_address *a = &s->addresses[address];
	struct sockets_one *one = &s->v[s->n];
	int fd;

	if (s->n == EG_SOCKETS_MAX)
		return err_set(f, EG_E_INPUT, "server.listen", "4096",
		               "more than %u listening sockets: workers x event_threads x addresses",
		               EG_SOCKETS_MAX);
	fd = bound(a, true);
	if (fd < 0 || listen(fd, EG_BACKLOG) != 0) {
		enum err e = err_set(f, EG_E_INPUT, "server.listen", NULL, "%s: %s", a->written, reason(errno));

		if (fd >= 0)
			close(fd);
		return e;
	}
	one->listener.fd = fd;
	memcpy(one->listener.text, a->text, sizeof one->listener.text);
	one->address = address;
	one->worker = worker;
	s->n++;
	return EG_E_OK;
}

static unsigned socket_count(const struct sockets *s, unsigned address, unsigned worker)
{
	unsigned n = 0;

	for (unsigned i = 0; i < s->n; i++)
		n += s->v[i].address == address && s->v[i].worker == worker;
	return n;
}

/* Every worker's sockets of one address, as many as there are threads. */
static enum err address_open(struct sockets *s, unsigned address, unsigned workers, unsigned threads,
                             struct fault *f)
{
	for (unsigned w = 0; w < workers; w++) {
		for (unsigned n = socket_count(s, address, w); n < threads; n++) {
			enum err e = socket_add(s, address, w, f);

			if (e != EG_E_OK)
				return e;
		}
	}
	return EG_E_OK;
}

static bool known(const struct sockets *s, const char *written)
{
	for (unsigned i = 0; i < s->n_addresses; i++) {
		if (strcmp(s->addresses[i].written, written) == 0)
			return true;
	}
	return false;
}

/* Adds the addresses that a text names (a host name may have several), bound to
 * nothing yet but known to be free. */
static enum err address_add(struct sockets *s, const char *written, struct fault *f)
{
	struct addrinfo hints = { .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM,
	                          .ai_flags = AI_PASSIVE | AI_NUMERICSERV };
	struct addrinfo *found = NULL;
	char host[256], port_text[16];
	int port, failed;
	enum err e = config_address(written, host, &port);

	if (e != EG_E_OK)
		return err_set(f, e, "server.listen", NULL, "\"%s\" is not HOST:PORT", written);
	snprintf(port_text, sizeof port_text, "%d", port);
	failed = getaddrinfo(host, port_text, &hints, &found);
	if (failed != 0)
		return err_set(f, EG_E_INPUT, "server.listen", NULL, "%s: %s", written, gai_strerror(failed));
	for (struct addrinfo *p = found; p != NULL && e == EG_E_OK; p = p->ai_next) {
		struct sockets_address *a = &s->addresses[s->n_addresses];

		if (s->n_addresses == EG_ADDRESSES_MAX) {
			e = err_set(f, EG_E_INPUT, "server.listen", "64", "more than %u addresses", EG_ADDRESSES_MAX);
			break;
		}
		memset(a, 0, sizeof *a);
		memcpy(&a->at, p->ai_addr, p->ai_addrlen);
		a->at_bytes = p->ai_addrlen;
		a->written = strdup(written);
		EG_ASSERT(a->written != NULL);
		s->n_addresses++;
		e = address_claim(a, s->patience_ms, f);
	}
	freeaddrinfo(found);
	return e;
}

/* Takes away everything from these numbers on. */
static void cut(struct sockets *s, unsigned n_addresses, unsigned n)
{
	while (s->n > n)
		close(s->v[--s->n].listener.fd);
	while (s->n_addresses > n_addresses)
		free(s->addresses[--s->n_addresses].written);
}

static bool listed(const struct config_strings *list, const char *text)
{
	for (size_t i = 0; i < list->n; i++) {
		if (strcmp(list->v[i], text) == 0)
			return true;
	}
	return false;
}

enum err sockets_update(struct sockets *s, const struct config *cfg, unsigned workers, struct fault *f)
{
	const struct config_strings *list = &cfg->server_listen;
	unsigned n_addresses = s->n_addresses, n = s->n;
	enum err e = EG_E_OK;

	for (size_t i = 0; i < list->n && e == EG_E_OK; i++) {
		if (!known(s, list->v[i]))
			e = address_add(s, list->v[i], f);
	}
	for (unsigned i = 0; i < s->n_addresses && e == EG_E_OK; i++) {
		if (listed(list, s->addresses[i].written))
			e = address_open(s, i, workers, (unsigned)cfg->workers_event_threads, f);
	}
	if (e != EG_E_OK) {
		cut(s, n_addresses, n);
		return e;
	}
	for (unsigned i = 0; i < s->n_addresses; i++)
		s->addresses[i].wanted = listed(list, s->addresses[i].written);
	return EG_E_OK;
}

/* ---- to another image of the program */

void sockets_write(const struct sockets *s, FILE *out)
{
	for (unsigned i = 0; i < s->n_addresses; i++)
		fprintf(out, "address %s\n", s->addresses[i].written);
	for (unsigned i = 0; i < s->n; i++)
		fprintf(out, "socket %d %u %u\n", s->v[i].listener.fd, s->v[i].address, s->v[i].worker);
}

static bool read_address(struct sockets *s, const char *written)
{
	struct sockets_address *a = &s->addresses[s->n_addresses];

	if (s->n_addresses == EG_ADDRESSES_MAX)
		return false;
	memset(a, 0, sizeof *a);
	a->written = strdup(written);
	EG_ASSERT(a->written != NULL);
	s->n_addresses++;
	return true;
}

static bool read_socket(struct sockets *s, const char *line, unsigned workers)
{
	struct sockets_one *one = &s->v[s->n];
	struct sockets_address *a;

	if (s->n == EG_SOCKETS_MAX ||
	    sscanf(line, "%d %u %u", &one->listener.fd, &one->address, &one->worker) != 3 ||
	    one->address >= s->n_addresses)
		return false;
	a = &s->addresses[one->address];
	a->at_bytes = sizeof a->at;
	if (getsockname(one->listener.fd, (struct sockaddr *)&a->at, &a->at_bytes) != 0)
		return false;
	address_show(a);
	memcpy(one->listener.text, a->text, sizeof one->listener.text);
	one->worker %= workers;
	s->n++;
	return true;
}

enum err sockets_read(struct sockets *s, FILE *in, unsigned workers, struct fault *f)
{
	char line[512];

	while (fgets(line, sizeof line, in) != NULL) {
		line[strcspn(line, "\n")] = '\0';
		if ((strncmp(line, "address ", 8) == 0 && read_address(s, line + 8)) ||
		    (strncmp(line, "socket ", 7) == 0 && read_socket(s, line + 7, workers)))
			continue;
		return err_set(f, EG_E_INPUT, NULL, NULL, "the old server's sockets: \"%s\": %s", line, strerror(errno));
	}
	sockets_inherit(s, false);
	return EG_E_OK;
}

void sockets_inherit(const struct sockets *s, bool on)
{
	for (unsigned i = 0; i < s->n; i++)
		fcntl(s->v[i].listener.fd, F_SETFD, on ? 0 : FD_CLOEXEC);
}

unsigned sockets_of(const struct sockets *s, unsigned worker, struct listener *out)
{
	unsigned n = 0;

	for (unsigned i = 0; i < s->n; i++) {
		if (s->v[i].worker == worker && s->addresses[s->v[i].address].wanted)
			out[n++] = s->v[i].listener;
	}
	return n;
}

void sockets_keep(const struct sockets *s, unsigned worker)
{
	for (unsigned i = 0; i < s->n; i++) {
		if (s->v[i].worker != worker || !s->addresses[s->v[i].address].wanted)
			close(s->v[i].listener.fd);
	}
}

unsigned sockets_sweep(struct sockets *s)
{
	unsigned to = 0, closed = 0, moved[EG_ADDRESSES_MAX] = { 0 };

	for (unsigned i = 0; i < s->n; i++) {
		if (s->addresses[s->v[i].address].wanted)
			s->v[to++] = s->v[i];
		else
			close(s->v[i].listener.fd);
	}
	s->n = to;
	to = 0;
	for (unsigned i = 0; i < s->n_addresses; i++) {
		moved[i] = to;
		if (s->addresses[i].wanted) {
			s->addresses[to++] = s->addresses[i];
		} else {
			free(s->addresses[i].written);
			closed++;
		}
	}
	s->n_addresses = to;
	for (unsigned i = 0; i < s->n; i++)
		s->v[i].address = moved[s->v[i].address];
	return closed;
}

void sockets_close(struct sockets *s)
{
	cut(s, 0, 0);
}
