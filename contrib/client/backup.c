/* `engram backup` has the server make a backup; `engram restore` makes a data directory
 * of one, offline (wal/restore.h). */
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "contrib/client/http.h"
#include "contrib/client/print.h"
#include "wal/restore.h"

enum { POLL_SECONDS = 1 };

static void print_made(const json_t *made)
{
	char bytes[32], copied[32], lsn[32];

	printf("%s: all up to LSN %s; %.0f files, %s bytes, %s written in %.2f s, %.0f files shared with its base\n",
	       text_of(made, "name", "?"), print_count(number_of(made, "lsn", 0), lsn), number_of(made, "files", 0),
	       print_count(number_of(made, "bytes", 0), bytes), print_count(number_of(made, "copied_bytes", 0), copied),
	       number_of(made, "seconds", 0), number_of(made, "linked_files", 0));
}

/* The server goes on with it beyond one request: ask until it has ended. */
static int await_end(struct client *c, json_t **made)
{
	do {
		struct reply r;
		json_t *about;
		int status;

		sleep(POLL_SECONDS);
		reply_init(&r);
		status = http_expect(c, "GET", "/api/v1/system/introspect", NULL, &r);
		about = status == EX_OK ? http_parse(&r) : NULL;
		reply_free(&r);
		if (!about)
			return status == EX_OK ? EX_PROTOCOL : status;
		json_decref(*made);
		*made = json_incref(json_object_get(about, "backup"));
		json_decref(about);
	} while (json_is_true(json_object_get(*made, "running")));
	return EX_OK;
}

int client_backup(struct client *c)
{
	json_t *body = json_object(), *made;
	struct reply r;
	int status;

	if (c->operands > 0)
		json_object_set_new(body, "to", json_string(c->operand[0]));
	if (c->given[OPT_BASE])
		json_object_set_new(body, "base", json_string(c->text[OPT_BASE]));
	reply_init(&r);
	status = http_expect(c, "POST", "/api/v1/admin/backup", body, &r);
	json_decref(body);
	made = status == EX_OK ? http_parse(&r) : NULL;
	reply_free(&r);
	if (!made)
		return status == EX_OK ? EX_PROTOCOL : status;
	if (json_is_true(json_object_get(made, "running")))
		status = await_end(c, &made);
	if (status == EX_OK && json_is_string(json_object_get(made, "error")))
		status = client_fail(EX_UNAVAILABLE, "%s", text_of(made, "error", ""));
	if (status == EX_OK && c->json)
		print_json(made);
	else if (status == EX_OK)
		print_made(made);
	json_decref(made);
	return status;
}

int client_restore(struct client *c)
{
	static const struct { enum err err; int status; } map[] = {
		{ EG_E_NOT_FOUND, EX_NOINPUT }, { EG_E_CONFLICT, EX_CANTCREAT }, { EG_E_VALIDATION, EX_DATAERR },
	};
	struct restored r;
	struct fault f;
	char bytes[32], lsn[32];
	enum err e = restore_run(c->operand[0], c->operand[1], &r, &f);

	for (size_t i = 0; e != EG_E_OK && i < sizeof map / sizeof *map; i++)
		if (map[i].err == e)
			return client_fail(map[i].status, "%s", f.message);
	if (e != EG_E_OK)
		return client_fail(EX_IOERR, "%s", f.message);
	if (c->json) {
		json_t *all = json_pack("{s:I, s:I, s:i, s:i}", "lsn", (json_int_t)r.lsn, "bytes", (json_int_t)r.bytes, "files",
		                        (int)r.files, "timeline", (int)r.timeline);

		print_json(all);
		json_decref(all);
	} else {
		printf("%s: all up to LSN %s, %u files, %s bytes; timeline %u\n", c->operand[1],
		       print_count((double)r.lsn, lsn), r.files, print_count((double)r.bytes, bytes), r.timeline);
	}
	return EX_OK;
}
