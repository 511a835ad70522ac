/* See settings.h. */
#include "workers/settings.h"

#include "common/clock.h"
#include "common/config.h"
#include "common/log.h"
#include "shm/metrics.h"

static void note_change(const struct config_key *k, size_t index, void *arg)
{
	(void)index, (void)arg;
	if (k->reload)
		LOG_INFO("%s changed", k->name);
}

static void apply(const struct config *c)
{
	if (log_open(c->logging_file, (enum log_level)c->logging_level, (enum log_format)c->logging_format))
		LOG_WARN("cannot open the log %s; the old one is kept", c->logging_file);
}

struct config *settings_follow(const struct heritage *h, const struct config *now, uint32_t *generation)
{
	uint32_t newest = atomic_load(&desk_master(h->desks)->config_generation);
	struct config_messages messages;
	struct config *c;

	clock_set_offset_seconds(atomic_load(&desk_master(h->desks)->clock_offset_seconds));
	if (newest == *generation)
		return NULL;
	*generation = newest;
	c = config_load(h->config_path, h->overrides, h->n_overrides, &messages);
	if (!c) {
		metric_add(M_CONFIG_FAILED, 1);
		LOG_ERROR("configuration generation %u is not valid, the old one stays: %s", newest, messages.n ? messages.v[0].text : "?");
		return NULL;
	}
	config_changed(now, c, note_change, NULL);
	apply(c);
	metric_add(M_CONFIG_RELOADS, 1);
	atomic_store(&desk_header(h->desks, h->desk)->config_generation, newest);
	return c;
}
