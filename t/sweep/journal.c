/* Journals, see the header. */
#include "t/sweep/journal_parts.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/err.h"
#include "t/sweep/served.h"

uint64_t journal_random(uint64_t *state)
{
	uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

static uint64_t pick(struct journal *j, uint64_t n) { return journal_random(&j->random) % n; }

void journal_wrong(struct journal *j, _Atomic uint64_t *what, const char *text, unsigned key, const char *more)
{
	uint64_t n = atomic_fetch_add(what, 1);

	if (n < 10)
		printf("# %s: c%u-%u: base %u%s version %" PRId64 ", %u open; %.160s\n", text, j->number, key,
		       j->keys[key].base.seq, j->keys[key].base.gone ? " gone" : "", j->keys[key].version,
		       j->keys[key].n_open, more);
}

/* ---- contents */

static size_t content(const struct journal *j, uint32_t seq, char *to)
{
	uint64_t state = j->load->seed ^ (uint64_t)j->number << 40 ^ seq;
	uint64_t kind = journal_random(&state) % 1000;
	size_t n = (size_t)sprintf(to, "c%u s%u ", j->number, seq), bytes;

	bytes = kind < 4 ? LARGE : kind < 60 ? PAGE : SHORT;
	bytes = bytes / 2 + journal_random(&state) % bytes;
	while (n < bytes) {
		uint64_t r = journal_random(&state);

		for (unsigned i = 0; i < 12; i++, r >>= 5)
			to[n++] = "abcdefghijklmnopqrstuvwxyz 01234"[r & 31];
	}
	to[n] = '\0';
	return n;
}

static size_t vector(uint64_t seed, unsigned dim, char *to)
{
	size_t n = 0;

	for (unsigned i = 0; i < dim; i++)
		n += (size_t)sprintf(to + n, "%s%" PRIu64, i ? "," : "", 1 + journal_random(&seed) % 97);
	return n;
}

/* {"id":...} of one memory of the space `work`, without the last brace. */
static size_t memory(struct journal *j, const char *id, uint32_t seq, unsigned dim, char *to)
{
	size_t n = (size_t)sprintf(to, "{\"id\":\"%s\",\"content\":\"", id);

	n += content(j, seq, to + n);
	n += (size_t)sprintf(to + n, "\"");
	if (n > LARGE) {       /* with this, more than the heap's largest class */
		n += (size_t)sprintf(to + n, ",\"metadata\":{\"pad\":\"");
		memset(to + n, 'a' + (int)(seq % 26), METADATA);
		n += METADATA;
		n += (size_t)sprintf(to + n, "\"}");
	}
	if (dim > 0) {
		n += (size_t)sprintf(to + n, ",\"embedding\":[");
		n += vector((uint64_t)j->number << 32 | seq, dim, to + n);
		n += (size_t)sprintf(to + n, "]");
	}
	return n;
}

/* ---- what is known */

/* may_be_down: at some time between the request and its answer, so a refused connect is no fault. */
static int told(struct journal *j, int status, bool may_be_down)
{
	struct counts *c = &j->load->counts;

	if (status == 200 || status == 201)
		atomic_fetch_add(&c->acked, 1);
	else if (status == CLIENT_REFUSED)
		atomic_fetch_add(may_be_down ? &c->refused : &c->refused_connects, 1);
	else if (status == 507)
		atomic_fetch_add(&c->no_room, 1);
	else if (status == 404 || status == 409)
		atomic_fetch_add(&c->refused, 1);
	else if (status >= 400 && status < 500)
		journal_wrong(j, &c->corrupt, "a request that is not understood", 0, j->http.body);
	else if (status >= 500 && strstr(j->http.body, "READ_ONLY") != NULL)
		atomic_fetch_add(&c->read_only, 1);
	else
		atomic_fetch_add(&c->unknown, 1);
	return status;
}

static int ask(struct journal *j, const char *method, const char *path, const char *body)
{
	unsigned downs = atomic_load(&j->load->downs);
	bool down = atomic_load(&j->load->down);
	int status = client_ask(&j->http, method, path, body);

	return told(j, status, down || downs != atomic_load(&j->load->downs));
}

static bool acked(int status) { return status == 200 || status == 201; }

/* It did not happen and will not. */
static bool refused(const struct journal *j, int status)
{
	return status == CLIENT_REFUSED || status == 507 || (status >= 400 && status < 500)
	       || (status >= 500 && strstr(j->http.body, "READ_ONLY") != NULL);
}

static void key_open(struct key *k, struct op op)
{
	EG_ASSERT(k->n_open < OPEN);
	k->open[k->n_open++] = op;
	k->dirty = true;
}

static void key_set(struct journal *j, unsigned key, struct op op, int64_t version)
{
	struct key *k = &j->keys[key];

	if (!op.gone && !k->base.gone && k->n_open == 0 && version >= 0 && version <= k->version)
		journal_wrong(j, &j->load->counts.order, "version fell back", key, j->http.body);
	k->base = op;
	k->version = version > 0 ? version : 0;
	k->n_open = 0;
	k->dirty = true;
}

/* What was seen is base or one of the open ones; true if so. */
static bool key_seen(struct key *k, struct op op, int64_t version)
{
	if (op.gone ? k->base.gone : !k->base.gone && k->base.seq == op.seq) {
		k->version = version > 0 ? version : 0;
		return true;
	}
	for (unsigned i = k->n_open; i-- > 0;) {
		if (k->open[i].gone != op.gone || (!op.gone && k->open[i].seq != op.seq))
			continue;
		k->base = k->open[i];
		k->version = version > 0 ? version : 0;
		memmove(k->open, k->open + i + 1, (k->n_open - i - 1) * sizeof *k->open);
		k->n_open -= i + 1;
		return true;
	}
	return false;
}

static unsigned key_pick(struct journal *j)
{
	if (j->n_keys < KEYS && pick(j, j->n_keys < 40 ? 2 : 6) == 0) {
		j->keys[j->n_keys] = (struct key){ .base.gone = true };
		return j->n_keys++;
	}
	for (unsigned i = 0; i < 40 && j->n_keys > 0; i++) {
		unsigned k = (unsigned)pick(j, j->n_keys);

		if (!j->keys[k].frozen && j->keys[k].n_open < OPEN)
			return k;
	}
	return KEYS;
}

/* ---- actions */

static void store(struct journal *j)
{
	struct op op = { ++j->seq, false };
	unsigned key = key_pick(j);
	char id[32];
	int status;
	size_t n;

	if (key == KEYS)
		return;
	snprintf(id, sizeof id, "c%u-%u", j->number, key);
	n = memory(j, id, op.seq, DIM, j->body);
	sprintf(j->body + n, ",\"memory_space_id\":\"work\"}");
	status = ask(j, "POST", "/api/v1/memories/remember", j->body);
	if (acked(status))
		key_set(j, key, op, client_number(&j->http, "version"));
	else if (!refused(j, status))
		key_open(&j->keys[key], op);
}

static void delete(struct journal *j)
{
	struct op op = { 0, true };
	char path[PATH_MAX_];
	unsigned key = key_pick(j);
	int status;

	if (key == KEYS)
		return;
	snprintf(path, sizeof path, "/api/v1/memories/c%u-%u?space=work", j->number, key);
	status = ask(j, "DELETE", path, NULL);
	if (acked(status))
		key_set(j, key, op, -1);
	else if (status == 404 ? j->keys[key].n_open > 0 : !refused(j, status))
		key_open(&j->keys[key], op);
	else if (status == 404 && !j->keys[key].base.gone)
		journal_wrong(j, &j->load->counts.lost, "lost: nothing to delete", key, j->http.body);
}

static void batch(struct journal *j)
{
	struct batch b = { .n = 0 };
	unsigned wanted = 2 + (unsigned)pick(j, BATCH - 1);
	size_t n = (size_t)sprintf(j->body, "{\"atomic\":true,\"memory_space_id\":\"work\",\"memories\":[");
	char id[32];
	int status;

	if (j->n_batches == BATCHES)
		return;
	for (unsigned i = 0; i < wanted; i++) {
		unsigned key = key_pick(j);

		if (key == KEYS)
			continue;
		j->keys[key].frozen = true;    /* not twice in one batch */
		b.keys[b.n] = key;
		b.seqs[b.n] = ++j->seq;
		snprintf(id, sizeof id, "c%u-%u", j->number, key);
		n += (size_t)sprintf(j->body + n, "%s", b.n ? "," : "");
		n += memory(j, id, b.seqs[b.n++], DIM, j->body + n);
		n += (size_t)sprintf(j->body + n, "}");
	}
	sprintf(j->body + n, "]}");
	status = b.n == 0 ? 400 : ask(j, "POST", "/api/v1/memories/batch", j->body);
	for (unsigned i = 0; i < b.n; i++) {
		struct op op = { b.seqs[i], false };

		j->keys[b.keys[i]].frozen = !acked(status) && !refused(j, status);
		if (acked(status))
			key_set(j, b.keys[i], op, -1);
		else if (!refused(j, status))
			key_open(&j->keys[b.keys[i]], op);
	}
	if (b.n > 0 && !acked(status) && !refused(j, status))
		j->batches[j->n_batches++] = b;
}

/* Expires soon; the consolidation process deletes it. Not in the journal. */
static void passing(struct journal *j)
{
	time_t at = time(NULL) + 2;
	char id[32], when[40];
	struct tm tm;
	size_t n;

	gmtime_r(&at, &tm);
	strftime(when, sizeof when, "%Y-%m-%dT%H:%M:%SZ", &tm);
	snprintf(id, sizeof id, "e%u-%u", j->number, (unsigned)pick(j, 50));
	n = memory(j, id, ++j->seq, DIM, j->body);
	sprintf(j->body + n, ",\"memory_space_id\":\"work\",\"expires_at\":\"%s\"}", when);
	/* A busy machine may come too late for it: refused then, and no fault. */
	if (client_ask(&j->http, "POST", "/api/v1/memories/remember", j->body) == 400
	    && strstr(j->http.body, "is in the past") == NULL)
		journal_wrong(j, &j->load->counts.corrupt, "a request that is not understood", 0, j->http.body);
}

static void recall(struct journal *j)
{
	size_t n = (size_t)sprintf(j->body, "{\"memory_space_id\":\"work\",\"max_results\":3,\"embedding\":[");

	n += vector(journal_random(&j->random), DIM, j->body + n);
	sprintf(j->body + n, "]}");
	(void)client_ask(&j->http, "POST", "/api/v1/memories/recall", j->body);
	atomic_fetch_add(&j->load->counts.reads, 1);
}

/* ---- spaces that come and go, each with vectors of another length */

static void space_name(const struct journal *j, char name[SPACE])
{
	snprintf(name, SPACE, "z%u-%u", j->number, j->spaces);
}

static void space_end(struct journal *j)
{
	char name[SPACE], path[PATH_MAX_];
	int status;

	space_name(j, name);
	snprintf(path, sizeof path, "/api/v1/memories/m0?space=%s", name);
	if (j->in_space > 0 && client_ask(&j->http, "GET", path, NULL) == 404)
		journal_wrong(j, &j->load->counts.lost, "lost: first memory of a space", 0, name);
	snprintf(path, sizeof path, "/api/v1/spaces/%s", name);
	status = ask(j, "DELETE", path, NULL);
	if (status == 404 && j->space_sure)
		journal_wrong(j, &j->load->counts.lost, "lost: a space", 0, name);
	if (acked(status)) {
		snprintf(path, sizeof path, "/api/v1/spaces/%s/stats", name);
		if (client_ask(&j->http, "GET", path, NULL) == 200)
			journal_wrong(j, &j->load->counts.resurrected, "resurrected: a space", 0, name);
	}
	j->spaces++;
	j->in_space = 0;
	j->space_sure = false;
}

static void space_store(struct journal *j)
{
	static const unsigned dims[] = { 16, 48, 64, 96, 128, 192, 256, 320, 512, 768, 1024, 0 };
	unsigned dim = dims[(j->spaces * 5 + j->number) % (sizeof dims / sizeof *dims)];
	char name[SPACE], id[32];
	size_t n;
	int status;

	space_name(j, name);
	if (!j->space_sure) {
		sprintf(j->body, "{\"id\":\"%s\"}", name);
		j->space_sure = acked(ask(j, "POST", "/api/v1/spaces", j->body));
		return;
	}
	snprintf(id, sizeof id, "m%u", j->in_space);
	n = memory(j, id, ++j->seq, dim, j->body);
	sprintf(j->body + n, ",\"memory_space_id\":\"%s\"}", name);
	status = ask(j, "POST", "/api/v1/memories/remember", j->body);
	if (acked(status))
		j->in_space++;
	else if (status == 404)
		journal_wrong(j, &j->load->counts.lost, "lost: a space", 0, name);
	if (j->in_space >= 20 || pick(j, 60) == 0)
		space_end(j);
}

void journal_act(struct journal *j)
{
	uint64_t what = pick(j, 100);

	if (what < 32)
		store(j);
	else if (what < 42)
		delete(j);
	else if (what < 56)
		batch(j);
	else if (what < 60)
		passing(j);
	else if (what < 82)
		space_store(j);
	else
		recall(j);
}

/* ---- checks */

/* What is there under this id now; asked until there is an answer. */
static bool look(struct journal *j, unsigned key, struct op *op, int64_t *version)
{
	int64_t deadline = served_now_ns() + PATIENCE_S * INT64_C(1000000000);
	char path[PATH_MAX_];
	const char *at;
	unsigned number;
	int status;

	snprintf(path, sizeof path, "/api/v1/memories/c%u-%u?space=work", j->number, key);
	while ((status = client_ask(&j->http, "GET", path, NULL)) != 200 && status != 404) {
		if (served_now_ns() > deadline) {
			journal_wrong(j, &j->load->counts.corrupt, "no answer", key, j->http.body);
			return false;
		}
		served_pause_us(3000);
	}
	*op = (struct op){ 0, status == 404 };
	*version = client_number(&j->http, "version");
	if (op->gone)
		return true;
	at = strstr(j->http.body, "\"content\":\"");
	if (at == NULL || sscanf(at + 11, "c%u s%u ", &number, &op->seq) != 2 || number != j->number) {
		journal_wrong(j, &j->load->counts.corrupt, "content of another", key, at ? at : "");
		return false;
	}
	number = (unsigned)content(j, op->seq, j->want);
	if (strncmp(at + 11, j->want, number) != 0 || at[11 + number] != '"') {
		journal_wrong(j, &j->load->counts.corrupt, "content", key, at);
		return false;
	}
	return true;
}

static void judge(struct journal *j, unsigned key)
{
	struct key *k = &j->keys[key];
	int64_t version;
	char text[64];
	struct op op;

	if (!look(j, key, &op, &version))
		return;
	atomic_fetch_add(&j->load->counts.checks, 1);
	if (!op.gone && !k->base.gone && k->base.seq == op.seq && k->version > 0 && version != k->version)
		journal_wrong(j, &j->load->counts.order, "another version", key, j->http.body);
	k->dirty = k->n_open > 0;
	if (key_seen(k, op, version))
		return;
	snprintf(text, sizeof text, "seen %u%s", op.seq, op.gone ? " gone" : "");
	if (!op.gone && k->base.gone && op.seq < j->seq)
		journal_wrong(j, &j->load->counts.resurrected, "resurrected", key, text);
	else if (!op.gone && op.seq > k->base.seq)
		journal_wrong(j, &j->load->counts.phantom, "phantom", key, text);
	else
		journal_wrong(j, &j->load->counts.lost, "lost", key, text);
}

/* How many of a batch are there. */
static unsigned present(struct journal *j, const struct batch *b)
{
	unsigned n = 0;

	for (unsigned i = 0; i < b->n; i++) {
		int64_t version;
		struct op op;

		n += look(j, b->keys[i], &op, &version) && !op.gone && op.seq == b->seqs[i];
	}
	return n;
}

/* A batch in part may still be on its way into memory; then it is whole soon. */
static void judge_batch(struct journal *j, struct batch *b)
{
	int64_t deadline = served_now_ns() + INT64_C(2000000000);
	unsigned n;

	while ((n = present(j, b)) != 0 && n != b->n && served_now_ns() < deadline)
		served_pause_us(2000);
	if (n != 0 && n != b->n)
		journal_wrong(j, &j->load->counts.torn, "torn batch, its first", b->keys[0], "");
	b->age = n == 0 ? b->age + 1 : 2;
	for (unsigned i = 0; i < b->n && b->age >= 2; i++)
		j->keys[b->keys[i]].frozen = false;
}

void journal_check(struct journal *j, bool all)
{
	unsigned kept = 0;

	for (unsigned i = 0; i < j->n_batches; i++) {
		judge_batch(j, &j->batches[i]);
		if (j->batches[i].age < 2)
			j->batches[kept++] = j->batches[i];
	}
	j->n_batches = kept;
	for (unsigned k = 0; k < j->n_keys; k++)
		if (all || j->keys[k].dirty)
			judge(j, k);
}
