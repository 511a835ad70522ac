/* What the server says about its health, for the health routes and introspection. */
#ifndef API_HEALTH_H
#define API_HEALTH_H

#include "workers/api/loop.h"

#define EG_ALIVE_BODY "{\"status\":\"alive\"}\n"

/* NULL when stores and recalls are served; else why not, in a few words. */
const char *health_trouble(const struct service *s);

#endif
