/* See ip_table.h. */
#include "workers/api/ip_table.h"

#include <netinet/in.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "common/err.h"

enum { IP_BUCKETS = 4096 };

struct ip_entry {
	struct ip_entry *next;
	unsigned char ip[16];
	unsigned n;
};
struct ip_table {
	pthread_mutex_t lock;
	struct ip_entry *bucket[IP_BUCKETS];
};

struct ip_table *ip_table_new(void)
{
	struct ip_table *t = calloc(1, sizeof *t);

	if (t)
		pthread_mutex_init(&t->lock, NULL);
	return t;
}

void ip_table_free(struct ip_table *t)
{
	for (unsigned i = 0; t && i < IP_BUCKETS; i++) {
		for (struct ip_entry *e = t->bucket[i], *next; e; e = next) {
			next = e->next;
			free(e);
		}
	}
	free(t);
}

/* The address as 16 bytes; IPv4 as ::ffff:a.b.c.d. */
static void ip_key(const struct sockaddr_storage *peer, unsigned char key[16])
{
	memset(key, 0, 16);
	if (peer->ss_family == AF_INET) {
		key[10] = key[11] = 0xff;
		memcpy(key + 12, &((const struct sockaddr_in *)peer)->sin_addr, 4);
	} else if (peer->ss_family == AF_INET6) {
		memcpy(key, &((const struct sockaddr_in6 *)peer)->sin6_addr, 16);
	}
}

static struct ip_entry **ip_find(struct ip_table *t, const unsigned char key[16])
{
	uint64_t word[2];
	struct ip_entry **at;

	memcpy(word, key, 16);
	at = &t->bucket[((word[0] ^ word[1]) * 0x9e3779b97f4a7c15u >> 32) % IP_BUCKETS];
	while (*at && memcmp((*at)->ip, key, 16))
		at = &(*at)->next;
	return at;
}

bool ip_table_add(struct ip_table *t, const struct sockaddr_storage *peer, unsigned limit)
{
	unsigned char key[16];
	struct ip_entry **at;
	bool ok = false;

	ip_key(peer, key);
	pthread_mutex_lock(&t->lock);
	at = ip_find(t, key);
	if (!*at && (*at = calloc(1, sizeof **at)))
		memcpy((*at)->ip, key, 16);
	if (*at && (*at)->n < limit) {
		(*at)->n++;
		ok = true;
	}
	pthread_mutex_unlock(&t->lock);
	return ok;
}

void ip_table_remove(struct ip_table *t, const struct sockaddr_storage *peer)
{
	unsigned char key[16];
	struct ip_entry **at, *gone;

	ip_key(peer, key);
	pthread_mutex_lock(&t->lock);
	at = ip_find(t, key);
	EG_ASSERT(*at && (*at)->n);
	if (!--(*at)->n) {
		gone = *at;
		*at = gone->next;
		free(gone);
	}
	pthread_mutex_unlock(&t->lock);
}
