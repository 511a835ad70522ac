/* A recall, see recall.h.
 *
 * Cost, for N memories of D floats: one pass over headers and word lists, a
 * second over the word lists of those that share a word with the cue, one over
 * the vectors. All three ask the next rows into the cache ahead of time; what
 * remains is the memory's speed. Cues of vectors alone begin at the space's
 * graph, if it has one: some hundred memories are looked at, and all of
 * them only when too few pass.
 */
#include "workers/mind/recall.h"

#include <math.h>
#include <string.h>

#include "common/buf.h"
#include "common/clock.h"
#include "common/config.h"
#include "common/vec.h"
#include "shm/body.h"
#include "shm/node.h"
#include "shm/metrics.h"
#include "workers/mind/decay.h"
#include "workers/mind/nearest.h"
#include "workers/mind/packed.h"
#include "workers/mind/scratch.h"

enum {
	STEP = 512,                    /* memories between two looks at the clock */
	AHEAD = 6,                     /* word lists asked into the cache */
	EG_SPARE_HITS = 16,            /* searched for beside those wanted: some may have expired */
	EG_GRAPH_SHARE = 8,            /* of a space an eighth at most is weighed by a search */
};

/* What a scan carries along. */
struct scan {
	struct mind *m;
	struct arena *arena;
	struct recall *r;
	struct recall_found *out;
	struct scratch *s;
	float average;                 /* length of a memory in words */
	size_t n_rows;
	bool words;                    /* some cue has words, some memory shares one */
	bool vectors;                  /* some cue and some memory have a vector */
	struct nearest from;           /* its graph is NULL when candidates are the whole space */
};

static bool late(struct scan *sc)
{
	if (!sc->r->deadline_ms || clock_mono_ms() < sc->r->deadline_ms)
		return false;
	sc->out->truncated = true;
	return true;
}

/* 1. All live memories of the space, up to the budget. */
static enum err gather(struct scan *sc, struct fault *f)
{
	struct scratch *s = sc->s;
	uint64_t length = 0;
	struct slot_walk w;
	struct engram e;
	enum err err;

	s->n = 0;
	slot_walk(sc->m->store, sc->r->space, &w);
	while (slot_next(&w, &e)) {
		if (body_expired(e.body, sc->m->now_us))
			continue;
		if ((sc->r->visits && s->n >= sc->r->visits) || (s->n % STEP == 0 && late(sc))) {
			sc->out->truncated = true;
			break;
		}
		if (s->n == s->cap && (err = scratch_reserve(s, s->n + 1, f)))
			return err;
		s->found[s->n++] = (struct candidate){ .engram = e, .cosine = NAN };
		length += e.body->record.length;
	}
	sc->out->visited = s->n;
	sc->average = s->n ? (float)((double)length / (double)s->n) : 0;
	return EG_E_OK;
}

static void prefetch_terms(const struct scratch *s, size_t i)
{
	const char *p;

	if (i >= s->n)
		return;
	p = (const char *)body_terms(s->found[i].engram.body);
	for (int line = 0; line < 6; line++)
		__builtin_prefetch(p + 64 * line);
}

/* 2. In how many memories each word of a cue stands; marks who shares one. */
static void count(struct scan *sc, struct cue *c, uint16_t *tf)
{
	struct scratch *s = sc->s;

	for (size_t i = 0; i < s->n; i++) {
		const struct body *b = s->found[i].engram.body;

		s->lexical[i] = 0;
		prefetch_terms(s, i + AHEAD);
		if (i % STEP == 0 && late(sc))
			s->n = i;              /* what was seen is what there is */
		if (rank_overlap(c->terms, c->n_terms, body_terms(b), b->record.n_terms, tf) == 0)
			continue;
		s->lexical[i] = 1;
		for (unsigned t = 0; t < c->n_terms; t++)
			c->terms[t].df += tf[t] != 0;
	}
}

/* 3. BM25 of those that share a word; returns the most that the cue could get. */
static float weigh(struct scan *sc, struct cue *c, uint16_t *tf, struct rank_range *range)
{
	struct scratch *s = sc->s;
	float most = 0;

	for (unsigned t = 0; t < c->n_terms; t++) {
		c->terms[t].idf = (float)rank_idf(s->n, c->terms[t].df);
		most += c->terms[t].idf * (EG_BM25_K1 + 1);
	}
	*range = (struct rank_range){ INFINITY, -INFINITY };
	for (size_t i = 0; i < s->n; i++) {
		const struct body *b = s->found[i].engram.body;
		float norm, sum = 0;

		if (s->lexical[i] > 0) {
			norm = rank_norm(b->record.length, sc->average);
			rank_overlap(c->terms, c->n_terms, body_terms(b), b->record.n_terms, tf);
			for (unsigned t = 0; t < c->n_terms; t++)
				if (tf[t])
					sum += rank_bm25(c->terms[t].idf, tf[t], norm);
			s->lexical[i] = sum;
		}
		range->low = fminf(range->low, sum);
		range->high = fmaxf(range->high, sum);
	}
	return most;
}

/* Vectors that may be compared: of the length and the source that the space has now. */
static void rows(struct scan *sc)
{
	struct scratch *s = sc->s;
	unsigned dim = space_dimension(sc->r->space);
	bool derived = space_source(sc->r->space) == EG_SOURCE_BUILTIN;

	sc->n_rows = 0;
	if (dim == 0)
		return;
	for (size_t i = 0; i < s->n; i++) {
		const struct body *b = s->found[i].engram.body;
		const float *v;

		if (b->class_ == EG_NONE || b->record.dim != dim ||
		    ((b->record.flags & EG_RECORD_DERIVED) != 0) != derived)
			continue;
		v = node_vector(sc->m->store, b);
		if (!v)
			continue;
		s->rows[sc->n_rows] = v;
		s->row_of[sc->n_rows++] = (uint32_t)i;
	}
}

/* 4. Cosines of one cue with all rows. Rows not reached in time get NAN. */
static void compare(struct scan *sc, const struct cue *c, struct rank_range *range)
{
	struct scratch *s = sc->s;
	unsigned ahead = (unsigned)sc->m->config->activation_prefetch_distance;

	*range = (struct rank_range){ INFINITY, -INFINITY };
	for (size_t at = 0; at < sc->n_rows; at += STEP) {
		size_t n = sc->n_rows - at < STEP ? sc->n_rows - at : STEP;

		if (at && late(sc))
			sc->n_rows = at;
		else
			vec_dot_each(c->vector, c->dim, s->rows + at, n, ahead, s->cosine + at);
	}
	for (size_t i = 0; i < sc->n_rows; i++) {
		range->low = fminf(range->low, s->cosine[i]);
		range->high = fmaxf(range->high, s->cosine[i]);
	}
	/* Candidates of a graph are all near: how far others are it was asked, too. */
	if (sc->from.graph != NULL)
		range->low = fminf(range->low, sc->from.low[c - sc->r->cues]);
}

struct weights { float lexical, vector; };

/* The space's weights, else the server's, scaled so that they add up to 1. */
static struct weights weights(const struct scan *sc, bool lexical, bool vector)
{
	struct space_settings set = space_settings(sc->r->space);
	struct weights w = {
		set.lexical_weight >= 0 ? set.lexical_weight : (float)sc->m->config->recall_lexical_weight,
		set.vector_weight >= 0 ? set.vector_weight : (float)sc->m->config->recall_vector_weight,
	};

	if (!lexical || !vector)
		return (struct weights){ lexical, vector };
	if (w.lexical + w.vector <= 0)
		return (struct weights){ 0.5f, 0.5f };
	return (struct weights){ w.lexical / (w.lexical + w.vector), w.vector / (w.lexical + w.vector) };
}

/* 5. Add one cue's arms to the candidates; part is its weight over all cues'. */
static void add(struct scan *sc, float part, struct rank_range words, float most,
                bool vectors, struct rank_range cosines)
{
	struct scratch *s = sc->s;
	bool lexical = words.high > 0;
	struct weights w = weights(sc, lexical, vectors);
	size_t row = 0;

	for (size_t i = 0; i < s->n; i++) {
		struct candidate *c = &s->found[i];
		float cosine = NAN;

		if (vectors && row < sc->n_rows && s->row_of[row] == i)
			cosine = s->cosine[row++];
		if (lexical)
			c->lexical += part * w.lexical * rank_scale(words, s->lexical[i]);
		if (!isnan(cosine)) {
			c->vector += part * w.vector * rank_scale(cosines, cosine);
			c->cosine = isnan(c->cosine) ? cosine : fmaxf(c->cosine, cosine);
		}
		if (s->lexical[i] > 0 || !isnan(cosine))
			c->match = fmaxf(c->match, rank_match(cosine, most > 0 ? s->lexical[i] / most : 0));
		c->base = c->lexical + c->vector;
	}
	sc->words |= lexical;
	sc->vectors |= vectors;
}

static enum err score_cue(struct scan *sc, struct cue *c, float part, struct fault *f)
{
	uint16_t *tf = arena_array(sc->arena, c->n_terms, sizeof *tf);
	struct rank_range words = { 0, 0 }, cosines = { 0, 0 };
	float most = 0;
	bool vectors;
	enum err e;

	if (!tf)
		return err_set(f, EG_E_OVERLOADED, NULL, NULL, "the request needs more memory than one may have");
	if (c->n_terms) {
		count(sc, c, tf);
		most = weigh(sc, c, tf, &words);
	} else {
		memset(sc->s->lexical, 0, sc->s->n * sizeof *sc->s->lexical);
	}
	e = sc->n_rows ? cue_embed(c, sc->m, sc->arena, sc->r->space, sc->s->n, f) : EG_E_OK;
	if (e)
		return e;
	vectors = c->vector && sc->n_rows;
	if (vectors)
		compare(sc, c, &cosines);
	add(sc, part, words, most, vectors, cosines);
	return EG_E_OK;
}

/* Whether the sure half of the filter lets it pass; unpacks into `tmp`. */
static enum err sure(struct scan *sc, const struct body *b, struct arena *tmp, bool *pass, struct fault *f)
{
	struct packed p;
	enum err e;

	*pass = true;
	if (!sc->r->filter.deep)
		return EG_E_OK;
	arena_reset(tmp);
	e = packed_read(tmp, b, &p, f);
	if (!e)
		*pass = filter_sure(&sc->r->filter, &p);
	return e;
}

/* 6. The best that pass filter and threshold. */
static enum err choose(struct scan *sc, struct rank_heap *h, struct fault *f)
{
	struct scratch *s = sc->s;
	struct arena tmp;
	enum err e = EG_E_OK;

	arena_init(&tmp, 256 << 10, 4 << 20);
	for (size_t i = 0; i < s->n && !e; i++) {
		const struct candidate *c = &s->found[i];
		const struct body *b = c->engram.body;
		struct rank_key key = { c->base, b->record.lsn, body_id(b), b->record.id_bytes, (uint32_t)i };
		bool pass;

		if (c->match <= 0 || c->match < sc->r->threshold)
			continue;
		if (h->n == h->k && !rank_before(&key, &h->keys[0]))
			continue;
		if (!filter_quick(&sc->r->filter, b))
			continue;
		e = sure(sc, b, &tmp, &pass, f);
		if (!e && pass)
			rank_offer(h, &key);
	}
	arena_fini(&tmp);
	rank_finish(h);
	return e;
}

static const char *reason(const struct scan *sc, bool some_match)
{
	if (sc->out->searched == 0)
		return "the space holds no memory";
	if (!sc->words && !sc->vectors)
		return "no memory shares a word with the cue, and there is no vector to compare";
	if (sc->r->threshold > 0 && some_match)
		return "nothing that passes the filter reaches the threshold";
	return "no memory passes the filter";
}

static enum err collect(struct scan *sc, struct rank_heap *h, struct fault *f)
{
	struct recall_found *out = sc->out;
	bool forgetting = space_settings(sc->r->space).forgetting;

	out->hits = arena_array(sc->arena, h->n, sizeof *out->hits);
	if (!out->hits)
		return err_set(f, EG_E_OVERLOADED, NULL, NULL, "the request needs more memory than one may have");
	for (size_t i = 0; i < h->n; i++) {
		const struct candidate *c = &sc->s->found[h->keys[i].at];
		struct recall_hit *hit = &out->hits[out->n++];

		hit->engram = c->engram;
		hit->score = c->base;
		hit->match = c->match;
		hit->cosine = c->cosine;
		hit->lexical = c->lexical;
		hit->vector = c->vector;
		hit->access = decay_access(&c->engram, forgetting, sc->m->now_us);
		hit->truth = truth_of(atomic_load_explicit(&c->engram.slot->truth, memory_order_relaxed),
		                      c->engram.body->record.confidence);
		out->confidence = fmaxf(out->confidence, c->match);
	}
	if (out->n == 0)
		out->reason = reason(sc, sc->words || sc->vectors);
	if (out->n && out->confidence < (float)sc->m->config->recall_abstain_below) {
		out->n = 0;
		out->reason = "the best match is below abstain_below";
	}
	return EG_E_OK;
}

static enum err prepare(struct scan *sc, struct fault *f)
{
	struct recall *r = sc->r;
	enum err e = filter_prepare(&r->filter, sc->arena, f);

	for (unsigned i = 0; i < r->n_cues && !e; i++) {
		e = cue_prepare(&r->cues[i], sc->m, sc->arena, r->space, f);
		if (e == EG_E_OK && r->lexical_only)
			r->cues[i].vector = NULL;
	}
	return e;
}

/* 2. to 6. for the candidates that there are. */
static enum err rank(struct scan *sc, struct rank_heap *h, struct fault *f)
{
	struct recall *r = sc->r;
	float total = 0;
	enum err e;

	h->n = 0;
	if (!r->lexical_only)
		rows(sc);
	for (unsigned i = 0; i < r->n_cues; i++)
		total += r->cues[i].weight;
	for (unsigned i = 0; i < r->n_cues; i++)
		if ((e = score_cue(sc, &r->cues[i], r->cues[i].weight / total, f)))
			return e;
	return choose(sc, h, f);
}

/* Would a wider search find more? Not when what was found reaches down to what is no match. */
static bool all_found(const struct scan *sc, const struct rank_heap *h)
{
	for (size_t i = 0; i < sc->s->n && h->n < h->k; i++)
		if (sc->s->found[i].match <= 0 || sc->s->found[i].match < sc->r->threshold)
			return true;
	return h->n == h->k;
}

/* The answer from the space's graph. What does not pass the filter costs places, so the search is widened,
 * by four each time; when that would be a good part of the space, or not enough, *enough
 * stays false: all memories are looked at, for none that exists may be missing. */
static enum err by_graph(struct scan *sc, struct rank_heap *h, bool *enough, struct fault *f)
{
	unsigned ef = (unsigned)sc->m->config->hnsw_index_ef_search;
	enum err e;

	e = nearest_begin(sc->m, sc->r, &sc->from, f);
	if (e != EG_E_OK)
		return e;
	if (sc->from.graph == NULL) {
		metric_add(M_RECALL_SCAN, 1);
		return e;
	}
	ef = ef > h->k + EG_SPARE_HITS ? ef : (unsigned)h->k + EG_SPARE_HITS;
	if (sc->r->n_cues > 1)             /* what answers several lies between, where links lead away to each */
		ef = ef * 4 < EG_EF_MAX ? ef * 4 : EG_EF_MAX;
	for (; ef <= EG_EF_MAX && (uint64_t)ef * EG_GRAPH_SHARE <= sc->out->searched && !*enough && !late(sc); ef *= 4) {
		unsigned most = filter_any(&sc->r->filter) || sc->r->n_cues > 1 ? ef : (unsigned)h->k + EG_SPARE_HITS;

		e = nearest_gather(sc->m, sc->r, &sc->from, ef, most, f);
		if (e == EG_E_OK)
			e = rank(sc, h, f);
		if (e != EG_E_OK)
			return e;
		sc->out->visited = sc->s->n;
		*enough = all_found(sc, h);
	}
	metric_add(*enough ? M_RECALL_GRAPH : M_RECALL_WIDENED, 1);
	if (!*enough)
		sc->from.graph = NULL;
	return e;
}

enum err recall_run(struct mind *m, struct arena *a, struct recall *r, struct recall_found *out,
                    struct fault *f)
{
	struct scan sc = { .m = m, .arena = a, .r = r, .out = out, .s = m->scratch };
	struct rank_heap h = { .k = r->max_results };
	bool enough = false;
	enum err e;

	memset(out, 0, sizeof *out);
	out->searched = atomic_load_explicit(&r->space->memories, memory_order_relaxed);
	h.keys = arena_array(a, h.k, sizeof *h.keys);
	if (!h.keys)
		return err_set(f, EG_E_OVERLOADED, NULL, NULL, "the request needs more memory than one may have");
	if ((e = prepare(&sc, f)) || (e = by_graph(&sc, &h, &enough, f)))
		return e;
	if (!enough && ((e = gather(&sc, f)) || (e = rank(&sc, &h, f))))
		return e;
	if ((e = collect(&sc, &h, f)))
		return e;
	if (out->n == 0 && out->truncated && r->deadline_ms && clock_mono_ms() >= r->deadline_ms)
		return err_set(f, EG_E_TIMEOUT, "budget", NULL, "the time was over before anything was found");
	return EG_E_OK;
}

void recall_note(const struct mind *m, const struct recall_found *found)
{
	for (unsigned i = 0; i < found->n; i++)
		desk_access_note(m->desks, found->hits[i].engram.number, found->hits[i].engram.generation,
		                 EG_ACCESS_RECALL, (uint64_t)(m->now_us / 1000));
}

enum err recall_text(struct arena *a, const struct recall_found *found, unsigned max_tokens,
                     struct buf *out, struct fault *f)
{
	size_t left = max_tokens;

	for (unsigned i = 0; i < found->n; i++) {
		const struct body *b = found->hits[i].engram.body;
		struct packed p;
		size_t need;
		enum err e = packed_read(a, b, &p, f);

		if (e)
			return e;
		need = (b->record.id_bytes + p.content.len + 4 + 3) / 4;
		if (need > left)
			continue;
		left -= need;
		buf_putc(out, '[');
		buf_add(out, body_id(b), b->record.id_bytes);
		buf_puts(out, "] ");
		buf_add(out, p.content.at, p.content.len);
		buf_putc(out, '\n');
	}
	return EG_E_OK;
}
