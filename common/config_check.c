/* What one key alone cannot tell: combinations, and what is worth a note. */
#include "common/config_parts.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#define SAY(index, severity, ...) config_say_of(l, severity, CONFIG_KEY_##index, __VA_ARGS__)

static bool is_set(const struct config_loader *l, size_t index)
{
	return l->cfg->origin[index].source >= CONFIG_FILE;
}

/* ---- addresses */

/* Without brackets a host holds none of what separates; within them it is an
 * IPv6 address. */
static bool is_host(const char *host, bool bracketed)
{
	struct in6_addr v6;

	if (bracketed)
		return inet_pton(AF_INET6, host, &v6) == 1;
	return *host && host[strcspn(host, " []/:\t")] == '\0';
}

enum err config_address(const char *text, char *host, int *port)
{
	const char *colon = strrchr(text, ':');
	bool bracketed = *text == '[';
	size_t n;
	char *rest;
	long number;

	if (!colon || !isdigit((unsigned char)colon[1]))
		return EG_E_INPUT;
	number = strtol(colon + 1, &rest, 10);
	n = (size_t)(colon - text);
	if (*rest || number > 65535 || n > 255 || (bracketed && (n < 3 || colon[-1] != ']')))
		return EG_E_INPUT;
	n -= bracketed ? 2 : 0;
	memcpy(host, text + bracketed, n);
	host[n] = '\0';
	if (!is_host(host, bracketed))
		return EG_E_INPUT;
	*port = (int)number;
	return EG_E_OK;
}

static bool is_loopback(const char *host)
{
	struct in_addr v4;
	struct in6_addr v6;

	if (inet_pton(AF_INET, host, &v4) == 1)
		return ntohl(v4.s_addr) >> 24 == 127;
	if (inet_pton(AF_INET6, host, &v6) == 1)
		return IN6_IS_ADDR_LOOPBACK(&v6);
	return strcmp(host, "localhost") == 0;
}

/* RELIABILITY: a server that others can reach needs keys and TLS, or the word
 * of its operator. */
static void check_listen(struct config_loader *l)
{
	const struct config *c = l->cfg;
	bool guarded = c->security_auth_mode == CONFIG_AUTH_API_KEY && c->security_tls_certificate[0];

	for (size_t i = 0; i < c->server_listen.n; i++) {
		const char *text = c->server_listen.v[i];
		char host[256];
		int port;
		if (config_address(text, host, &port) != EG_E_OK)
			SAY(server_listen, CONFIG_ERROR, "server.listen: \"%.100s\" is no address; write \"HOST:PORT\", as "
			    "\"127.0.0.1:7432\" or \"[::1]:7432\", with a port of 0..65535 (0: any free one)", text);
		else if (!is_loopback(host) && !guarded && !c->server_insecure_plaintext)
			SAY(server_listen, CONFIG_ERROR, "server.listen: \"%.100s\" can be reached from outside, without keys "
			    "and TLS; listen on 127.0.0.1, or set security.auth_mode and security.tls_certificate, or say "
			    "server.insecure_plaintext = true", text);
		else if (!is_loopback(host) && !guarded)
			SAY(server_listen, CONFIG_WARNING, "server.listen: \"%.100s\" can be reached from outside, without "
			    "keys and TLS", text);
	}
}

/* ---- names */

static bool is_space_id(const char *s)
{
	size_t n = strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789_-");

	return s[n] == '\0' && n >= 1 && n <= 63 && s[0] != '_' && s[0] != '-';
}

static void check_space(struct config_loader *l, size_t index, const char *name)
{
	if (!is_space_id(name))
		config_say_of(l, CONFIG_ERROR, index, "%s: \"%.80s\" is no name of a memory space; write up to 63 of a-z, "
		              "0-9, _ and -, the first a letter or digit", config_key(index)->name, name);
}

static void check_spaces(struct config_loader *l)
{
	const struct config_strings *list = &l->cfg->memory_spaces_bootstrap_spaces;

	check_space(l, CONFIG_KEY_memory_spaces_default_space, l->cfg->memory_spaces_default_space);
	for (size_t i = 0; i < list->n; i++)
		check_space(l, CONFIG_KEY_memory_spaces_bootstrap_spaces, list->v[i]);
}

/* ---- processor and memory nodes */

static void check_activation(struct config_loader *l)
{
	const struct config *c = l->cfg;
	enum config_isa wanted = (enum config_isa)c->activation_avx_version, best = config_machine_isa();

	if (c->activation_simd_enabled && wanted < best)
		SAY(activation_avx_version, CONFIG_WARNING, "activation.avx_version = \"%s\" is not offered by this CPU; "
		    "%s is used", config_isa_name(wanted), config_isa_name(best));
	if (c->activation_simd_batch_size != config_isa_lanes(wanted))
		SAY(activation_simd_batch_size, CONFIG_WARNING, "activation.simd_batch_size = %lld does not match "
		    "activation.avx_version = \"%s\", which handles %d floats at a time; %d is used",
		    (long long)c->activation_simd_batch_size,
		    config_key(CONFIG_KEY_activation_avx_version)->names[wanted], config_isa_lanes(wanted),
		    config_isa_lanes(config_isa(c)));
}

static void check_numa(struct config_loader *l)
{
	const struct config *c = l->cfg;
	size_t nodes = config_machine_nodes();

	if (c->numa_prefer_local_node && c->numa_interleave_memory)
		SAY(numa_interleave_memory, CONFIG_ERROR, "numa.prefer_local_node and numa.interleave_memory exclude each "
		    "other; set one of them to false");
	if (c->numa_socket_memory_mb.n != nodes)
		SAY(numa_socket_memory_mb, CONFIG_WARNING, "numa.socket_memory_mb has %zu entries, but this machine has %zu "
		    "memory node%s", c->numa_socket_memory_mb.n, nodes, nodes == 1 ? "" : "s");
	if (c->numa_numa_aware && nodes == 1)
		SAY(numa_numa_aware, CONFIG_NOTE, "numa.numa_aware: this machine has one memory node, so there is nothing "
		    "to place");
}

/* ---- the rest */

static void check_wal(struct config_loader *l)
{
	if (l->cfg->wal_sync_mode == CONFIG_SYNC_IMMEDIATE && is_set(l, CONFIG_KEY_wal_flush_interval_ms))
		SAY(wal_flush_interval_ms, CONFIG_NOTE, "wal.flush_interval_ms is not used with wal.sync_mode = \"immediate\"");
}

/* Each thread that reads the store has a slot on its process's desk. Workers share
 * the first two pools, but a key that is in force after HUP must hold for any number of them. */
static void check_threads(struct config_loader *l)
{
	const struct config *c = l->cfg;

	if (c->thread_pools_recall_workers + c->thread_pools_store_workers + c->workers_event_threads > EG_CONFIG_THREADS_MAX)
		SAY(thread_pools_recall_workers, CONFIG_ERROR, "thread_pools.recall_workers, thread_pools.store_workers and "
		    "workers.event_threads come to more than %d threads", EG_CONFIG_THREADS_MAX);
	if (c->thread_pools_consolidation_workers + c->thread_pools_background_workers > EG_CONFIG_THREADS_MAX)
		SAY(thread_pools_background_workers, CONFIG_ERROR, "thread_pools.consolidation_workers and "
		    "thread_pools.background_workers come to more than %d threads", EG_CONFIG_THREADS_MAX);
}

static void check_recall(struct config_loader *l)
{
	if (l->cfg->recall_lexical_weight == 0 && l->cfg->recall_vector_weight == 0)
		SAY(recall_vector_weight, CONFIG_ERROR, "recall.lexical_weight and recall.vector_weight are both 0; one must "
		    "be more");
}

static void check_provider(struct config_loader *l)
{
	if (l->cfg->embedding_provider == CONFIG_PROVIDER_HTTP)
		SAY(embedding_provider, CONFIG_ERROR, "embedding.provider = \"http\" is not in force yet; write \"builtin\" "
		    "or \"none\"");
}

static void check_testing(struct config_loader *l)
{
	if (l->cfg->testing_clock_offset_seconds != 0)
		SAY(testing_clock_offset_seconds, CONFIG_WARNING, "testing.clock_offset_seconds = %lld: the calendar of this "
		    "server is wrong on purpose", (long long)l->cfg->testing_clock_offset_seconds);
}

/* A key whose machinery comes later says so; one that guards something is refused. */
static void check_force(struct config_loader *l)
{
	for (size_t i = 0; i < CONFIG_KEY_COUNT; i++) {
		const struct config_key *k = config_key(i);
		char *value;
		if (k->force == CONFIG_NOW || !is_set(l, i))
			continue;
		value = config_value_toml(l->cfg, i);
		if (k->force == CONFIG_GUARD && strcmp(value, k->dflt) != 0)
			config_say_of(l, CONFIG_ERROR, i, "%s is not in force yet, and a server that ignored it would be less "
			              "safe than it looks; leave it out", k->name);
		else
			config_say_of(l, CONFIG_NOTE, i, "%s is not in force yet", k->name);
		free(value);
	}
}

void config_check(struct config_loader *l)
{
	check_listen(l);
	check_spaces(l);
	check_activation(l);
	check_numa(l);
	check_wal(l);
	check_threads(l);
	check_recall(l);
	check_provider(l);
	check_testing(l);
	check_force(l);
}
