/* `engram status`: one screen about a server, for the person who runs it.
 *
 * Put together from /health, /api/v1/system/introspect, /api/v1/spaces and
 * /metrics. What the server does not tell is not shown; nothing is guessed.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "contrib/client/http.h"
#include "contrib/client/print.h"

#define SPACES_SHOWN 10
#define NODES_MAX 1024                         /* above: the process belongs to none */

/* The sum over all series of a metric; false: the server has none. */
static bool metric(const char *page, const char *name, double *sum)
{
	size_t len = strlen(name);
	bool found = false;

	*sum = 0;
	for (const char *line = page; line; line = strchr(line, '\n')) {
		const char *at;

		line += *line == '\n';
		if (strncmp(line, name, len) || (line[len] != ' ' && line[len] != '{'))
			continue;
		at = line + len;
		/* label values are quoted and may hold blanks and braces */
		for (bool quoted = false; *at && *at != '\n' && (quoted || *at != ' '); at++)
			if (*at == '\\' && at[1])
				at++;
			else if (*at == '"')
				quoted = !quoted;
		*sum += strtod(at, NULL);
		found = true;
	}
	return found;
}

static void print_health(const struct client *c, const json_t *health, const json_t *about)
{
	char head[512];

	snprintf(head, sizeof head, "engram %s at %s: %s",
	         text_of(about, "version", text_of(health, "version", "(version unknown)")), c->url,
	         text_of(health, "status", "unknown"));
	print_head(head);
}

static void print_row(const char *name, const json_t *value)
{
	if (!value || json_is_null(value))
		return;
	printf("  %-12s", name);
	print_value(value);
	putchar('\n');
}

static void print_processes(const json_t *about)
{
	size_t i;
	json_t *p;

	json_array_foreach(json_object_get(about, "processes"), i, p) {
		json_t *node = json_object_get(p, "node");

		printf("  %-12s%s %.0f, %s, restarts %.0f", i ? "" : "processes", text_of(p, "kind", "?"),
		       number_of(p, "pid", 0), text_of(p, "state", "?"), number_of(p, "restarts", 0));
		if (json_is_number(node) && json_number_value(node) < NODES_MAX)
			printf(", node %.0f", json_number_value(node));
		putchar('\n');
	}
}

static void print_counts(const json_t *about, const json_t *spaces)
{
	const json_t *counts = json_object_get(about, "counts"), *list = json_object_get(spaces, "spaces");
	size_t n = json_array_size(list);
	char count[32];

	if (counts) {
		printf("  %-12s%s", "memories", print_count(number_of(counts, "total", 0), count));
		printf(" (hot %s", print_count(number_of(counts, "hot", 0), count));
		printf(", warm %s", print_count(number_of(counts, "warm", 0), count));
		printf(", cold %s)\n", print_count(number_of(counts, "cold", 0), count));
	}
	if (!list)
		return;
	printf("  %-12s%zu", "spaces", n);
	for (size_t i = 0; i < n && i < SPACES_SHOWN; i++) {
		fputs(i ? ", " : ": ", stdout);
		print_line(text_of(json_array_get(list, i), "id", "?"), 0);
	}
	puts(n > SPACES_SHOWN ? ", ..." : "");
}

/* A setting's value in `config`, whether that is flat ("wal.sync_mode") or nested. */
static const json_t *setting(const json_t *about, const char *section, const char *key)
{
	const json_t *config = json_object_get(about, "config"), *value;
	char flat[96];

	snprintf(flat, sizeof flat, "%s.%s", section, key);
	value = json_object_get(config, flat);
	return value ? value : json_object_get(json_object_get(config, section), key);
}

/* The last backup, and what went wrong with a later one. */
static void print_backup(const json_t *backup)
{
	const char *name = text_of(backup, "name", NULL), *error = text_of(backup, "error", NULL);
	char lsn[32];

	if (name)
		printf("  %-12s%s of %s, up to LSN %s%s\n", "backup", name, text_of(backup, "created_at", "?"),
		       print_count(number_of(backup, "lsn", 0), lsn),
		       json_is_true(json_object_get(backup, "running")) ? "; another one is being made" : "");
	if (error)
		printf("  %-12sthe last backup was not made: %s\n", "warning", error);
}

static void print_machine(const json_t *about)
{
	const json_t *wal = json_object_get(about, "wal"), *mode = setting(about, "wal", "sync_mode");

	if (wal) {
		printf("  %-12s", "log");
		print_value(wal);
		if (json_is_string(mode))
			printf(", sync mode %s", json_string_value(mode));
		putchar('\n');
	}
	print_row("memory", json_object_get(about, "memory"));
	print_row("NUMA", json_object_get(about, "numa"));
	print_row("vectors", json_object_get(about, "vector_kernel"));
	print_row("graphs", json_object_get(about, "graphs"));
	print_row("embedder", json_object_get(about, "embedder"));
	print_backup(json_object_get(about, "backup"));
	print_row("data", setting(about, "server", "data_dir"));
}

static void print_metrics(const char *page)
{
	static const struct { const char *name, *label; double unit; const char *unit_name; } shown[] = {
		{ "engram_store_operations_total", "stores", 1, "" },
		{ "engram_recall_operations_total", "recalls", 1, "" },
		{ "engram_operation_errors_total", "errors", 1, "" },
		{ "engram_memory_bytes", "resident", 1048576, " MiB" },
		{ "engram_data_bytes", "live data", 1048576, " MiB" },
		{ "engram_wal_unsynced_seconds", "unsynced", 1, " s" },
	};
	const char *between = "";
	char count[32];
	double sum;

	printf("  %-12s", "so far");
	for (size_t i = 0; i < sizeof shown / sizeof *shown; i++)
		if (metric(page, shown[i].name, &sum)) {
			printf("%s%s %s%s", between, shown[i].label, print_count(sum / shown[i].unit, count),
			       shown[i].unit_name);
			between = ", ";
		}
	puts(*between ? "" : "no metrics");
}

static void print_each(const json_t *list)
{
	size_t i;
	json_t *item;

	json_array_foreach((json_t *)(uintptr_t)list, i, item) {
		fputs("  warning     ", stdout);
		print_value(item);
		putchar('\n');
	}
}

static void print_warnings(const json_t *health, const json_t *about)
{
	const json_t *testing = json_object_get(about, "testing");
	double offset = number_of(testing, "clock_offset_seconds", 0);

	print_each(json_object_get(health, "reasons"));
	print_each(json_object_get(health, "warnings"));
	print_each(json_object_get(about, "warnings"));
	print_each(json_object_get(about, "fallbacks"));
	if (offset != 0)
		printf("  warning     the clock is moved by %.0f s ([testing] clock_offset_seconds)\n", offset);
}

/* An answer that may also be an error or no JSON: then NULL. A server that is
 * not healthy says so with 503, so the status does not count here. */
static int ask(struct client *c, const char *path, struct reply *r, json_t **json)
{
	int status;

	reply_init(r);
	*json = NULL;
	status = http_call(c, "GET", path, NULL, r);
	if (status == EX_OK && r->body.data)
		*json = json_loadb(r->body.data, r->body.len, 0, NULL);
	return status;
}

static void print_all(struct client *c, const json_t *health, const json_t *about, const json_t *spaces,
                      const char *metrics)
{
	if (c->json) {
		json_t *all = json_pack("{s:O?, s:O?, s:O?}", "health", health, "introspect", about, "spaces",
		                        json_object_get(spaces, "spaces"));

		print_json(all);
		json_decref(all);
		return;
	}
	print_health(c, health, about);
	print_processes(about);
	print_counts(about, spaces);
	print_machine(about);
	print_metrics(metrics);
	print_warnings(health, about);
}

int client_status(struct client *c)
{
	static const char *const paths[] = { "/health", "/api/v1/system/introspect", "/api/v1/spaces", "/metrics" };
	struct reply reply[4];
	json_t *json[4];
	int status = EX_OK;
	size_t n = 0;

	while (n < 4 && status == EX_OK) {
		status = ask(c, paths[n], &reply[n], &json[n]);
		n++;
	}
	if (status == EX_OK && reply[1].status != 200)
		status = http_report(c, &reply[1]);
	else if (status == EX_OK)
		print_all(c, json[0], json[1], json[2], reply[3].status == 200 ? reply[3].body.data : "");
	if (status == EX_OK && reply[0].status != 200)
		status = http_exit_status(reply[0].status);
	while (n--) {
		json_decref(json[n]);
		reply_free(&reply[n]);
	}
	return status;
}
