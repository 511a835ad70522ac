/* The load: clients as threads, their phases, the listing; see journal.h. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/err.h"
#include "t/sweep/journal_parts.h"
#include "t/sweep/served.h"

/* ---- threads */

static void *client_main(void *arg)
{
	struct journal *j = arg;
	struct load *l = j->load;

	for (;;) {
		uint32_t round = atomic_load(&l->round), phase = atomic_load(&l->phase), us;

		if (phase == LOAD_END)
			return NULL;
		if (phase == LOAD_RUN) {
			journal_act(j);
			us = atomic_load(&l->pause_us);
			if (us > 0)
				served_pause_us(us);
			continue;
		}
		if (atomic_load(&j->done) == round) {
			served_pause_us(300);
			continue;
		}
		if (phase != LOAD_REST)
			journal_check(j, phase == LOAD_CHECK_ALL);
		atomic_store(&j->done, round);
	}
}

static void enter(struct load *l, enum load_phase phase)
{
	atomic_store(&l->phase, phase);
	atomic_fetch_add(&l->round, 1);
	for (unsigned i = 0; i < l->n && phase < LOAD_RUN; i++)
		while (atomic_load(&l->clients[i]->done) != atomic_load(&l->round))
			served_pause_us(200);
}

void load_open(struct load *l, unsigned n, unsigned port, uint64_t seed)
{
	EG_ASSERT(n <= JOURNAL_CLIENTS_MAX);
	memset(l, 0, sizeof *l);
	l->n = n;
	l->port = port;
	l->seed = seed;
	for (unsigned i = 0; i < n; i++) {
		struct journal *j = l->clients[i] = calloc(1, sizeof *j);

		EG_ASSERT(j != NULL);
		j->load = l;
		j->number = i;
		j->random = seed ^ (uint64_t)(i + 1) << 48;
		j->body = malloc(BATCH * MEMORY_MAX);
		j->want = malloc(2 * LARGE);
		EG_ASSERT(j->body != NULL && j->want != NULL);
		client_init(&j->http, port);
		pthread_create(&j->thread, NULL, client_main, j);
	}
}

void load_close(struct load *l)
{
	enter(l, LOAD_END);
	for (unsigned i = 0; i < l->n; i++) {
		struct journal *j = l->clients[i];

		pthread_join(j->thread, NULL);
		client_fini(&j->http);
		free(j->body);
		free(j->want);
		free(j);
	}
}

void load_forget(struct load *l)
{
	enter(l, LOAD_REST);
	for (unsigned i = 0; i < l->n; i++) {
		struct journal *j = l->clients[i];

		j->n_keys = j->n_batches = j->in_space = 0;
		j->space_sure = false;
		j->spaces++;
		client_close(&j->http);
	}
}

void load_down(struct load *l, bool down)
{
	if (down)
		atomic_fetch_add(&l->downs, 1);
	atomic_store(&l->down, down);
}

void load_run(struct load *l) { enter(l, LOAD_RUN); }

void load_check(struct load *l, bool all) { enter(l, all ? LOAD_CHECK_ALL : LOAD_CHECK); }

/* ---- the listing */

static uint64_t mix(uint64_t h, const char *at, size_t n)
{
	while (n-- > 0)
		h = (h ^ (uint8_t)*at++) * UINT64_C(0x100000001b3);
	return h;
}

/* One memory of the listing; ids are c<client>-<key>, e.. come and go. */
static void list_one(struct load *l, const char *id, const char *text, uint64_t *digest, unsigned live[])
{
	unsigned client, key;
	struct journal *j;

	if (*id == 'e')
		return;
	if (sscanf(id, "c%u-%u\"", &client, &key) != 2 || client >= l->n || key >= l->clients[client]->n_keys) {
		printf("# phantom: %.40s\n", id);
		atomic_fetch_add(&l->counts.phantom, 1);
		return;
	}
	j = l->clients[client];
	live[client]++;
	if (j->keys[key].base.gone && j->keys[key].n_open == 0)
		journal_wrong(j, &l->counts.resurrected, "listed", key, "");
	/* By addition: the order of a listing is not promised. */
	*digest += mix(mix(UINT64_C(0xcbf29ce484222325), id, strcspn(id, "\"")), text, strcspn(text, "\""));
}

static bool list_page(struct load *l, struct client *c, unsigned offset, uint64_t *digest, unsigned live[])
{
	const char *at;
	char path[128];

	snprintf(path, sizeof path, "/api/v1/memories?space=work&limit=500&offset=%u", offset);
	if (client_ask(c, "GET", path, NULL) != 200) {
		printf("# the listing cannot be read: %.200s\n", c->in);
		atomic_fetch_add(&l->counts.corrupt, 1);
		return false;
	}
	for (at = c->body; (at = strstr(at, "{\"id\":\"")) != NULL; at++) {
		const char *text = strstr(at, "\"content\":\"");

		if (text != NULL)
			list_one(l, at + 7, text + 11, digest, live);
	}
	return client_number(c, "returned") == 500;
}

/* A page of a listing begins at an offset: what expires between two pages moves it. */
static void await_expiry(struct client *c)
{
	static const char path[] = "/api/v1/memories?space=work&limit=500&offset=";
	bool some = true;

	while (some) {
		char page[128];
		unsigned offset = 0;

		some = false;
		do {
			snprintf(page, sizeof page, "%s%u", path, offset);
			offset += 500;
			if (client_ask(c, "GET", page, NULL) != 200)
				return;        /* told by who lists it */
			some |= strstr(c->body, "{\"id\":\"e") != NULL;
		} while (client_number(c, "returned") == 500);
		if (some)
			served_pause_us(50000);
	}
}

uint64_t load_list(struct load *l)
{
	unsigned live[JOURNAL_CLIENTS_MAX] = { 0 }, offset = 0;
	uint64_t digest = 1;
	struct client c;

	client_init(&c, l->port);
	await_expiry(&c);
	while (list_page(l, &c, offset, &digest, live))
		offset += 500;
	client_fini(&c);
	for (unsigned i = 0; i < l->n; i++) {
		unsigned known = 0;

		for (unsigned k = 0; k < l->clients[i]->n_keys; k++)
			known += !l->clients[i]->keys[k].base.gone;
		if (known == live[i])
			continue;
		printf("# client %u has %u memories, %u are listed\n", i, known, live[i]);
		atomic_fetch_add(&l->counts.lost, 1);
	}
	return digest;
}

uint64_t load_wrong(const struct load *l)
{
	const struct counts *c = &l->counts;

	return atomic_load(&c->lost) + atomic_load(&c->phantom) + atomic_load(&c->torn) + atomic_load(&c->corrupt)
	       + atomic_load(&c->resurrected) + atomic_load(&c->order) + atomic_load(&c->refused_connects);
}

uint64_t load_entries(const struct load *l)
{
	const struct counts *c = &l->counts;

	return atomic_load(&c->acked) + atomic_load(&c->unknown);
}
