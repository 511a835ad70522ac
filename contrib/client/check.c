/* `engram check DIR`: is every byte of a data directory what it must be?
 *
 * Offline: it holds LOCK meanwhile, so that no server changes what is read. All of
 * it is done by wal/check.h; here it becomes a table or one JSON object.
 */
#include <jansson.h>
#include <stdio.h>
#include <unistd.h>

#include "contrib/client/client.h"
#include "contrib/client/print.h"
#include "wal/check.h"

static const char *const level_names[] = {
	[CHECK_NOTE] = "note", [CHECK_WRONG] = "wrong", [CHECK_LOST] = "lost",
};

static const char *state_of(const struct check_file *file) { return file->wrong > 0 ? "DAMAGED" : "ok"; }

static void print_files(const struct check *c)
{
	char count[32];

	printf("%-32s %-10s %14s %8s %10s  %-28s %s\n", "file", "kind", "bytes", "groups", "records", "LSN", "state");
	for (unsigned i = 0; i < c->n_files; i++) {
		const struct check_file *file = &c->files[i];
		char range[64] = "-";

		if (file->first_lsn > 0)
			snprintf(range, sizeof range, "%llu to %llu", (unsigned long long)file->first_lsn,
			         (unsigned long long)file->last_lsn);
		printf("%-32s %-10s %14s", file->name, check_kind_names[file->kind], print_count((double)file->bytes, count));
		printf(" %8llu %10llu  %-28s %s\n", (unsigned long long)file->groups, (unsigned long long)file->records,
		       range, state_of(file));
	}
}

static void range_text(const struct check_trouble *t, char out[80])
{
	out[0] = 0;
	if (t->first_lsn != 0 && t->last_lsn == UINT64_MAX)
		snprintf(out, 80, ", LSN %llu and later", (unsigned long long)t->first_lsn);
	else if (t->first_lsn != 0)
		snprintf(out, 80, ", LSN %llu to %llu", (unsigned long long)t->first_lsn, (unsigned long long)t->last_lsn);
}

static void print_troubles(const struct check *c)
{
	for (unsigned i = 0; i < c->n_troubles; i++) {
		const struct check_trouble *t = &c->troubles[i];
		char range[80];

		range_text(t, range);
		printf("%s: %s: offset %llu%s: ", level_names[t->level], c->files[t->file].name,
		       (unsigned long long)t->offset, range);
		print_line(t->what, 0);
		putchar('\n');
	}
}

static void print_sum(const struct check *c)
{
	char bytes[32], records[32], lsn[32];

	printf("%s: %u files, %s bytes, %s records up to LSN %s; %llu wrong, %llu lost\n",
	       check_damaged(c) ? "DAMAGED" : "clean", c->n_files, print_count((double)c->bytes, bytes),
	       print_count((double)c->records, records), print_count((double)c->last_lsn, lsn),
	       (unsigned long long)c->counted[CHECK_WRONG], (unsigned long long)c->counted[CHECK_LOST]);
}

static json_t *file_json(const struct check_file *file)
{
	return json_pack("{s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:b}", "file", file->name, "kind",
	                 check_kind_names[file->kind], "bytes", (json_int_t)file->bytes, "groups",
	                 (json_int_t)file->groups, "records", (json_int_t)file->records, "first_lsn",
	                 (json_int_t)file->first_lsn, "last_lsn", (json_int_t)file->last_lsn, "damaged", file->wrong > 0);
}

static json_t *trouble_json(const struct check *c, const struct check_trouble *t)
{
	json_t *o = json_pack("{s:s, s:s, s:I, s:s}", "level", level_names[t->level], "file", c->files[t->file].name,
	                      "offset", (json_int_t)t->offset, "message", t->what);

	if (t->first_lsn != 0)
		json_object_set_new(o, "first_lsn", json_integer((json_int_t)t->first_lsn));
	if (t->first_lsn != 0 && t->last_lsn != UINT64_MAX)
		json_object_set_new(o, "last_lsn", json_integer((json_int_t)t->last_lsn));
	return o;
}

static void print_as_json(const struct check *c)
{
	json_t *files = json_array(), *troubles = json_array(), *all;

	for (unsigned i = 0; i < c->n_files; i++)
		json_array_append_new(files, file_json(&c->files[i]));
	for (unsigned i = 0; i < c->n_troubles; i++)
		json_array_append_new(troubles, trouble_json(c, &c->troubles[i]));
	all = json_pack("{s:b, s:I, s:I, s:I, s:I, s:I, s:o, s:o}", "damaged", check_damaged(c), "wrong",
	                (json_int_t)c->counted[CHECK_WRONG], "lost", (json_int_t)c->counted[CHECK_LOST], "bytes",
	                (json_int_t)c->bytes, "records", (json_int_t)c->records, "last_lsn", (json_int_t)c->last_lsn,
	                "files", files, "troubles", troubles);
	print_json(all);
	json_decref(all);
}

/* The exit status for a directory that cannot be looked at. */
static int check_status(enum err e)
{
	return e == EG_E_NOT_FOUND ? EX_NOINPUT : e == EG_E_CONFLICT ? EX_TEMPFAIL
	       : e == EG_E_VALIDATION ? EX_DATAERR : EX_IOERR;
}

int client_check(struct client *c)
{
	struct check check = { 0 };
	struct fault f;
	int lock_fd;
	enum err e = check_lock(c->operand[0], &lock_fd, &f);
	bool damaged;

	if (e != EG_E_OK)
		return client_fail(check_status(e), "%s", f.message);
	e = check_run(&check, c->operand[0], &f);
	close(lock_fd);
	if (e != EG_E_OK)
		return client_fail(check_status(e), "%s", f.message);
	damaged = check_damaged(&check);
	if (c->json) {
		print_as_json(&check);
	} else {
		print_files(&check);
		print_troubles(&check);
		print_sum(&check);
	}
	check_free(&check);
	return damaged ? EX_DATAERR : EX_OK;
}
