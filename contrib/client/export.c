/* `engram export`: every memory of a space as a line that import reads.
 *
 * It turns over the pages of the list, so a memory that is stored or deleted
 * meanwhile may be missing or come twice (import does not store it twice). What
 * the server computes (tier, access, versions) is left out: it would be refused
 * as input.
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

/* One page; *n becomes how many memories it had. */
static int page(struct client *c, size_t offset, size_t *n)
{
	char number[32];
	struct reply r;
	struct buf path;
	json_t *json = NULL, *memories;
	int status;

	http_path(&path, "/api/v1/memories?tier=all&include_embeddings=true");
	snprintf(number, sizeof number, "%d", PAGE);
	http_query(&path, "limit", number);
	snprintf(number, sizeof number, "%zu", offset);
	http_query(&path, "offset", number);
	reply_init(&r);
	status = http_expect(c, "GET", path.data, NULL, &r);
	if (status == EX_OK && !(json = http_parse(&r)))
		status = EX_PROTOCOL;
	memories = json_object_get(json, "memories");
	*n = json_array_size(memories);
	for (size_t i = 0; i < *n; i++) {
		json_t *line = line_of(json_array_get(memories, i));

		json_dumpf(line, stdout, JSON_COMPACT | JSON_REAL_PRECISION(9));
		putchar('\n');
		json_decref(line);
	}
	json_decref(json);
	reply_free(&r);
	buf_free(&path);
	return status;
}

int client_export(struct client *c)
{
	size_t n = 0, offset = 0;
	int status;

	do {
		status = page(c, offset, &n);
		offset += n;
	} while (status == EX_OK && n == PAGE && !ferror(stdout));
	return status;
}
