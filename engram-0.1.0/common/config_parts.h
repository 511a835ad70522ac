/* What the files of the configuration share; nobody else includes this.
 *
 *   config.c          load: file, overrides, defaults, checks, in this order
 *   config_read.c     lines of a file, over inih
 *   config_syntax.c   the text behind "=" to a value
 *   config_value.c    a value to a field: type, range, names; compare, print, free
 *   config_table.c    the rows of config.def and names near to a name
 *   config_machine.c  defaults that the machine decides
 *   config_check.c    what one key alone cannot tell
 *   config_dump.c     -T and messages
 */
#ifndef COMMON_CONFIG_PARTS_H
#define COMMON_CONFIG_PARTS_H

#include "common/config.h"

struct buf;

/* ---- text to value */

enum toml_kind { TOML_BOOL, TOML_INT, TOML_FLOAT, TOML_STRING, TOML_LIST, TOML_TABLE };

struct toml {
	enum toml_kind kind;
	bool b;
	int64_t i;
	double f;
	char *s;               /* STRING: owned, UTF-8 */
	char *name;            /* entry of a TABLE: owned */
	struct toml *items;    /* LIST, TABLE: n owned entries, none of them LIST or TABLE */
	size_t n;
};

/* Sentence about what is wrong and what to write instead. */
struct config_wrong {
	char text[320];
};

/* Reads one value that fills the whole text. False: *why is filled, *v is empty.
 * On success the caller frees with toml_free. */
bool toml_parse(const char *text, struct toml *v, struct config_wrong *why) EG_MUST_USE;
void toml_free(struct toml *v);
bool config_wrong_set(struct config_wrong *why, const char *fmt, ...) EG_PRINTF(2, 3);   /* returns false */

/* ---- value to field */

/* Checks v against the row and puts it into the field at `field`, which holds a
 * valid or all-zero value before and is unchanged on failure. */
bool config_value_set(const struct config_key *k, const struct toml *v, void *field,
                      struct config_wrong *why) EG_MUST_USE;
bool config_value_equal(const struct config_key *k, const void *a, const void *b);
void config_value_free(const struct config_key *k, void *field);
void config_value_print(const struct config_key *k, const void *field, bool json, struct buf *out);

/* ---- the table */

void *config_field(struct config *cfg, size_t index);
const void *config_field_of(const struct config *cfg, size_t index);
/* Length of the section part of the row's name, and its key part. */
size_t config_section_len(const struct config_key *k);
const char *config_key_part(const struct config_key *k);
bool config_section_known(const char *section);
/* Nearest known names; never NULL. */
const char *config_nearest_key(const char *section, const char *key);
const char *config_nearest_section(const char *section, char *out, size_t size);
/* First row of another section with this very key, or NULL. */
const struct config_key *config_key_elsewhere(const char *key);

/* ---- loading */

struct config_loader {
	struct config *cfg;
	struct config_messages *out;
	const char *file;
	int line;              /* 0: no line to name */
};

/* Adds a message at the loader's place. */
void config_say(struct config_loader *l, enum config_severity severity, const char *fmt, ...) EG_PRINTF(3, 4);
/* The same at the place where the key got its value. */
void config_say_of(struct config_loader *l, enum config_severity severity, size_t index, const char *fmt, ...)
	EG_PRINTF(4, 5);
/* Parses `text` and sets the key; says what is wrong. */
void config_set(struct config_loader *l, size_t index, const char *text, enum config_source source);

/* Reads a whole file, line by line; errors go to l->out. */
void config_read(struct config_loader *l, FILE *in);
/* Says about each known or unknown name what can be said; false when unknown. */
bool config_name_known(struct config_loader *l, const char *section, const char *key, size_t *index);

/* Cross checks and notes, after all keys are set. */
void config_check(struct config_loader *l);

/* ---- the machine */

config_machine_fn config_machine_recall_workers, config_machine_store_workers, config_machine_apply_threads,
	config_machine_hot_tier_shards, config_machine_avx_version, config_machine_simd_batch_size,
	config_machine_numa_aware, config_machine_prefer_local_node, config_machine_socket_memory_mb,
	config_machine_hot_tier_size_mb, config_machine_warm_tier_size_mb, config_machine_use_huge_pages,
	config_machine_mmap_populate;
enum config_isa config_machine_isa(void);              /* the best that this CPU offers */
size_t config_machine_nodes(void);                     /* memory nodes, at least 1 */

#endif
