/* A client by hand, see the header: libraries try again by themselves. */
#include "t/sweep/client.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "common/err.h"

#define PATIENCE_SECONDS 20

void client_init(struct client *c, unsigned port)
{
	memset(c, 0, sizeof *c);
	c->port = port;
	c->fd = -1;
	c->cap = 1 << 16;
	c->in = malloc(c->cap);
	EG_ASSERT(c->in != NULL);
	c->in[0] = '\0';
	c->body = c->in;
}

void client_close(struct client *c)
{
	if (c->fd >= 0)
		close(c->fd);
	c->fd = -1;
}

void client_fini(struct client *c)
{
	client_close(c);
	free(c->in);
}

static struct sockaddr_in address(unsigned port)
{
	return (struct sockaddr_in){ .sin_family = AF_INET, .sin_port = htons((uint16_t)port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
}

/* Below those that the kernel gives to clients. */
unsigned client_free_port(void)
{
	for (unsigned port = 12000 + (unsigned)getpid() * 7 % 18000;; port++) {
		struct sockaddr_in a = address(port);
		int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
		bool ok = bind(fd, (struct sockaddr *)&a, sizeof a) == 0;

		close(fd);
		if (ok)
			return port;
	}
}

unsigned client_local_port(const struct client *c)
{
	struct sockaddr_in a = { .sin_port = 0 };
	socklen_t n = sizeof a;

	return c->fd >= 0 && getsockname(c->fd, (struct sockaddr *)&a, &n) == 0 ? ntohs(a.sin_port) : 0;
}

static bool dial(struct client *c)
{
	struct timeval patience = { PATIENCE_SECONDS, 0 };
	struct sockaddr_in a = address(c->port);
	int one = 1;

	if (c->fd >= 0)
		return true;
	c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	EG_ASSERT(c->fd >= 0);
	setsockopt(c->fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
	setsockopt(c->fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
	setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	if (connect(c->fd, (struct sockaddr *)&a, sizeof a) == 0)
		return true;
	c->refused++;
	client_close(c);
	return false;
}

static bool send_all(struct client *c, struct iovec *v, int n)
{
	while (n > 0) {
		struct msghdr m = { .msg_iov = v, .msg_iovlen = (size_t)n };
		ssize_t sent = sendmsg(c->fd, &m, MSG_NOSIGNAL);

		if (sent < 0 && errno == EINTR)
			continue;
		if (sent <= 0)
			return false;
		for (; n > 0 && (size_t)sent >= v->iov_len; n--, v++)
			sent -= (ssize_t)v->iov_len;
		if (n > 0) {
			v->iov_base = (char *)v->iov_base + sent;
			v->iov_len -= (size_t)sent;
		}
	}
	return true;
}

static bool more(struct client *c)
{
	ssize_t n;

	if (c->len + 1 >= c->cap) {
		c->cap *= 2;
		c->in = realloc(c->in, c->cap);
		EG_ASSERT(c->in != NULL);
	}
	do
		n = recv(c->fd, c->in + c->len, c->cap - c->len - 1, 0);
	while (n < 0 && errno == EINTR);
	if (n <= 0)
		return false;
	c->len += (size_t)n;
	c->in[c->len] = '\0';
	return true;
}

/* The status of a whole answer, or CLIENT_UNKNOWN. */
static int receive(struct client *c)
{
	char *end, *field;
	size_t head;
	int status;

	c->len = 0;
	c->in[0] = '\0';
	while ((end = strstr(c->in, "\r\n\r\n")) == NULL)
		if (!more(c))
			return CLIENT_UNKNOWN;
	head = (size_t)(end - c->in) + 4;
	field = strcasestr(c->in, "\r\ncontent-length:");
	if (sscanf(c->in, "HTTP/1.1 %d", &status) != 1 || field == NULL || field > end)
		return CLIENT_UNKNOWN;
	c->body_bytes = strtoul(field + 17, NULL, 10);
	while (c->len < head + c->body_bytes)
		if (!more(c))
			return CLIENT_UNKNOWN;
	c->body = c->in + head;
	field = strcasestr(c->in, "\r\nconnection: close");
	if (field != NULL && field < c->body)
		client_close(c);
	return status;
}

int client_ask(struct client *c, const char *method, const char *path, const char *body)
{
	size_t bytes = body ? strlen(body) : 0;
	char head[512];
	struct iovec v[2] = { { head, 0 }, { (void *)(uintptr_t)body, bytes } };
	int n = snprintf(head, sizeof head, "%s %s HTTP/1.1\r\nHost: localhost\r\n", method, path), status;

	if (body)
		n += snprintf(head + n, sizeof head - (size_t)n,
		              "Content-Type: application/json\r\nContent-Length: %zu\r\n", bytes);
	n += snprintf(head + n, sizeof head - (size_t)n, "\r\n");
	v[0].iov_len = (size_t)n;
	c->len = c->body_bytes = 0;
	c->body = c->in;
	c->in[0] = '\0';
	if (!dial(c))
		return CLIENT_REFUSED;
	c->asked++;
	status = send_all(c, v, body ? 2 : 1) ? receive(c) : CLIENT_UNKNOWN;
	if (status != CLIENT_UNKNOWN)
		return status;
	c->cut++;
	client_close(c);
	return status;
}

int64_t client_number(const struct client *c, const char *name)
{
	char key[64];
	const char *at;

	snprintf(key, sizeof key, "\"%s\":", name);
	at = strstr(c->body, key);
	return at ? strtoll(at + strlen(key), NULL, 10) : -1;
}
