/* One kept HTTP connection to a server that may die at any moment. Sends a request
 * once; says whether it was never sent, answered, or left without a whole answer. */
#ifndef T_SWEEP_CLIENT_H
#define T_SWEEP_CLIENT_H

#include <stddef.h>
#include <stdint.h>

enum { CLIENT_REFUSED = 0, CLIENT_UNKNOWN = -1 };      /* instead of a status */

struct client {
	unsigned port;
	int fd;
	char *in;                      /* head and body of the last answer, terminated */
	size_t cap, len;
	const char *body;              /* in it */
	size_t body_bytes;
	uint64_t refused, cut, asked;  /* connects refused, answers that did not come */
};

void client_init(struct client *c, unsigned port);
void client_fini(struct client *c);
void client_close(struct client *c);
unsigned client_free_port(void);
unsigned client_local_port(const struct client *c);     /* 0: not connected */

/* The status, CLIENT_REFUSED (nobody has seen it) or CLIENT_UNKNOWN. body: JSON or NULL. */
int client_ask(struct client *c, const char *method, const char *path, const char *body);
/* A number behind "name": in the last answer; -1 if there is none. */
int64_t client_number(const struct client *c, const char *name);

#endif
