/* The writer's side of the lanes, see the header. */
#include "wal/lanes.h"

#include <string.h>

#include "common/clock.h"
#include "common/fault.h"
#include "common/log.h"
#include "wal/lane.h"
#include "wal/logged.h"

void lanes_open(struct lanes *l, struct desks *d)
{
	memset(l, 0, sizeof *l);
	l->desks = d;
	for (unsigned k = EG_DESK_FIRST; k < d->n; k++)
		for (unsigned i = 0; i < d->lanes; i++) {
			struct lane_answers *a = desk_answers(d, k, i);

			l->readers[k][i].at = atomic_load(&a->tail);
			l->readers[k][i].next_seq = atomic_load(&a->done_seq) + 1;
		}
}

/* A lane whose bytes make no sense: its process is broken. What it published is
 * dropped (nobody was answered), the rest of the family goes on. */
static void give_up(struct lanes *l, unsigned desk, unsigned lane, const char *why)
{
	struct lane_reader *r = &l->readers[desk][lane];

	LOG_ERROR("desk %u, lane %u: %s; %llu bytes are dropped", desk, lane, why,
	          (unsigned long long)(r->head - r->at));
	r->at = r->head;
}

/* The next entry of a lane, or NULL. Skips fillers. */
static const struct lane_entry *peek(struct lanes *l, unsigned desk, unsigned lane)
{
	struct lane_reader *r = &l->readers[desk][lane];
	const uint8_t *ring = desk_lane_ring(l->desks, desk, lane);
	size_t size = l->desks->lane_bytes;

	while (r->at < r->head) {
		size_t at = r->at & (size - 1);
		const struct lane_entry *e = (const struct lane_entry *)(const void *)(ring + at);
		uint32_t bytes = e->bytes;

		if (bytes < sizeof *e || bytes % 64 != 0 || bytes > size - at || bytes > r->head - r->at) {
			give_up(l, desk, lane, "an entry of impossible length");
			return NULL;
		}
		if (e->magic == EG_LANE_FILLER) {
			r->at += bytes;
			continue;
		}
		if (e->magic == EG_LANE_MAGIC && e->seq == r->next_seq && e->n_ops >= 1
		    && e->n_ops <= EG_LANE_RESULTS / 2)
			return e;
		give_up(l, desk, lane, "an entry out of sequence");
	}
	return NULL;
}

/* Records about spaces are alone in their round. */
static bool is_solo(const struct lane_entry *e)
{
	const struct record *r = (const struct record *)(const void *)
		((const uint8_t *)e + sizeof *e + sizeof(struct lane_op));

	return e->bytes >= sizeof *e + sizeof(struct lane_op) + sizeof *r
	       && (r->type == EG_RECORD_SPACE_PUT || r->type == EG_RECORD_SPACE_DELETE);
}

static const struct lane_entry *oldest(struct lanes *l, uint64_t now, unsigned *desk, unsigned *lane)
{
	const struct lane_entry *best = NULL;

	for (unsigned k = EG_DESK_FIRST; k < l->desks->n; k++)
		for (unsigned i = 0; i < l->desks->lanes; i++) {
			const struct lane_entry *e;

			if (l->readers[k][i].at == l->readers[k][i].head)
				continue;
			e = peek(l, k, i);
			if (e == NULL || e->stamp_ns > now || (best != NULL && e->stamp_ns >= best->stamp_ns))
				continue;
			best = e;
			*desk = k;
			*lane = i;
		}
	return best;
}

static void take(struct lanes *l, struct round *round, const struct lane_entry *from, unsigned desk, unsigned lane)
{
	struct lane_reader *r = &l->readers[desk][lane];
	struct entry *e = round_add_entry(round);

	e->desk = desk;
	e->lane = lane;
	e->seq = from->seq;
	e->first_result = from->first_result;
	e->stamp_ns = from->stamp_ns;
	e->data = (const uint8_t *)from;
	e->bytes = from->bytes;
	e->n_ops = from->n_ops;
	e->flags = from->flags;
	e->producer = logged_producer(desk, atomic_load(&desk_header(l->desks, desk)->incarnation));
	r->at += e->bytes;
	r->next_seq++;
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
		l->solo = is_solo(e);
		if (l->solo && round->n_entries > 0)
			break;
		l->bytes += e->bytes;
		take(l, round, e, desk, lane);
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
		for (unsigned i = 0; i < l->desks->lanes; i++)
			if (atomic_load_explicit(desk_lane_head(l->desks, k, i), memory_order_acquire)
			    != l->readers[k][i].at)
				return true;
	return false;
}

bool lanes_drained(const struct lanes *l, unsigned desk)
{
	for (unsigned i = 0; i < l->desks->lanes; i++) {
		uint64_t head = atomic_load_explicit(desk_lane_head(l->desks, desk, i), memory_order_acquire);

		if (head != l->readers[desk][i].at || atomic_load(&desk_answers(l->desks, desk, i)->tail) != head)
			return false;
	}
	return true;
}
