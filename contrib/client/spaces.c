/* Memory spaces: list, make, delete. */
#include <stdio.h>
#include <string.h>

#include "contrib/client/http.h"
#include "contrib/client/print.h"

static void print_spaces(const json_t *reply)
{
	const json_t *spaces = json_object_get(reply, "spaces");
	size_t i;
	json_t *space;

	json_array_foreach((json_t *)(uintptr_t)spaces, i, space) {
		const char *name, *between = "  ";
		json_t *value;

		print_line(text_of(space, "id", "?"), 0);
		json_object_foreach(space, name, value) {
			if (!strcmp(name, "id") || json_is_null(value))
				continue;
			printf("%s%s ", between, name);
			print_value(value);
			between = ", ";
		}
		putchar('\n');
	}
}

int client_spaces(struct client *c)
{
	json_t *reply = NULL;
	int status = http_ask(c, "GET", "/api/v1/spaces", NULL, &reply);

	if (status == EX_OK && reply)
		print_spaces(reply);
	json_decref(reply);
	return status;
}

int client_spaces_create(struct client *c)
{
	json_t *body = json_object(), *reply = NULL;
	int status;

	json_object_set_new(body, "id", json_string(c->operand[0]));
	if (c->given[OPT_DIMENSION])
		json_object_set_new(body, "dimension", json_integer((json_int_t)option_number(c, OPT_DIMENSION, 0)));
	status = http_ask(c, "POST", "/api/v1/spaces", body, &reply);
	if (status == EX_OK && reply)
		printf("made %s\n", text_of(reply, "id", c->operand[0]));
	json_decref(reply);
	json_decref(body);
	return status;
}

int client_spaces_delete(struct client *c)
{
	json_t *reply = NULL;
	struct buf path;
	int status;

	http_path(&path, "/api/v1/spaces");
	http_path_part(&path, c->operand[0]);
	status = http_ask(c, "DELETE", path.data, NULL, &reply);
	if (status == EX_OK && reply)
		printf("deleted %s\n", c->operand[0]);
	json_decref(reply);
	buf_free(&path);
	return status;
}
