/* How many connections each address has open, for limits.per_ip. One table for all
 * event threads of a worker; addresses without a connection take no memory. */
#ifndef API_IP_TABLE_H
#define API_IP_TABLE_H

#include <stdbool.h>
#include <sys/socket.h>

struct ip_table *ip_table_new(void);   /* NULL: no memory */
void ip_table_free(struct ip_table *t);
/* Count one more connection of this address; false when it has limit already. */
bool ip_table_add(struct ip_table *t, const struct sockaddr_storage *peer, unsigned limit);
void ip_table_remove(struct ip_table *t, const struct sockaddr_storage *peer);

#endif
