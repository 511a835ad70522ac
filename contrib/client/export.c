/* `engram export`: every memory of a space as a line that import reads.
 *
 * It turns over the pages of the list, so a memory that is stored or deleted
 * meanwhile may be missing or come twice (import does not store it twice). What
 * the server computes (tier, access, versions) is left out: it would be refused
 * as input. Embeddings are kept when clients gave them; those that the server
 * made are left out, because to import them would make them the client's.
 */
#include <stdio.h>
#include <string.h>

#include "contrib/client/http.h"
#include "contrib/client/print.h"

#define PAGE 500

static const char *const kept[] = { "id", "content", "embedding", "confidence_reasoning", "tags", "memory_type",
                                    "session", "metadata", "expires_at", "pinned" };

static json_t *line_of(const json_t *memory)
{
	json_t *line = json_object(), *value;
	const char *when = text_of(memory, "observed_at", text_of(memory, "timestamp", NULL));

	for (size_t i = 0; i < sizeof kept / sizeof *kept; i++) {
		value = json_object_get(memory, kept[i]);
		if (value && !json_is_null(value))
			json_object_set(line, kept[i], value);
	}
	value = json_object_get(memory, "confidence");
	if (json_is_object(value))
		value = json_object_get(value, "value");
	if (json_is_number(value))
		json_object_set(line, "confidence", value);
	if (when)
		json_object_set_new(line, "timestamp", json_string(when));
	return line;
}

/* A successful GET as JSON; also with --json nothing of it is printed. */
static int fetch(struct client *c, const char *path, json_t **json)
{
	struct reply r;
	int status;

	reply_init(&r);
	*json = NULL;
	status = http_expect(c, "GET", path, NULL, &r);
	if (status == EX_OK && !(*json = http_parse(&r)))
		status = EX_PROTOCOL;
	reply_free(&r);
	return status;
}

/* Do the space's embeddings come from clients? */
static int ask_source(struct client *c, bool *client)
{
	json_t *about = NULL, *stats = NULL;
	const char *space = c->space;
	struct buf path;
	int status = EX_OK;

	if (!space) {
		status = fetch(c, "/api/v1/system/introspect", &about);
		space = text_of(json_object_get(about, "config"), "memory_spaces.default_space", "default");
	}
	http_path(&path, "/api/v1/spaces");
	http_path_part(&path, space);
	buf_puts(&path, "/stats");
	if (status == EX_OK)
		status = fetch(c, path.data, &stats);
	*client = !strcmp(text_of(stats, "vector_source", ""), "client");
	buf_free(&path);
	json_decref(stats);
	json_decref(about);
	return status;
}

/* One page; *n becomes how many memories it had. */
static int page(struct client *c, bool embeddings, size_t offset, size_t *n)
{
	char number[32];
	struct buf path;
	json_t *json, *memories;
	int status;

	http_path(&path, "/api/v1/memories?tier=all");
	http_query(&path, "include_embeddings", embeddings ? "true" : "false");
	snprintf(number, sizeof number, "%d", PAGE);
	http_query(&path, "limit", number);
	snprintf(number, sizeof number, "%zu", offset);
	http_query(&path, "offset", number);
	status = fetch(c, path.data, &json);
	memories = json_object_get(json, "memories");
	*n = json_array_size(memories);
	for (size_t i = 0; i < *n; i++) {
		json_t *line = line_of(json_array_get(memories, i));

		json_dumpf(line, stdout, JSON_COMPACT | JSON_REAL_PRECISION(9));
		putchar('\n');
		json_decref(line);
	}
	json_decref(json);
	buf_free(&path);
	return status;
}

int client_export(struct client *c)
{
	size_t n = PAGE, offset = 0;
	bool embeddings;
	int status = ask_source(c, &embeddings);

	while (status == EX_OK && n == PAGE && !ferror(stdout)) {
		status = page(c, embeddings, offset, &n);
		offset += n;
	}
	return status;
}
