/* `engram recover DIR`: what a damaged data directory would lose, and, when that is
 * accepted, a directory from which a server starts again. Offline, see wal/mend.h.
 */
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "contrib/client/client.h"
#include "contrib/client/print.h"
#include "wal/mend.h"

static void print_plan(const struct mend *m, bool accept)
{
	char count[32];

	for (unsigned i = 0; i < m->found.n_troubles; i++) {
		const struct check_trouble *t = &m->found.troubles[i];

		printf("%s: offset %llu: ", m->found.files[t->file].name, (unsigned long long)t->offset);
		print_line(t->what, 0);
		putchar('\n');
	}
	for (unsigned i = 0; i < m->n_lost; i++)
		printf("lost: LSN %llu to %llu\n", (unsigned long long)m->lost[i].first, (unsigned long long)m->lost[i].last);
	for (unsigned i = 0; i < m->n_ids; i++) {
		printf("damaged: LSN %llu, perhaps of memory ", (unsigned long long)m->ids[i].lsn);
		print_line(m->ids[i].id, 0);
		putchar('\n');
	}
	printf("%s records %s lost", print_count((double)m->lost_records, count), accept ? "are" : "would be");
	printf(", %s in damaged groups %s saved", print_count((double)m->saved, count), accept ? "were" : "would be");
	printf("; %u files %s\n", m->moved, accept ? "were replaced or moved" : "would be replaced or moved");
	if (accept)
		printf("what was damaged is in %s; the server starts on the rest\n", m->quarantine);
	else
		printf("nothing was changed; --accept-loss does it\n");
}

static json_t *ranges_json(const struct mend *m)
{
	json_t *all = json_array();

	for (unsigned i = 0; i < m->n_lost; i++)
		json_array_append_new(all, json_pack("{s:I, s:I}", "first_lsn", (json_int_t)m->lost[i].first, "last_lsn",
		                                     (json_int_t)m->lost[i].last));
	return all;
}

static json_t *ids_json(const struct mend *m)
{
	json_t *all = json_array();

	for (unsigned i = 0; i < m->n_ids; i++)
		json_array_append_new(all, json_pack("{s:I, s:o}", "lsn", (json_int_t)m->ids[i].lsn, "id",
		                                     json_stringn_nocheck(m->ids[i].id, strlen(m->ids[i].id))));
	return all;
}

static void print_plan_json(const struct mend *m, bool accept)
{
	json_t *all = json_pack("{s:b, s:b, s:I, s:I, s:I, s:o, s:o, s:i, s:s}", "damaged", check_damaged(&m->found),
	                        "accepted", accept && check_damaged(&m->found), "lost_records",
	                        (json_int_t)m->lost_records, "saved_records", (json_int_t)m->saved, "lost_rows",
	                        (json_int_t)m->rows, "lost", ranges_json(m), "perhaps", ids_json(m), "files", (int)m->moved,
	                        "quarantine", m->quarantine);

	print_json(all);
	json_decref(all);
}

static int report(const struct client *c, const struct mend *m, bool accept)
{
	bool damaged = check_damaged(&m->found);

	if (c->json)
		print_plan_json(m, accept);
	else if (!damaged)
		printf("clean: there is nothing to recover\n");
	else
		print_plan(m, accept);
	return damaged && !accept ? EX_DATAERR : EX_OK;
}

int client_recover(struct client *c)
{
	bool accept = c->given[OPT_ACCEPT_LOSS];
	struct mend m = { 0 };
	struct fault f;
	int lock_fd, status;
	enum err e = check_lock(c->operand[0], &lock_fd, &f);

	if (e != EG_E_OK)
		return client_fail(e == EG_E_NOT_FOUND ? EX_NOINPUT : e == EG_E_CONFLICT ? EX_TEMPFAIL : EX_IOERR, "%s", f.message);
	e = mend_run(&m, c->operand[0], accept, &f);
	close(lock_fd);
	status = e == EG_E_OK ? report(c, &m, accept)
	                      : client_fail(e == EG_E_VALIDATION || e == EG_E_LATER ? EX_DATAERR : EX_IOERR, "%s", f.message);
	mend_free(&m);
	return status;
}
