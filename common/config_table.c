/* The rows of config.def as data, and the search for a name that was meant. */
#include "common/config_parts.h"

#include <stdlib.h>
#include <string.h>

#include "common/nearest.h"

#define NOW CONFIG_NOW
#define LATER CONFIG_LATER
#define GUARD CONFIG_GUARD
#define RELOAD true
#define RESTART false
#define config_machine_NONE NULL
#define EG_TEXT(constant, text) text,

static const struct config_key keys[CONFIG_KEY_COUNT] = {
#define X(field, name, type, dflt, machine, lo, hi, names, unit, when, force, help) \
	{ name, #field, CONFIG_##type, dflt, config_machine_##machine, lo, hi, \
	  (const char *const[]){ names(EG_TEXT) NULL }, unit, help, when, force, offsetof(struct config, field) },
#include "common/config.def"
#undef X
};

const struct config_key *config_key(size_t index)
{
	EG_ASSERT(index < CONFIG_KEY_COUNT);
	return &keys[index];
}

size_t config_find(const char *name)
{
	size_t i = 0;

	while (i < CONFIG_KEY_COUNT && strcmp(keys[i].name, name) != 0)
		i++;
	return i;
}

void *config_field(struct config *cfg, size_t index)
{
	return (char *)cfg + config_key(index)->offset;
}

const void *config_field_of(const struct config *cfg, size_t index)
{
	return (const char *)cfg + config_key(index)->offset;
}

size_t config_section_len(const struct config_key *k)
{
	return (size_t)(strrchr(k->name, '.') - k->name);
}

const char *config_key_part(const struct config_key *k)
{
	return strrchr(k->name, '.') + 1;
}

static bool in_section(const struct config_key *k, const char *section)
{
	size_t n = config_section_len(k);

	return strlen(section) == n && memcmp(k->name, section, n) == 0;
}

bool config_section_known(const char *section)
{
	for (size_t i = 0; i < CONFIG_KEY_COUNT; i++)
		if (in_section(&keys[i], section))
			return true;
	return false;
}

/* ---- near names */

#define NAME_MAX_BYTES 64

static unsigned distance(const char *a, const char *b)
{
	return nearest_distance(a, strlen(a), b, strlen(b));
}

const char *config_nearest_key(const char *section, const char *key)
{
	const char *nearest = "";
	unsigned least = ~0u;

	for (size_t i = 0; i < CONFIG_KEY_COUNT; i++) {
		unsigned d = in_section(&keys[i], section) ? distance(key, config_key_part(&keys[i])) : ~0u;
		if (d < least) {
			least = d;
			nearest = config_key_part(&keys[i]);
		}
	}
	return nearest;
}

const char *config_nearest_section(const char *section, char *out, size_t size)
{
	unsigned least = ~0u;

	EG_ASSERT(size > NAME_MAX_BYTES);
	for (size_t i = 0; i < CONFIG_KEY_COUNT; i++) {
		char name[NAME_MAX_BYTES + 1] = "";
		memcpy(name, keys[i].name, config_section_len(&keys[i]));
		unsigned d = distance(section, name);
		if (d < least) {
			least = d;
			strcpy(out, name);
		}
	}
	return out;
}

const struct config_key *config_key_elsewhere(const char *key)
{
	for (size_t i = 0; i < CONFIG_KEY_COUNT; i++)
		if (strcmp(config_key_part(&keys[i]), key) == 0)
			return &keys[i];
	return NULL;
}

/* ---- what may be written */

static void range_names(const struct config_key *k, char *out, size_t size)
{
	size_t used = 0;

	for (size_t i = 0; k->names[i] && used < size; i++)
		used += (size_t)snprintf(out + used, size - used, "%s\"%s\"", i ? " | " : "", k->names[i]);
}

const char *config_range(const struct config_key *k)
{
	static _Thread_local char out[256];
	const char *gap = k->unit[0] ? " " : "";

	switch (k->type) {
	case CONFIG_BOOL:
		return "true | false";
	case CONFIG_ENUM:
		range_names(k, out, sizeof out);
		break;
	case CONFIG_STRING:
		snprintf(out, sizeof out, "a string of %.15g to %.15g bytes", k->lo, k->hi);
		break;
	case CONFIG_STRINGS:
		snprintf(out, sizeof out, "%.15g to %.15g strings", k->lo, k->hi);
		break;
	case CONFIG_INTS:
		snprintf(out, sizeof out, "a list of %.15g..%.15g%s%s", k->lo, k->hi, gap, k->unit);
		break;
	case CONFIG_TIERS:
		snprintf(out, sizeof out, "{ hot, warm, cold } of %.15g..%.15g", k->lo, k->hi);
		break;
	case CONFIG_INT:
	case CONFIG_FLOAT:
		snprintf(out, sizeof out, "%.15g..%.15g%s%s", k->lo, k->hi, gap, k->unit);
		break;
	}
	return out;
}
