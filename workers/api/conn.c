/* See conn.h. */
#include "workers/api/conn.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"
#include "shm/metrics.h"
#include "workers/api/ip_table.h"
#include "workers/api/rawhead.h"

enum {
	ACCEPTS_PER_WAKE = 64,         /* so that a flood cannot starve those already in */
	PREFACE_BYTES = 3,             /* tell HTTP/2 from HTTP/1 */
	LINGER_MS = 2000,              /* a refused client may still send */
	LINGER_READS = 16,             /* per wake-up */
	TRAFFIC_TICKS = 8,             /* ticks between two looks at the kernel's side of open connections */
	ACCEPT_PAUSE_MS = 50,
	FRESH_MS = 1000,               /* who connected so lately is about to ask */
	TCP_ESTABLISHED = 1,           /* of the kernel's states, which linux/tcp.h does not name */
};

/* ---- the record of a connection */

static void unlink_conn(struct conn *c)
{
	struct loop *l = c->loop;

	if (c->prev)
		c->prev->next = c->next;
	else
		l->conns = c->next;
	if (c->next)
		c->next->prev = c->prev;
	l->n_conns--;
}

/* Bytes through the socket since the last look, by the kernel's own count.
 * Returns whether the client has ended its side. */
static bool look(struct conn *c)
{
	struct tcp_info info;
	socklen_t n = sizeof info;

	if (getsockopt(c->fd, IPPROTO_TCP, TCP_INFO, &info, &n))
		return false;
	metric_add(M_NET_IN, info.tcpi_bytes_received - c->seen_in);
	metric_add(M_NET_OUT, info.tcpi_bytes_sent - c->seen_out);
	c->seen_in = info.tcpi_bytes_received;
	c->seen_out = info.tcpi_bytes_sent;
	return info.tcpi_state != TCP_ESTABLISHED;
}

/* The record goes; the socket is closed by whoever owns it. */
static void forget(struct conn *c)
{
	struct service *s = c->loop->service;

	look(c);
	for (unsigned i = 0; i < c->loop->n_awaiting; i++)
		if (c->loop->awaiting[i] == c)
			c->loop->awaiting[i] = NULL;
	unlink_conn(c);
	if (c->loop->stopping && !c->loop->n_conns)
		event_base_loopbreak(c->loop->base);    /* nobody to wait for */
	if (c->peek)
		event_free(c->peek);
	ip_table_remove(s->ips, &c->peer);
	atomic_fetch_sub(&s->connections, 1);
	metric_sub(M_HTTP_CONNECTIONS, 1);
	free(c);
}

static void close_own(struct conn *c)
{
	int fd = c->fd;

	forget(c);
	close(fd);
}

void conn_peer(const struct conn *c, char out[64])
{
	char text[INET6_ADDRSTRLEN] = "?";
	unsigned port = 0;

	if (c->peer.ss_family == AF_INET) {
		const struct sockaddr_in *in = (const struct sockaddr_in *)&c->peer;
		inet_ntop(AF_INET, &in->sin_addr, text, sizeof text);
		port = ntohs(in->sin_port);
	} else if (c->peer.ss_family == AF_INET6) {
		const struct sockaddr_in6 *in = (const struct sockaddr_in6 *)&c->peer;
		inet_ntop(AF_INET6, &in->sin6_addr, text, sizeof text);
		port = ntohs(in->sin6_port);
	}
	snprintf(out, 64, strchr(text, ':') ? "[%s]:%u" : "%s:%u", text, port);
}

/* ---- phases and deadlines */

void conn_phase(struct conn *c, enum conn_phase phase)
{
	const struct config *cfg = c->loop->hold->config;
	int64_t seconds = 0;

	switch (phase) {
	case CONN_PEEK:
	case CONN_IDLE: seconds = cfg->limits_idle_seconds; break;
	case CONN_HEAD: seconds = cfg->limits_header_seconds; break;
	case CONN_BODY: seconds = cfg->limits_body_seconds; break;
	case CONN_SEND: seconds = cfg->limits_request_seconds; break;
	case CONN_LINGER:
	case CONN_WORK:
	case CONN_CUT: break;
	}
	c->phase = phase;
	c->deadline_ms = seconds ? c->loop->now_ms + seconds * 1000 : INT64_MAX;
}

void conn_await_body(struct conn *c)
{
	struct loop *l = c->loop;

	if (l->n_awaiting == EG_AWAITING)
		return;
	c->awaits_body = true;
	l->awaiting[l->n_awaiting++] = c;
}

void conn_hurry(struct loop *l)
{
	int on = 1;

	for (unsigned i = 0; i < l->n_awaiting; i++) {
		struct conn *c = l->awaiting[i];
		if (c && c->awaits_body)
			(void)setsockopt(c->fd, IPPROTO_TCP, TCP_QUICKACK, &on, sizeof on);
	}
	l->n_awaiting = 0;
}

static enum metric cut_reason(const struct conn *c)
{
	switch (c->phase) {
	case CONN_PEEK: return c->seen_head ? M_CUT_HEADER : M_CUT_IDLE;
	case CONN_HEAD: return M_CUT_HEADER;
	case CONN_BODY: return M_CUT_BODY;
	case CONN_SEND: return M_CUT_REQUEST;
	default: return M_CUT_IDLE;
	}
}

static void cut(struct conn *c)
{
	if (c->phase == CONN_PEEK || c->phase == CONN_LINGER) {
		close_own(c);
		return;
	}
	shutdown(c->fd, SHUT_RDWR);
	conn_phase(c, CONN_CUT);
}

/* libmicrohttpd does not act on an end of input that comes within a head or body;
 * a connection that is at its end, with nothing unread, twice in a row is dead. */
static bool is_dead(struct conn *c)
{
	int unread = 0;
	bool waits = c->phase == CONN_IDLE || c->phase == CONN_HEAD || c->phase == CONN_BODY;
	bool end = look(c) && waits && !ioctl(c->fd, FIONREAD, &unread) && !unread, before = c->at_end;

	c->at_end = end;
	return end && before;
}

void conn_watch(struct loop *l)
{
	bool all = l->ticks % TRAFFIC_TICKS == 0;

	for (struct conn *c = l->conns, *next; c; c = next) {
		next = c->next;
		if ((all || c->phase == CONN_HEAD || c->phase == CONN_BODY) && is_dead(c)) {
			cut(c);
			continue;
		}
		if (l->now_ms < c->deadline_ms)
			continue;
		if (c->phase != CONN_LINGER)
			metric_add(cut_reason(c), 1);
		cut(c);
	}
}

/* Its request may be on the way: it has just connected, or bytes are there. */
static bool may_ask(const struct conn *c)
{
	int64_t idle_ms = c->loop->hold->config->limits_idle_seconds * 1000;
	int unread = 0;

	if (c->phase == CONN_PEEK && c->deadline_ms - c->loop->now_ms > idle_ms - FRESH_MS)
		return true;
	return !ioctl(c->fd, FIONREAD, &unread) && unread > 0;
}

void conn_close_idle(struct loop *l, bool all)
{
	for (struct conn *c = l->conns, *next; c; c = next) {
		bool idle = c->phase == CONN_IDLE || (c->phase == CONN_PEEK && !c->seen_head);

		next = c->next;
		if ((idle && !may_ask(c)) || (all && c->phase != CONN_CUT))
			cut(c);
	}
}

/* ---- to libmicrohttpd */

void conn_notify(void *loop, struct MHD_Connection *connection, void **context, enum MHD_ConnectionNotificationCode code)
{
	struct loop *l = loop;
	(void)connection;

	if (code == MHD_CONNECTION_NOTIFY_STARTED)
		*context = l->adding;
	else if (*context)
		forget(*context);
}

static void hand_over(struct conn *c)
{
	struct loop *l = c->loop;

	if (c->peek) {
		event_free(c->peek);
		c->peek = NULL;
	}
	conn_phase(c, CONN_HEAD);
	l->adding = c;
	/* When it fails, libmicrohttpd has closed the socket, and told conn_notify
	 * about it if it had started the connection: then l->adding was taken. */
	if (MHD_add_connection(l->daemon, c->fd, (const struct sockaddr *)&c->peer, c->peer_len) != MHD_YES) {
		LOG_WARN("a connection could not be handed over: %s", strerror(errno));
		for (struct conn *at = l->conns; at; at = at->next) {
			if (at == c) {
				c->fd = -1;
				forget(c);
				break;
			}
		}
	}
	l->adding = NULL;
}

/* ---- refusing by ourselves */

/* Read and drop; unread bytes at close would make the kernel send a reset, which
 * may overtake the answer. */
static void linger(struct conn *c)
{
	for (unsigned i = 0; i < LINGER_READS; i++) {
		ssize_t n = recv(c->fd, c->loop->head, sizeof c->loop->head, 0);
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		if (n <= 0) {
			close_own(c);
			return;
		}
	}
	event_active(c->peek, EV_READ, 0);     /* edge-triggered: go on without a new edge */
}

static bool watch_own(struct conn *c);

static void refuse_head(struct conn *c, const struct fault *f)
{
	struct buf body, out;

	buf_init(&body, 4096);
	buf_init(&out, 8192);
	reply_envelope(&body, f, NULL);
	buf_printf(&out, "HTTP/1.1 %d %s\r\nContent-Type: application/json\r\nX-Content-Type-Options: nosniff\r\n"
	           "Connection: close\r\nContent-Length: %zu\r\n\r\n%s", err_http(f->err),
	           MHD_get_reason_phrase_for((unsigned)err_http(f->err)), body.len, body.data);
	metric_add(M_HTTP_4XX, 1);
	metric_add(M_OP_OTHER, 1);
	metric_add(M_ERR_OTHER, 1);
	(void)!send(c->fd, out.data, out.len, MSG_DONTWAIT | MSG_NOSIGNAL);
	shutdown(c->fd, SHUT_WR);
	buf_free(&body);
	buf_free(&out);
	conn_phase(c, CONN_LINGER);
	c->deadline_ms = c->loop->now_ms + LINGER_MS;
	if (watch_own(c))
		linger(c);
}

/* ---- the first head */

static bool at_end(const struct conn *c)
{
	struct tcp_info info;
	socklen_t n = sizeof info;

	/* Behind bytes that were only looked at, the end of input shows in the state alone. */
	return getsockopt(c->fd, IPPROTO_TCP, TCP_INFO, &info, &n) || info.tcpi_state != TCP_ESTABLISHED;
}

/* The head is not complete: is it too long, or will nothing more come? Returns
 * false when it is worth waiting. */
static bool give_up(struct conn *c, size_t n)
{
	struct fault f;

	if (n == sizeof c->loop->head) {
		if (memchr(c->loop->head, '\n', n))
			err_set(&f, EG_E_HEADERS, "headers", "12 KiB", "the request line and headers are larger than 12 KiB");
		else
			err_set(&f, EG_E_URI, "target", "12 KiB", "the request line is longer than 12 KiB");
		refuse_head(c, &f);
		return true;
	}
	if (at_end(c)) {
		close_own(c);
		return true;
	}
	if (!c->seen_head)
		c->deadline_ms = c->loop->now_ms + c->loop->hold->config->limits_header_seconds * 1000;
	c->seen_head = n;
	return false;
}

/* Look at what is there. Returns false when more must come. */
static bool decide(struct conn *c)
{
	static const char preface[] = "PRI";
	struct loop *l = c->loop;
	ssize_t n = recv(c->fd, l->head, sizeof l->head, MSG_PEEK);
	struct fault f;
	size_t end;

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return false;
	if (n <= 0 || (n >= PREFACE_BYTES && !memcmp(l->head, preface, PREFACE_BYTES))) {
		if (n > 0)             /* HTTP/2: not spoken here yet */
			(void)!recv(c->fd, l->head, sizeof l->head, 0);
		close_own(c);
		return true;
	}
	end = rawhead_end(l->head, (size_t)n, c->seen_head);
	if (!end)
		return give_up(c, (size_t)n);
	if (rawhead_check(l->head, end, &f) ||
	    rawhead_chunk(l->head, end, (size_t)n - end, (size_t)l->hold->config->limits_body_mb << 20, &f))
		refuse_head(c, &f);
	else
		hand_over(c);
	return true;
}

static void on_own(evutil_socket_t fd, short what, void *arg)
{
	struct conn *c = arg;
	struct loop *l = c->loop;
	(void)fd, (void)what;

	l->now_ms = clock_mono_ms();
	if (c->phase == CONN_LINGER)
		linger(c);
	else if (decide(c))
		loop_serve(l);
}

/* Hear of what comes while the socket is ours; false: the connection is gone. */
static bool watch_own(struct conn *c)
{
	if (c->peek)
		return true;
	c->peek = event_new(c->loop->base, c->fd, EV_READ | EV_ET | EV_PERSIST, on_own, c);
	if (c->peek && !event_add(c->peek, NULL))
		return true;
	close_own(c);
	return false;
}

/* ---- accepting */

static const char refusal[] =
	"HTTP/1.1 503 Service Unavailable\r\n"
	"Content-Type: application/json\r\nX-Content-Type-Options: nosniff\r\n"
	"Retry-After: 1\r\nConnection: close\r\nContent-Length: 140\r\n\r\n"
	"{\"error\":{\"code\":\"OVERLOADED\",\"message\":\"too many connections are open\","
	"\"limit\":\"limits\",\"suggestion\":\"try again later, reuse connections\"}}";

/* Answer before the request was read, and close. */
static void refuse(int fd, enum metric reason)
{
	char drop[4096];

	metric_add(reason, 1);
	if (send(fd, refusal, sizeof refusal - 1, MSG_DONTWAIT | MSG_NOSIGNAL) > 0) {
		shutdown(fd, SHUT_WR);
		(void)!recv(fd, drop, sizeof drop, MSG_DONTWAIT);
	}
	close(fd);
}

static unsigned connection_limit(const struct loop *l)
{
	const struct service *s = l->service;
	uint64_t limit = (uint64_t)l->hold->config->limits_connections;
	uint32_t index = s->heritage->index;
	uint64_t own = limit / s->n_workers + (index < limit % s->n_workers);

	return own ? (unsigned)own : 1;
}

static void welcome(struct loop *l, int fd, const struct sockaddr_storage *peer, socklen_t peer_len)
{
	struct service *s = l->service;
	struct conn *c;

	metric_add(M_HTTP_ACCEPTED, 1);
	if (atomic_load(&s->connections) >= connection_limit(l)) {
		refuse(fd, M_CUT_TOTAL);
		return;
	}
	if (!ip_table_add(s->ips, peer, (unsigned)l->hold->config->limits_per_ip)) {
		refuse(fd, M_CUT_PER_IP);
		return;
	}
	c = calloc(1, sizeof *c);
	if (!c) {
		ip_table_remove(s->ips, peer);
		refuse(fd, M_CUT_TOTAL);
		return;
	}
	*c = (struct conn){ .next = l->conns, .loop = l, .fd = fd, .peer = *peer, .peer_len = peer_len };
	if (l->conns)
		l->conns->prev = c;
	l->conns = c;
	l->n_conns++;
	atomic_fetch_add(&s->connections, 1);
	metric_add(M_HTTP_CONNECTIONS, 1);
	conn_phase(c, CONN_PEEK);
	if (decide(c))                 /* the request came with the connection: no event needed */
		return;
	watch_own(c);
}

/* Descriptors ran out: give up the spare one to take the next client and tell
 * it so; if even that fails, leave the listener alone for a moment, because it
 * stays readable and would spin. */
static bool out_of_files(struct loop *l, int listener)
{
	struct timeval pause = { 0, ACCEPT_PAUSE_MS * 1000 };
	int fd = -1;

	if (l->spare_fd >= 0) {
		close(l->spare_fd);
		l->spare_fd = -1;
		fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (fd >= 0)
			refuse(fd, M_CUT_FILES);
	}
	if (l->spare_fd < 0)
		l->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	if (fd >= 0 && l->spare_fd >= 0)
		return true;
	for (unsigned i = 0; i < l->n_listeners; i++)
		event_del(l->listen_events[i]);
	event_add(l->accept_again, &pause);
	return false;
}

void conn_accept_again(evutil_socket_t fd, short what, void *loop)
{
	struct loop *l = loop;
	(void)fd, (void)what;

	for (unsigned i = 0; i < l->n_listeners && !l->stopping; i++)
		event_add(l->listen_events[i], NULL);
}

void conn_accept(evutil_socket_t listener, short what, void *loop)
{
	struct loop *l = loop;
	struct sockaddr_storage peer;
	(void)what;

	l->now_ms = clock_mono_ms();
	for (unsigned i = 0; i < ACCEPTS_PER_WAKE; i++) {
		socklen_t n = sizeof peer;
		int fd = accept4(listener, (struct sockaddr *)&peer, &n, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (fd >= 0) {
			welcome(l, fd, &peer, n);
			continue;
		}
		if (errno == EINTR || errno == ECONNABORTED)
			continue;
		if ((errno == EMFILE || errno == ENFILE) && out_of_files(l, listener))
			continue;
		break;
	}
	loop_serve(l);
}
