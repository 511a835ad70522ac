/* Configuration: what the operator wrote, checked, with defaults from the machine.
 *
 * One table (config.def) lists every key; struct config, the reader's checks,
 * -T, introspection, reload and the manual's test all come from it. The syntax
 * is the common ground of TOML and INI (engram.toml(5)).
 *
 * A struct config is immutable after config_load() and belongs to its holder;
 * a reload loads a second one and compares (config_changed). No file but
 * config*.c may write a field, and no process may read a key by its name: the
 * compiler knows the fields.
 */
#ifndef COMMON_CONFIG_H
#define COMMON_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "common/err.h"

#define EG_CONFIG_FILE "/etc/engram/engram.toml"
#define EG_CONFIG_LINE_MAX 16384       /* bytes of a line without its end */
#define EG_CONFIG_LIST_MAX 256         /* entries of a list */
#define EG_CONFIG_THREADS_MAX 1040     /* that read the store, in one process */
#define EG_CONFIG_MESSAGES_MAX 64

/* ---- names of enumerated values: E(constant, "name as written") */
#define CONFIG_NO_NAMES(E)
#define CONFIG_ISA_NAMES(E)         E(ISA_AVX512, "avx512") E(ISA_AVX2, "avx2") E(ISA_SSE4, "sse4") E(ISA_SCALAR, "none")
#define CONFIG_COMPRESSION_NAMES(E) E(COMPRESSION_ZSTD, "zstd") E(COMPRESSION_NONE, "none")
#define CONFIG_PRECISION_NAMES(E)   E(PRECISION_F16, "f16") E(PRECISION_F32, "f32") E(PRECISION_BF16, "bf16")
#define CONFIG_SYNC_NAMES(E)        E(SYNC_IMMEDIATE, "immediate") E(SYNC_BATCH, "batch")
#define CONFIG_PROVIDER_NAMES(E)    E(PROVIDER_BUILTIN, "builtin") E(PROVIDER_HTTP, "http") E(PROVIDER_NONE, "none")
#define CONFIG_PROFILE_NAMES(E)     E(PROFILE_FACTS, "facts") E(PROFILE_DIALOGUE, "dialogue")
#define CONFIG_AUTH_NAMES(E)        E(AUTH_NONE, "none") E(AUTH_API_KEY, "api_key")
#define CONFIG_LEVEL_NAMES(E)       E(LEVEL_ERROR, "error") E(LEVEL_WARN, "warn") E(LEVEL_INFO, "info") E(LEVEL_DEBUG, "debug")
#define CONFIG_FORMAT_NAMES(E)      E(FORMAT_TEXT, "text") E(FORMAT_JSON, "json")
#define CONFIG_GRPC_NAMES(E)        E(GRPC_GZIP, "gzip") E(GRPC_ZSTD, "zstd")

/* Constants, each list counting from 0: CONFIG_SYNC_IMMEDIATE, CONFIG_ISA_AVX2, ... */
#define EG_CONSTANT(name, text) CONFIG_##name,
enum config_isa { CONFIG_ISA_NAMES(EG_CONSTANT) };     /* best first */
enum config_compression { CONFIG_COMPRESSION_NAMES(EG_CONSTANT) };
enum config_precision { CONFIG_PRECISION_NAMES(EG_CONSTANT) };
enum config_sync { CONFIG_SYNC_NAMES(EG_CONSTANT) };
enum config_provider { CONFIG_PROVIDER_NAMES(EG_CONSTANT) };
enum config_profile { CONFIG_PROFILE_NAMES(EG_CONSTANT) };
enum config_auth { CONFIG_AUTH_NAMES(EG_CONSTANT) };
enum config_level { CONFIG_LEVEL_NAMES(EG_CONSTANT) };
enum config_format { CONFIG_FORMAT_NAMES(EG_CONSTANT) };
enum config_grpc { CONFIG_GRPC_NAMES(EG_CONSTANT) };
#undef EG_CONSTANT

/* ---- values */
enum config_type {
	CONFIG_BOOL, CONFIG_INT, CONFIG_FLOAT, CONFIG_STRING, CONFIG_ENUM,
	CONFIG_INTS, CONFIG_STRINGS, CONFIG_TIERS
};

struct config_ints { int64_t *v; size_t n; };
struct config_strings { char **v; size_t n; };
struct config_tiers { int64_t hot, warm, cold; };

/* C type of a field of each type. A STRING is never NULL and UTF-8, an ENUM is
 * one of the constants above. */
#define EG_CTYPE_BOOL bool
#define EG_CTYPE_INT int64_t
#define EG_CTYPE_FLOAT double
#define EG_CTYPE_STRING char *
#define EG_CTYPE_ENUM int
#define EG_CTYPE_INTS struct config_ints
#define EG_CTYPE_STRINGS struct config_strings
#define EG_CTYPE_TIERS struct config_tiers

/* Index of a key: CONFIG_KEY_wal_sync_mode. */
enum config_index {
#define X(field, name, type, ...) CONFIG_KEY_##field,
#include "common/config.def"
#undef X
	CONFIG_KEY_COUNT
};

/* Where a value came from. */
enum config_source { CONFIG_UNSET, CONFIG_DEFAULT, CONFIG_MACHINE, CONFIG_FILE, CONFIG_OVERRIDE };

struct config_origin {
	enum config_source source;
	int line;                      /* of the file, for CONFIG_FILE */
};

/* One field per key, named as the key with dots as underscores:
 * cfg->storage_hot_tier_size_mb. Everything in it belongs to it. */
struct config {
#define X(field, name, type, ...) EG_CTYPE_##type field;
#include "common/config.def"
#undef X
	char *path;                    /* file read, "" if there was none */
	struct config_origin origin[CONFIG_KEY_COUNT];
};

/* ---- what there is to say about a file */
enum config_severity { CONFIG_NOTE, CONFIG_WARNING, CONFIG_ERROR };

struct config_message {
	enum config_severity severity;
	char text[512];                /* "FILE:LINE: what is wrong and what to write instead" */
};

struct config_messages {
	size_t n, errors, dropped;     /* dropped: beyond the bound */
	struct config_message v[EG_CONFIG_MESSAGES_MAX];
};

/* ---- load and free */

/* Reads `path`, or EG_CONFIG_FILE when it is NULL (which may be missing: then
 * defaults, with a note). `overrides` are n texts "section.key=value" (-g), the
 * later one wins; the value may leave out quotes around a plain word.
 * Returns NULL when out->errors > 0; `out` is filled in both cases, warnings and
 * notes included. Never prints, never exits. */
struct config *config_load(const char *path, char *const overrides[], size_t n,
                           struct config_messages *out) EG_MUST_USE;
/* The same from a stream that the caller closes; `name` stands in the messages. */
struct config *config_load_stream(FILE *in, const char *name, char *const overrides[], size_t n,
                                  struct config_messages *out) EG_MUST_USE;
void config_free(struct config *cfg);

/* One line per message on `out`. */
void config_messages_print(const struct config_messages *m, FILE *out);

/* ---- look at any key (introspection, -T, reload, manual) */

enum config_force { CONFIG_NOW, CONFIG_LATER, CONFIG_GUARD };

/* Writes the default of a key, in the file's syntax, from the machine and from
 * the keys that are set already. */
typedef void config_machine_fn(const struct config *cfg, char *text, size_t size);

struct config_key {
	const char *name;              /* "storage.migration.hot_to_warm_accesses" */
	const char *field;
	enum config_type type;
	const char *dflt;              /* file syntax, or words when machine */
	config_machine_fn *machine;    /* NULL: the default is a constant */
	double lo, hi;                 /* see config.def */
	const char *const *names;      /* of an enum, ended by NULL; else empty */
	const char *unit, *help;
	bool reload;                   /* in force after HUP */
	enum config_force force;
	size_t offset;                 /* in struct config */
};

const struct config_key *config_key(size_t index);
/* Index of "section.key", or CONFIG_KEY_COUNT. */
size_t config_find(const char *name);
/* The value as JSON or in the file's syntax; malloc'd, the caller frees. */
char *config_value_json(const struct config *cfg, size_t index);
char *config_value_toml(const struct config *cfg, size_t index);
/* "1..1024 threads", "immediate | batch", ...: what may be written; static for
 * the next call in this thread. */
const char *config_range(const struct config_key *k);

/* -T: every key in force as a loadable file, its origin as a comment. */
void config_dump(const struct config *cfg, FILE *out);

/* Calls `changed` for each key whose value differs, in the table's order;
 * returns how many of them need a restart (k->reload false). `changed` may be NULL. */
typedef void config_changed_fn(const struct config_key *k, size_t index, void *arg);
size_t config_changed(const struct config *old, const struct config *new,
                      config_changed_fn *changed, void *arg);

/* ---- what the values come to on this machine */

/* Instruction set to use: [activation] and what the CPU offers, the lesser. */
enum config_isa config_isa(const struct config *cfg);
const char *config_isa_name(enum config_isa isa);      /* "avx512", "avx2", "sse4", "scalar" */
int config_isa_lanes(enum config_isa isa);             /* floats in a register: 16, 8, 4, 1 */
/* vec_init (common/vec.h) as the configuration says: of each process that compares vectors or makes codes, once,
 * before its threads. What cannot be had is logged. */
void config_choose_kernels(const struct config *cfg);

/* "HOST:PORT", "[V6]:PORT": splits into host (without brackets) and port, 0 = any free one.
 * EG_E_INPUT when it is none. host holds at least 256 bytes. */
enum err config_address(const char *text, char *host, int *port) EG_MUST_USE;

#endif
