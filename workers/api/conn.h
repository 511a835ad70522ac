/* Connections: accepted, counted, looked at, cut when they are too slow.
 *
 * A connection is ours until its first head is there: "PRI" is HTTP/2's preface;
 * a malformed head is refused (rawhead.h); all else goes to libmicrohttpd. Bytes
 * are only looked at (MSG_PEEK), so the library reads them again. From then on it
 * owns the socket; we keep a record of it until the library says that it is closed, so
 * that a deadline can never hit a stranger who got the same descriptor. A
 * deadline shuts the socket down; the library sees the end and closes it.
 */
#ifndef API_CONN_H
#define API_CONN_H

#include <sys/socket.h>

#include "workers/api/loop.h"

enum conn_phase {
	CONN_PEEK,                     /* ours; the first head is awaited */
	CONN_LINGER,                   /* ours; refused, what still comes is dropped */
	CONN_IDLE,                     /* between requests */
	CONN_HEAD,                     /* request line or headers are coming */
	CONN_BODY,
	CONN_WORK,                     /* being answered: no deadline of the connection's */
	CONN_SEND,                     /* the answer is going out */
	CONN_CUT,                      /* shut down, the library has not closed it yet */
};

struct conn {
	struct conn *next, *prev;
	struct loop *loop;
	struct event *peek;            /* while CONN_PEEK or CONN_LINGER */
	int fd;
	enum conn_phase phase;
	size_t seen_head;              /* CONN_PEEK: bytes of the head that are there */
	bool at_end;                   /* the client had ended its side when last looked */
	bool awaits_body;              /* its head was read in this wake-up, nothing of the body yet */
	int64_t deadline_ms;
	uint64_t seen_in, seen_out;    /* bytes counted so far */
	struct sockaddr_storage peer;
	socklen_t peer_len;
};

/* libevent: a listening socket is readable; a listener may be tried again. */
void conn_accept(evutil_socket_t fd, short what, void *loop);
void conn_accept_again(evutil_socket_t fd, short what, void *loop);
/* libmicrohttpd: a connection starts or ends. */
void conn_notify(void *loop, struct MHD_Connection *c, void **context, enum MHD_ConnectionNotificationCode code);

void conn_phase(struct conn *c, enum conn_phase phase);
/* A head was read whose body comes; and, once the library has worked on what is
 * there, tell those whose body did not come with it that their head has arrived: a
 * client that writes both apart waits for that, and the kernel keeps it back for 40 ms. */
void conn_await_body(struct conn *c);
void conn_hurry(struct loop *l);
/* Cut what is over its deadline; called every EG_TICK_MS. */
void conn_watch(struct loop *l);
/* Close connections without a request in work: all of them, or only idle ones. */
void conn_close_idle(struct loop *l, bool all);
/* "address:port" */
void conn_peer(const struct conn *c, char out[64]);

#endif
