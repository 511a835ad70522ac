/* Loading: the rows and spaces of a checkpoint, and the frame that they need, see load.h. */
#include <stdlib.h>
#include <string.h>

#include "common/fault.h"
#include "shm/node_write.h"
#include "shm/slot_write.h"
#include "shm/space_write.h"
#include "wal/load_parts.h"

static enum err damaged(const struct load *l, const char *what, uint64_t number, struct fault *f)
{
	return err_set(f, EG_E_VALIDATION, NULL, NULL, "checkpoint %llu: %s %llu",
	               (unsigned long long)l->c.header.id, what, (unsigned long long)number);
}

static enum err load_space(struct load *l, const struct checkpoint_space *from, struct fault *f)
{
	struct space_terms t = { .id = from->id, .id_bytes = strnlen(from->id, sizeof from->id),
		.source = (enum vector_source)(from->vectors >> 32), .dimension = (uint32_t)from->vectors,
		.settings = from->settings, .quota_memories = from->quota_memories, .quota_bytes = from->quota_bytes };
	enum err e;

	if (t.id_bytes > EG_SPACE_ID_MAX || t.dimension > EG_DIM_MAX || from->state > EG_SPACE_DELETED)
		return damaged(l, "no such space can be,", from->number, f);
	e = space_reserve(l->w, from->number, f);
	if (e != EG_E_OK)
		return e;
	if (from->state == EG_SPACE_NONE) {
		space_unreserve(l->w, from->number);   /* a number that is never used */
		return EG_E_OK;
	}
	space_publish(l->w, from->number, &t, from->created_us, from->lsn);
	if (from->state == EG_SPACE_DELETED)
		space_unpublish(l->w, from->number, from->lsn);
	return EG_E_OK;
}

enum err load_spaces(struct load *l, struct fault *f)
{
	void *buf = aligned_alloc(64, EG_EXTENT_BYTES_MAX);
	enum err e = EG_E_OK;

	EG_ASSERT(buf != NULL);
	for (uint32_t i = 0; i < l->c.n_refs && e == EG_E_OK; i++) {
		const void *entries;

		if (l->c.refs[i].kind != EG_EXTENT_SPACES)
			continue;
		e = checkpoint_read(&l->c, &l->c.refs[i], buf, &entries, f);
		for (uint32_t k = 0; k < l->c.refs[i].n && e == EG_E_OK; k++)
			e = load_space(l, (const struct checkpoint_space *)entries + k, f);
		atomic_fetch_add(&l->bytes, l->c.refs[i].bytes);
	}
	free(buf);
	FAULT(LOAD_SPACES);
	return e;
}

/* Which extents there are, and the room for their rows. */
static void size_up(struct load *l)
{
	const unsigned covers = extent_entries(EG_EXTENT_ROWS);

	for (uint32_t i = 0; i < l->c.n_refs; i++) {
		const struct extent_ref *ref = &l->c.refs[i];

		if (ref->kind != EG_EXTENT_ROWS)
			continue;
		l->n += ref->n;
		if (ref->first / covers >= l->n_extents)
			l->n_extents = (uint32_t)(ref->first / covers) + 1;
	}
	l->rows = malloc((l->n + 1) * sizeof *l->rows);
	l->loaded = calloc(l->n + 1, sizeof *l->loaded);
	l->order = malloc((l->n + 1) * sizeof *l->order);
	l->generations = calloc(l->n_extents + 1u, sizeof *l->generations);
	l->live = calloc((size_t)l->n_extents * covers + 1, 1);
	EG_ASSERT(l->rows && l->loaded && l->order && l->generations && l->live);
}

static void by_digit(const struct load_lsn *from, struct load_lsn *to, uint64_t n, uint64_t least, unsigned shift)
{
	uint64_t at[2049] = { 0 };

	for (uint64_t i = 0; i < n; i++)
		at[((from[i].lsn - least) >> shift & 2047) + 1]++;
	for (unsigned k = 1; k < 2048; k++)
		at[k] += at[k - 1];
	for (uint64_t i = 0; i < n; i++)
		to[at[(from[i].lsn - least) >> shift & 2047]++] = from[i];
}

/* Rows by LSN: mostly they are in order already; else 11 bits at a time. */
static void sort_rows(struct load *l)
{
	struct load_lsn *other, *swap;
	uint64_t least = UINT64_MAX, most = 0;
	bool sorted = true;

	for (uint64_t i = 0; i < l->n; i++) {
		uint64_t lsn = l->rows[i].lsn;

		l->order[i] = (struct load_lsn){ lsn, (uint32_t)i };
		sorted = sorted && lsn >= most;
		least = lsn < least ? lsn : least;
		most = lsn > most ? lsn : most;
	}
	if (sorted)
		return;
	other = malloc((l->n + 1) * sizeof *other);
	EG_ASSERT(other != NULL);
	for (unsigned shift = 0; shift < 64 && (most - least) >> shift != 0; shift += 11) {
		by_digit(l->order, other, l->n, least, shift);
		swap = l->order;
		l->order = other;
		other = swap;
	}
	free(other);
}

enum err load_rows(struct load *l, struct fault *f)
{
	void *buf = aligned_alloc(64, EG_EXTENT_BYTES_MAX);
	uint64_t at = 0;
	enum err e = EG_E_OK;

	EG_ASSERT(buf != NULL);
	size_up(l);
	for (uint32_t i = 0; i < l->c.n_refs && e == EG_E_OK; i++) {
		const struct extent_ref *ref = &l->c.refs[i];
		const void *entries;

		if (ref->kind != EG_EXTENT_ROWS)
			continue;
		e = checkpoint_read(&l->c, ref, buf, &entries, f);
		if (e != EG_E_OK)
			break;
		memcpy(l->rows + at, entries, ref->n * sizeof *l->rows);
		at += ref->n;
		l->generations[ref->first / extent_entries(EG_EXTENT_ROWS)] = ref->generation;
		atomic_fetch_add(&l->bytes, ref->bytes);
		desk_beat(l->w->desks);
	}
	free(buf);
	if (e == EG_E_OK)
		sort_rows(l);
	FAULT(LOAD_ROWS);
	return e;
}

/* ---- the frame ------------------------------------------------------------------- */

#define EG_GROW_STEP (UINT64_C(32) << 20)

/* Making hundreds of megabytes takes longer than a heartbeat may: step by step. */
static enum err grow(struct load *l, struct region *r, uint64_t bytes, struct fault *f)
{
	enum err e = EG_E_OK;

	while (e == EG_E_OK && region_grown(r) < bytes) {
		uint64_t step = region_grown(r) + EG_GROW_STEP;

		e = region_grow(r, step < bytes ? step : bytes, f);
		desk_beat(l->w->desks);
	}
	return e;
}

static enum err slots_exist(struct load *l, struct fault *f)
{
	uint32_t chunks = l->n_extents * (extent_entries(EG_EXTENT_ROWS) / EG_CHUNK);
	enum err e = grow(l, &l->w->store.slot, (uint64_t)chunks * sizeof(struct slot_chunk), f);

	if (e != EG_E_OK)
		return e;
	for (uint32_t c = 0; c < chunks; c++) {
		struct slot_chunk *chunk = slot_chunk_for_write(l->w, c);

		atomic_store(&chunk->space, EG_NONE);
		atomic_store(&chunk->next, EG_NONE);
	}
	atomic_store(&store_root(l->w)->n_slot_chunks, chunks);
	return EG_E_OK;
}

static enum err nodes_exist(struct load *l, unsigned class_, uint32_t chunks, struct fault *f)
{
	enum err e = store_make_class(l->w, class_, f);

	if (e == EG_E_OK)
		e = grow(l, &l->w->store.node[class_], (uint64_t)chunks * sizeof(struct node_chunk), f);
	if (e == EG_E_OK)
		e = grow(l, &l->w->store.vec[class_], (uint64_t)chunks * EG_CHUNK * node_stride(class_) * sizeof(float), f);
	for (uint32_t c = 0; c < chunks && e == EG_E_OK; c++) {
		struct node_chunk *chunk = node_chunk_for_write(l->w, class_, c);

		atomic_store(&chunk->space, EG_NONE);
		atomic_store(&chunk->next, EG_NONE);
		for (unsigned i = 0; i < EG_CHUNK; i++)
			atomic_store_explicit(&chunk->owner[i], EG_NODE_FREE, memory_order_relaxed);
		if (c % 65536 == 0)
			desk_beat(l->w->desks);
	}
	atomic_store(&store_root(l->w)->n_node_chunks[class_], chunks);
	return e;
}

/* Two rows name one node when it was given away during the dump: the one with the lower
 * LSN gets the first node of a new chunk, which can be of any space. */
static void part_nodes(struct load *l, uint64_t nodes[EG_CLASSES])
{
	uint64_t known[EG_CLASSES];

	for (unsigned k = 0; k < EG_CLASSES; k++) {
		known[k] = nodes[k];
		l->taken[k] = nodes[k] ? calloc(1, nodes[k]) : NULL;
		EG_ASSERT(nodes[k] == 0 || l->taken[k] != NULL);
	}
	for (uint64_t i = l->n; i-- > 0;) {
		struct checkpoint_row *row = &l->rows[l->order[i].row];

		if (row->class_ == EG_NONE || l->taken[row->class_][row->node]++ == 0)
			continue;
		l->taken[row->class_][row->node] = 1;
		l->report->parted++;
		row->node = (uint32_t)nodes[row->class_];
		nodes[row->class_] += EG_CHUNK;
	}
	for (unsigned k = 0; k < EG_CLASSES; k++) {
		if (nodes[k] == known[k])
			continue;
		l->taken[k] = realloc(l->taken[k], nodes[k]);
		EG_ASSERT(l->taken[k] != NULL);
		memset(l->taken[k] + known[k], 0, nodes[k] - known[k]);
		for (uint64_t node = known[k]; node < nodes[k]; node += EG_CHUNK)
			l->taken[k][node] = 1;
	}
}

enum err load_frame(struct load *l, struct fault *f)
{
	uint64_t nodes[EG_CLASSES] = { 0 };
	enum err e;

	for (uint64_t i = 0; i < l->n; i++) {
		const struct checkpoint_row *row = &l->rows[i];

		if (row->class_ == EG_NONE)
			continue;
		if (row->class_ >= EG_CLASSES || row->node / EG_CHUNK > EG_LINK_MASK)
			return damaged(l, "no such node can be, that of slot", row->slot, f);
		if (row->node >= nodes[row->class_])
			nodes[row->class_] = (row->node / EG_CHUNK + UINT64_C(1)) * EG_CHUNK;
	}
	part_nodes(l, nodes);
	e = slots_exist(l, f);
	for (unsigned k = 0; k < EG_CLASSES && e == EG_E_OK; k++)
		if (nodes[k] > 0)
			e = nodes_exist(l, k, (uint32_t)(nodes[k] / EG_CHUNK), f);
	FAULT(LOAD_FRAME);
	return e;
}
