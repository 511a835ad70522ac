/* Reload-safe keys, taken over by processes that live through a reload: the
 * master publishes a configuration generation, each process reads the file anew
 * by itself. A file that is not valid changes nothing.
 */
#ifndef WORKERS_SETTINGS_H
#define WORKERS_SETTINGS_H

#include "common/config.h"
#include "shm/heritage.h"

_Static_assert(EG_CONFIG_THREADS_MAX <= EG_EPOCHS_MAX, "each thread of a valid configuration has an epoch slot");

/* The new configuration when the master's generation is above *generation and
 * the file is valid, else NULL. Sets *generation, logs and counts. The caller
 * frees it (config_free). Applies the log's keys, and at every call the calendar's
 * offset that the master has published. */
struct config *settings_follow(const struct heritage *h, const struct config *now, uint32_t *generation);

#endif
