/* Reload: all of a new configuration, or none of it.
 *
 * Whatever may fail is tried before anything is in force: reading, new listening
 * sockets, the log. Then the generation rises: new workers are started with it and
 * take over when they are ready (family.c), long-lived children read it
 * themselves. Keys that need a restart keep their old value; they are read as
 * if they stood behind the operator's -g, so that no child can see a mixture.
 */
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/fault.h"
#include "common/log.h"
#include "master/master.h"
#include "master/notify.h"
#include "shm/metrics.h"

static void say_messages(const struct config_messages *messages)
{
	static const enum log_level level[] = {
		[CONFIG_NOTE] = LOG_LEVEL_INFO, [CONFIG_WARNING] = LOG_LEVEL_WARN, [CONFIG_ERROR] = LOG_LEVEL_ERROR,
	};

	for (size_t i = 0; i < messages->n; i++)
		LOG_AT(level[messages->v[i].severity], "%s", messages->v[i].text);
}

static struct config *load(const struct master *m, char *const *overrides, size_t n)
{
	struct config_messages *messages = calloc(1, sizeof *messages);
	struct config *cfg;

	EG_ASSERT(messages != NULL);
	cfg = config_load(m->config_path, overrides, n, messages);
	say_messages(messages);
	free(messages);
	return cfg;
}

struct pins {                          /* -g and, behind it, keys that keep their value */
	const struct config *old;
	char *v[CONFIG_KEY_COUNT];
	size_t n;
};

static void pin(const struct config_key *k, size_t index, void *arg)
{
	struct pins *pins = arg;
	size_t bytes;
	char *value;

	if (k->reload)
		return;
	LOG_WARN("%s needs a restart: its old value stays in force", k->name);
	value = config_value_toml(pins->old, index);
	EG_ASSERT(value != NULL);
	bytes = strlen(k->name) + strlen(value) + 2;
	pins->v[pins->n] = malloc(bytes);
	EG_ASSERT(pins->v[pins->n] != NULL);
	snprintf(pins->v[pins->n], bytes, "%s=%s", k->name, value);
	free(value);
	pins->n++;
}

/* The new configuration with the old value of every key that needs a restart. */
static struct config *load_pinned(const struct master *m)
{
	struct config *cfg = load(m, m->overrides, m->n_overrides);
	struct pins pins = { .old = m->cfg };
	char **all;

	if (cfg == NULL || config_changed(m->cfg, cfg, pin, &pins) == 0)
		return cfg;
	config_free(cfg);
	all = calloc(m->n_overrides + pins.n, sizeof *all);
	EG_ASSERT(all != NULL);
	if (m->n_overrides > 0)
		memcpy(all, m->overrides, m->n_overrides * sizeof *all);
	memcpy(all + m->n_overrides, pins.v, pins.n * sizeof *all);
	cfg = load(m, all, m->n_overrides + pins.n);
	free(all);
	for (size_t i = 0; i < pins.n; i++)
		free(pins.v[i]);
	if (cfg != NULL && config_changed(m->cfg, cfg, NULL, NULL) != 0) {
		LOG_ERROR("the configuration changed while it was read");
		config_free(cfg);
		return NULL;
	}
	return cfg;
}

static bool open_log(const struct config *cfg)
{
	if (log_open(cfg->logging_file, (enum log_level)cfg->logging_level,
	             (enum log_format)cfg->logging_format) == EG_E_OK)
		return true;
	LOG_ERROR("logging.file: %s cannot be opened", cfg->logging_file);
	return false;
}

static struct config *prepare(struct master *m)
{
	struct config *cfg = load_pinned(m);
	struct fault f;

	if (cfg == NULL)
		return NULL;
	if (!open_log(cfg)) {
		config_free(cfg);
		return NULL;
	}
	if (sockets_update(&m->sockets, cfg, m->workers, &f) != EG_E_OK) {
		LOG_ERROR("%s: %s", f.field, f.message);
		config_free(cfg);
		/* It was open a moment ago; if it is not now, lines go on to the new one. */
		(void)open_log(m->cfg);
		return NULL;
	}
	return cfg;
}

static void count(struct master *m, enum metric which)
{
	atomic_fetch_add(&desk_counters(&m->desks, EG_DESK_MASTER)[which], 1);
}

bool reload_run(struct master *m)
{
	struct master_page *page = desk_master(&m->desks);
	struct config *cfg;

	notify_reloading();
	cfg = prepare(m);
	if (cfg == NULL) {
		atomic_fetch_add(&page->failed_reloads, 1);
		count(m, M_CONFIG_FAILED);
		LOG_ERROR("reload failed: the old configuration stays in force");
		notify_ready();
		return false;
	}
	FAULT(MASTER_RELOAD);
	config_free(m->cfg);
	m->cfg = cfg;
	m->serve = true;
	m->ready = false;
	clock_set_offset_seconds(cfg->testing_clock_offset_seconds);
	atomic_store(&page->clock_offset_seconds, cfg->testing_clock_offset_seconds);
	atomic_fetch_add(&page->reloads, 1);
	count(m, M_CONFIG_RELOADS);
	atomic_fetch_add(&page->config_generation, 1);
	atomic_store(&desk_header(&m->desks, EG_DESK_MASTER)->config_generation, page->config_generation);
	files_give(log_fd(), &m->family.spawn.owner);
	master_heritage(m);
	FAULT(MASTER_RELOADED);
	family_ring(&m->family);
	LOG_INFO("configuration generation %u is in force", m->family.spawn.heritage.config_generation);
	return true;
}
