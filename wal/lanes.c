/* The writer's side of the lanes, see the header. */
#include "wal/lanes.h"

#include <stddef.h>
#include <string.h>

#include "common/clock.h"
#include "common/fault.h"
#include "common/log.h"
#include "wal/lane.h"
#include "wal/logged.h"

#define EG_STAMP_AHEAD_NS UINT64_C(1000000000)  /* no clock of this machine is that far ahead */

/* Copy the entry's head at that place; NULL, or what is wrong with its length. At
 * the lane's head (nothing there) the copy is all zeros. */
static const char *entry_at(const struct lanes *l, unsigned desk, unsigned lane, uint64_t at,
                            struct lane_entry *e)
{
	size_t size = l->desks->lane_bytes, place = at & (size - 1);
	uint64_t left = l->readers[desk][lane].head - at;

	memset(e, 0, sizeof *e);
	if (left == 0)
		return NULL;
	if (left < sizeof *e || left > size || at % 64 != 0)
		return "an entry of impossible length";
	memcpy(e, desk_lane_ring(l->desks, desk, lane) + place, sizeof *e);
	if (e->bytes < sizeof *e || e->bytes % 64 != 0 || e->bytes > size - place || e->bytes > left)
		return "an entry of impossible length";
	return NULL;
}

/* An entry that its sender may have seen answered already: the last writer died
 * between the answer's words. Its tail is moved on here. */
static void pass_answered(struct lanes *l, unsigned desk, unsigned lane)
{
	struct lane_answers *a = desk_answers(l->desks, desk, lane);
	struct lane_reader *r = &l->readers[desk][lane];
	struct lane_entry e;
	uint64_t at = r->at;
	const char *why;

	r->head = r->resume;
	while ((why = entry_at(l, desk, lane, at, &e)) == NULL && e.magic == EG_LANE_FILLER)
		at += e.bytes;
	if (why != NULL || e.magic != EG_LANE_MAGIC || e.seq + 1 != r->next_seq)
		return;
	r->at = at + e.bytes;
	atomic_store_explicit(&a->tail, r->at, memory_order_release);
}

void lanes_open(struct lanes *l, struct desks *d)
{
	memset(l, 0, sizeof *l);
	l->desks = d;
	for (unsigned k = EG_DESK_FIRST; k < d->n; k++)
		for (unsigned i = 0; i < d->lanes; i++) {
			struct lane_answers *a = desk_answers(d, k, i);
			struct lane_reader *r = &l->readers[k][i];

			r->at = atomic_load(&a->tail);
			r->next_seq = atomic_load(&a->done_seq) + 1;
			r->resume = atomic_load_explicit(desk_lane_head(d, k, i), memory_order_acquire);
			pass_answered(l, k, i);
		}
}

/* A lane whose bytes make no sense: its process is broken. What it published is
 * dropped (nobody was answered) and nothing more is taken from it; the rest of the
 * family goes on. */
static void give_up(struct lanes *l, unsigned desk, unsigned lane, const char *why)
{
	struct lane_reader *r = &l->readers[desk][lane];

	LOG_ERROR("desk %u, lane %u: %s; %llu bytes are dropped, and its process is not served any more",
	          desk, lane, why, (unsigned long long)(r->head - r->at));
	r->broken = true;
}

/* Records about spaces are alone in their round. */
static bool is_solo(const struct lane_entry *e, const uint8_t *from)
{
	uint8_t type;

	if (e->bytes < sizeof *e + sizeof(struct lane_op) + sizeof(struct record))
		return false;
	memcpy(&type, from + sizeof *e + sizeof(struct lane_op) + offsetof(struct record, type), 1);
	return type == EG_RECORD_SPACE_PUT || type == EG_RECORD_SPACE_DELETE;
}

/* The next entry of a lane, or NULL. Its head is copied once, then checked, and the
 * copy alone is believed: the ring belongs to another process. Skips fillers. */
static const struct lane_entry *peek(struct lanes *l, unsigned desk, unsigned lane, uint64_t now)
{
	struct lane_reader *r = &l->readers[desk][lane];
	const char *why;

	if (r->peeked)
		return &r->entry;
	if (r->broken || r->at == r->head)
		return NULL;
	if (r->head - r->at > l->desks->lane_bytes) {
		give_up(l, desk, lane, "more published than a lane holds");
		return NULL;
	}
	while ((why = entry_at(l, desk, lane, r->at, &r->entry)) == NULL && r->entry.magic == EG_LANE_FILLER)
		r->at += r->entry.bytes;
	if (why == NULL && r->at < r->head) {
		if (r->entry.magic != EG_LANE_MAGIC || r->entry.seq != r->next_seq)
			why = "an entry out of sequence";
		else if (r->entry.n_ops < 1 || r->entry.n_ops > EG_LANE_RESULTS / 2)
			why = "an entry of impossible length";
		else if (r->entry.stamp_ns > now + EG_STAMP_AHEAD_NS)
			why = "an entry from the future";
	}
	if (why != NULL)
		give_up(l, desk, lane, why);
	if (why != NULL || r->at == r->head)
		return NULL;
	r->peeked = true;
	r->solo = is_solo(&r->entry, desk_lane_ring(l->desks, desk, lane) + (r->at & (l->desks->lane_bytes - 1)));
	return &r->entry;
}

static const struct lane_entry *oldest(struct lanes *l, uint64_t now, unsigned *desk, unsigned *lane)
{
	const struct lane_entry *best = NULL;

	for (unsigned k = EG_DESK_FIRST; k < l->desks->n; k++)
		for (unsigned i = 0; i < l->desks->lanes; i++) {
			const struct lane_entry *e = peek(l, k, i, now);

			if (e == NULL || e->stamp_ns > now || (best != NULL && e->stamp_ns >= best->stamp_ns))
				continue;
			best = e;
			*desk = k;
			*lane = i;
		}
	return best;
}

static void take(struct lanes *l, struct round *round, unsigned desk, unsigned lane)
{
	struct lane_reader *r = &l->readers[desk][lane];
	struct entry *e = round_add_entry(round);

	e->desk = desk;
	e->lane = lane;
	e->seq = r->entry.seq;
	e->first_result = r->entry.first_result;
	e->stamp_ns = r->entry.stamp_ns;
	e->data = desk_lane_ring(l->desks, desk, lane) + (r->at & (l->desks->lane_bytes - 1));
	e->bytes = r->entry.bytes;
	e->n_ops = r->entry.n_ops;
	e->flags = r->entry.flags;
	e->solo = r->solo;
	e->producer = logged_producer(desk, atomic_load(&desk_header(l->desks, desk)->incarnation));
	r->at += e->bytes;
	r->next_seq++;
	r->peeked = false;
	e->end = r->at;
	FAULT(LANE_TAKEN);
}

unsigned lanes_gather(struct lanes *l, struct round *round)
{
	uint64_t now = (uint64_t)clock_mono_ns();
	const struct lane_entry *e;
	unsigned desk = 0, lane = 0;

	for (unsigned k = EG_DESK_FIRST; k < l->desks->n; k++)
		for (unsigned i = 0; i < l->desks->lanes; i++)
			l->readers[k][i].head =
				atomic_load_explicit(desk_lane_head(l->desks, k, i), memory_order_acquire);
	while (!lanes_full(l, round) && (e = oldest(l, now, &desk, &lane)) != NULL) {
		l->solo = l->readers[desk][lane].solo;
		if (l->solo && round->n_entries > 0)
			break;
		l->bytes += e->bytes;
		take(l, round, desk, lane);
	}
	return round->n_entries;
}

void lanes_begin(struct lanes *l)
{
	l->bytes = 0;
	l->solo = false;
}

bool lanes_full(const struct lanes *l, const struct round *r)
{
	return l->solo || r->n_entries == EG_ROUND_ENTRIES || l->bytes >= EG_ROUND_BYTES;
}

bool lanes_pending(const struct lanes *l)
{
	for (unsigned k = EG_DESK_FIRST; k < l->desks->n; k++)
		for (unsigned i = 0; i < l->desks->lanes; i++) {
			const struct lane_reader *r = &l->readers[k][i];

			if (!r->broken
			    && atomic_load_explicit(desk_lane_head(l->desks, k, i), memory_order_acquire) != r->at)
				return true;
		}
	return false;
}

bool lanes_resumed(const struct lanes *l)
{
	for (unsigned k = EG_DESK_FIRST; k < l->desks->n; k++)
		for (unsigned i = 0; i < l->desks->lanes; i++) {
			const struct lane_reader *r = &l->readers[k][i];

			/* Positions only rise; what is at or behind `resume` is the last writer's. */
			if (!r->broken && (int64_t)(r->resume - atomic_load(&desk_answers(l->desks, k, i)->tail)) > 0)
				return false;
		}
	return true;
}

/* A broken lane's process is dead: its next owner begins behind what was dropped. */
static void mend(struct lanes *l, unsigned desk, unsigned lane, uint64_t head)
{
	struct lane_answers *a = desk_answers(l->desks, desk, lane);
	struct lane_reader *r = &l->readers[desk][lane];

	if (head % 64 != 0 || atomic_load(&a->done_seq) + 1 != r->next_seq)
		return;
	r->at = head;
	r->broken = r->peeked = false;
	atomic_store_explicit(&a->tail, head, memory_order_release);
}

bool lanes_drain(struct lanes *l, unsigned desk)
{
	for (unsigned i = 0; i < l->desks->lanes; i++) {
		uint64_t head = atomic_load_explicit(desk_lane_head(l->desks, desk, i), memory_order_acquire);

		if (l->readers[desk][i].broken)
			mend(l, desk, i, head);
		if (head != l->readers[desk][i].at || atomic_load(&desk_answers(l->desks, desk, i)->tail) != head)
			return false;
	}
	return true;
}
