/* `engram import`: a file of memories, sent in batches over kept connections.
 *
 * A few requests are under way at a time, so that the server's group commit has
 * something to group; memory is bounded by them, whatever the file's size. A
 * batch that met an overloaded or restarting server is sent again, with the
 * pause that the server asked for, a bounded number of times. That is safe
 * because every line has an id: storing the same memory again changes nothing.
 * With --no-ids it would not be, so then only what was certainly not taken in is
 * sent again. For the same reason an interrupted import is simply run again.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/clock.h"
#include "contrib/client/http.h"
#include "contrib/client/lines.h"
#include "contrib/client/print.h"

enum {
	BATCH_LINES = 500,
	PARALLEL = 4,
	PARALLEL_MAX = 16,
	ATTEMPTS_MAX = 10,                     /* of one batch */
	PAUSE_FIRST_MS = 100,                  /* doubled from attempt to attempt */
	PAUSE_MAX_MS = 10000,
	FAILURES_SHOWN = 100,
	PROGRESS_MS = 100,
};

struct flight {
	CURL *handle;
	struct batch *batch;                   /* NULL: idle */
	struct reply reply;
};

struct import {
	const struct client *c;
	struct lines lines;
	CURLM *multi;
	struct curl_slist *headers;
	struct flight flight[PARALLEL_MAX];
	unsigned flights, busy, batch_lines;
	struct batch *again;                   /* to be sent before new lines are read */
	bool ended;                            /* no more lines */
	bool answered;                         /* the server was there at least once */
	int stop;                              /* exit status that ends the import, 0 = go on */
	int failing;                           /* exit status for lines that failed */
	uint64_t stored, failed, untold;       /* untold: failed without a message of their own */
	json_t *failures;                      /* the first ones, for --json */
	uint64_t size;                         /* of the file, 0 = unknown */
	int64_t began_ms, shown_ms;
	bool progress;
};

static void clear_progress(const struct import *m)
{
	if (m->progress)
		fputs("\r\033[K", stderr);
}

/* n lines from the first to the last one have one fate, and make one message. */
static void fail_lines(struct import *m, uint64_t first, uint64_t last, unsigned n, const char *code,
                       const char *message)
{
	m->failed += n;
	m->failing = EX_DATAERR;
	if (json_array_size(m->failures) == FAILURES_SHOWN) {
		m->untold += n;
		return;
	}
	clear_progress(m);
	fprintf(stderr, "engram: %s:%llu", m->lines.label, (unsigned long long)first);
	if (last != first)
		fprintf(stderr, "-%llu", (unsigned long long)last);
	fprintf(stderr, ": %s (%s)\n", message, code);
	json_array_append_new(m->failures, json_pack("{s:I, s:I, s:s, s:s}", "line", (json_int_t)first, "to",
	                                             (json_int_t)last, "code", code, "message", message));
}

static void fail_line(struct import *m, uint64_t line, const char *code, const char *message)
{
	fail_lines(m, line, line, 1, code, message);
}

static void fail_batch(struct import *m, const struct batch *b, const char *code, const char *message)
{
	fail_lines(m, b->item[0].line, b->item[b->n - 1].line, b->n, code, message);
}

static void queue(struct import *m, struct batch *b)
{
	b->next = m->again;
	m->again = b;
}

/* Send it again later; false when it was tried often enough. */
static bool retry(struct import *m, struct batch *b, unsigned server_s)
{
	int64_t pause_ms = (int64_t)PAUSE_FIRST_MS << (b->attempts < 8 ? b->attempts : 8);

	if (++b->attempts >= ATTEMPTS_MAX || m->stop)
		return false;
	if (pause_ms < (int64_t)server_s * 1000)
		pause_ms = (int64_t)server_s * 1000;
	if (pause_ms > PAUSE_MAX_MS)
		pause_ms = PAUSE_MAX_MS;
	b->not_before_ms = clock_mono_ms() + pause_ms;
	queue(m, b);
	return true;
}

/* A batch refused as a whole is halved until the line at fault stands alone. */
static bool split(struct import *m, const struct batch *b)
{
	for (unsigned half = 0, from = 0; half < 2; half++) {
		unsigned to = half ? b->n : b->n / 2;
		struct batch *part = batch_new(to - from);

		if (!part)
			return false;
		for (; from < to; from++)
			batch_copy(part, b, from);
		if (!batch_close(part)) {
			batch_free(part);
			return false;
		}
		queue(m, part);
	}
	return true;
}

/* The server took the batch: count its items' results. */
static void take_results(struct import *m, const struct batch *b, const struct reply *r)
{
	json_t *reply = json_loadb(r->body.data ? r->body.data : "", r->body.len, 0, NULL);
	const json_t *results = json_object_get(reply, "results");

	if (json_array_size(results) != b->n) {
		fail_batch(m, b, "NO_RESULT", "the server's answer does not tell what became of it");
		m->stop = EX_PROTOCOL;
	}
	for (size_t i = 0; i < json_array_size(results) && i < b->n; i++) {
		const json_t *result = json_array_get(results, i), *error = json_object_get(result, "error");

		if (json_is_true(json_object_get(result, "success")))
			m->stored++;
		else
			fail_line(m, b->item[i].line, text_of(error, "code", "ERROR"),
			          text_of(error, "message", "refused without a reason"));
	}
	json_decref(reply);
}

/* No answer. Sent again when that cannot store anything twice. */
static void take_silence(struct import *m, struct flight *f, CURLcode code)
{
	bool untouched = code == CURLE_COULDNT_CONNECT || code == CURLE_COULDNT_RESOLVE_HOST;
	const char *why = *f->reply.trouble ? f->reply.trouble : curl_easy_strerror(code);

	if (m->answered && (untouched || m->lines.name_lines) && retry(m, f->batch, 0))
		return;
	clear_progress(m);
	if (!m->stop)
		client_fail(0, "no answer from %s: %s", m->c->url, why);
	m->stop = EX_UNAVAILABLE;
	fail_batch(m, f->batch, "NO_ANSWER", untouched ? "not sent" : "whether it was stored is unknown");
	batch_free(f->batch);
}

/* An answer other than 2xx. */
static void take_refusal(struct import *m, struct flight *f)
{
	long status = f->reply.status;
	bool later = status == 429 || status == 503 || status == 408;
	bool whole = status == 400 || status == 413 || status == 422;
	json_t *json = json_loadb(f->reply.body.data ? f->reply.body.data : "", f->reply.body.len, 0, NULL);
	const json_t *error = json_object_get(json, "error");
	const char *code = text_of(error, "code", "ERROR");
	bool unknown = !strcmp(code, "WRITER_UNAVAILABLE");

	if (later && (m->lines.name_lines || !unknown) && retry(m, f->batch, f->reply.retry_after_s)) {
		json_decref(json);
		return;
	}
	if (!whole || f->batch->n == 1 || !split(m, f->batch)) {
		fail_batch(m, f->batch, code, text_of(error, "message", "refused"));
		if (!whole && !m->stop) {
			clear_progress(m);
			m->stop = http_report(m->c, &f->reply);
		}
	}
	json_decref(json);
	batch_free(f->batch);
}

static void land(struct import *m, struct flight *f, CURLcode code)
{
	curl_multi_remove_handle(m->multi, f->handle);
	curl_easy_getinfo(f->handle, CURLINFO_RESPONSE_CODE, &f->reply.status);
	m->busy--;
	if (code) {
		take_silence(m, f, code);
	} else {
		m->answered = true;
		if (f->reply.status >= 200 && f->reply.status <= 299) {
			take_results(m, f->batch, &f->reply);
			batch_free(f->batch);
		} else {
			take_refusal(m, f);
		}
	}
	f->batch = NULL;
}

static void fly(struct import *m, struct flight *f, struct batch *b)
{
	f->batch = b;
	/* libcurl repeats a request by itself when a kept connection turns out dead. */
	curl_easy_setopt(f->handle, CURLOPT_FRESH_CONNECT, m->lines.name_lines ? 0L : 1L);
	curl_easy_setopt(f->handle, CURLOPT_FORBID_REUSE, m->lines.name_lines ? 0L : 1L);
	if (!http_prepare(f->handle, m->c, "POST", "/api/v1/memories/batch", m->headers, b->body.data, b->body.len,
	                  &f->reply)
	    || curl_multi_add_handle(m->multi, f->handle)) {
		m->stop = client_fail(EX_USAGE, "%s is no URL of a server", m->c->url);
		fail_batch(m, b, "NOT_SENT", "not sent");
		batch_free(b);
		f->batch = NULL;
		return;
	}
	m->busy++;
}

/* The next batch to send: one that waits and is due, else new lines. Until the
 * server has answered once, one request is enough to learn that it is away. */
static struct batch *next_batch(struct import *m)
{
	const char *why;
	struct batch *b;
	enum lines_result result;

	for (struct batch **at = &m->again; *at; at = &(*at)->next)
		if ((*at)->not_before_ms <= clock_mono_ms()) {
			b = *at;
			*at = b->next;
			return b;
		}
	if (m->again || m->ended || m->stop || (!m->answered && m->busy))
		return NULL;
	if (!(b = batch_new(m->batch_lines))) {
		m->stop = client_fail(EX_OSERR, "out of memory");
		return NULL;
	}
	while ((result = lines_fill(&m->lines, b, &why)) == LINES_BAD)
		fail_line(m, m->lines.n, "BAD_LINE", why);
	m->ended = result != LINES_MORE;
	if (result == LINES_TROUBLE)
		m->stop = client_fail(EX_IOERR, "%s: %s", m->lines.label, strerror(errno));
	if (!b->n || !batch_close(b)) {
		if (b->n)
			m->stop = client_fail(EX_OSERR, "out of memory");
		batch_free(b);
		return NULL;
	}
	return b;
}

static void show_progress(struct import *m)
{
	static const char full[] = "==============================";
	int64_t now_ms = clock_mono_ms();
	char count[32];
	double part;

	if (!m->progress || now_ms - m->shown_ms < PROGRESS_MS)
		return;
	m->shown_ms = now_ms;
	fprintf(stderr, "\r%s  %s stored, %.0f/s", m->lines.label, print_count((double)m->stored, count),
	        (double)m->stored * 1000 / (double)(now_ms - m->began_ms + 1));
	if (m->size) {
		part = (double)m->lines.bytes / (double)m->size;
		part = part > 1 ? 1 : part;
		fprintf(stderr, "  [%-30.*s] %3.0f %%", (int)(part * 30), full, part * 100);
	}
	fputs("\033[K", stderr);
}

/* How long to wait for the network: until the next batch is due. */
static int wait_ms(const struct import *m)
{
	int64_t now_ms = clock_mono_ms(), wait = m->progress ? PROGRESS_MS : 1000;

	for (const struct batch *b = m->again; b; b = b->next)
		if (b->not_before_ms - now_ms < wait)
			wait = b->not_before_ms > now_ms ? b->not_before_ms - now_ms : 0;
	return (int)wait;
}

static void collect(struct import *m)
{
	CURLMsg *message;
	int left, running;

	curl_multi_perform(m->multi, &running);
	while ((message = curl_multi_info_read(m->multi, &left)))
		for (unsigned i = 0; i < m->flights; i++)
			if (m->flight[i].handle == message->easy_handle && m->flight[i].batch) {
				land(m, &m->flight[i], message->data.result);
				break;
			}
}

static void send_all(struct import *m)
{
	while (1) {
		struct batch *b;

		for (unsigned i = 0; i < m->flights; i++)
			if (!m->flight[i].batch && (b = next_batch(m)))
				fly(m, &m->flight[i], b);
		if (!m->busy && (m->stop || (m->ended && !m->again)))
			break;
		curl_multi_poll(m->multi, NULL, 0, m->busy && !m->again && !m->progress ? 1000 : wait_ms(m), NULL);
		collect(m);
		show_progress(m);
	}
	for (struct batch *b; (b = m->again); ) {
		m->again = b->next;
		fail_batch(m, b, "NOT_SENT", "not sent");
		batch_free(b);
	}
}

static int begin(struct import *m)
{
	m->multi = curl_multi_init();
	m->headers = http_headers(m->c, true);
	m->failures = json_array();
	if (!m->multi || !m->headers || !m->failures)
		return client_fail(EX_OSERR, "out of memory");
	for (unsigned i = 0; i < m->flights; i++) {
		reply_init(&m->flight[i].reply);
		if (!(m->flight[i].handle = curl_easy_init()))
			return client_fail(EX_OSERR, "out of memory");
	}
	return EX_OK;
}

static void end(struct import *m)
{
	for (unsigned i = 0; i < m->flights; i++) {
		reply_free(&m->flight[i].reply);
		curl_easy_cleanup(m->flight[i].handle);
	}
	curl_multi_cleanup(m->multi);
	curl_slist_free_all(m->headers);
	json_decref(m->failures);
	lines_fini(&m->lines);
}

static int report(struct import *m)
{
	double seconds = (double)(clock_mono_ms() - m->began_ms) / 1000;
	char stored[32], failed[32];

	clear_progress(m);
	if (m->untold)
		fprintf(stderr, "engram: and %llu more lines failed\n", (unsigned long long)m->untold);
	if (m->stop)
		fprintf(stderr, "engram: stopped; run it again to go on%s\n",
		        m->lines.name_lines ? ", what is stored already will not be stored twice" : "");
	if (m->c->json) {
		json_t *all = json_pack("{s:I, s:I, s:I, s:f, s:O}", "lines", (json_int_t)m->lines.n, "stored",
		                        (json_int_t)m->stored, "failed", (json_int_t)m->failed, "seconds", seconds,
		                        "failures", m->failures);

		json_dumpf(all, stdout, JSON_REAL_PRECISION(6));
		putchar('\n');
		json_decref(all);
	} else {
		printf("%s: %s stored, %s failed, in %.1f s (%.0f/s)\n", m->lines.label,
		       print_count((double)m->stored, stored), print_count((double)m->failed, failed), seconds,
		       (double)m->stored / (seconds > 0.001 ? seconds : 0.001));
	}
	return m->stop ? m->stop : m->failing;
}

static int open_file(struct import *m)
{
	const char *name = m->c->operand[0], *slash = strrchr(name, '/');
	struct stat st;

	if (!strcmp(name, "-")) {
		m->lines.file = stdin;
		m->lines.label = "stdin";
		return EX_OK;
	}
	m->lines.label = slash ? slash + 1 : name;
	if (!(m->lines.file = fopen(name, "re")))
		return client_fail(EX_NOINPUT, "%s: %s", name, strerror(errno));
	if (!fstat(fileno(m->lines.file), &st) && S_ISREG(st.st_mode))
		m->size = (uint64_t)st.st_size;
	return EX_OK;
}

int client_import(struct client *c)
{
	double batch = option_number(c, OPT_BATCH, BATCH_LINES), parallel = option_number(c, OPT_PARALLEL, PARALLEL);
	struct import m = { .c = c, .began_ms = clock_mono_ms(), .progress = isatty(STDERR_FILENO) && !c->json };
	int status;

	if (batch < 1 || batch > LINES_BATCH_MAX)
		return client_fail(EX_USAGE, "--batch needs a number from 1 to %d", LINES_BATCH_MAX);
	if (parallel < 1 || parallel > PARALLEL_MAX)
		return client_fail(EX_USAGE, "--parallel needs a number from 1 to %d", PARALLEL_MAX);
	m.batch_lines = (unsigned)batch;
	m.flights = (unsigned)parallel;
	m.lines.text = c->given[OPT_TEXT];
	m.lines.name_lines = !c->given[OPT_NO_IDS];
	status = open_file(&m);
	if (status == EX_OK)
		status = begin(&m);
	if (status == EX_OK) {
		send_all(&m);
		status = report(&m);
	}
	end(&m);
	if (m.lines.file && m.lines.file != stdin)
		fclose(m.lines.file);
	return status;
}
