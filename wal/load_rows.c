/* Loading: the rows and spaces of a checkpoint, and the frame that they need, see load.h. */
#include <stdlib.h>
#include <string.h>

#include "common/fault.h"
#include "shm/node_write.h"
#include "shm/slot_write.h"
#include "shm/space_write.h"
#include "wal/load_fill.h"
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

void load_size_up(struct load *l)
{
	const unsigned covers = extent_entries(EG_EXTENT_ROWS);

	l->row_at = malloc((l->c.n_refs + 1u) * sizeof *l->row_at);
	EG_ASSERT(l->row_at != NULL);
	for (uint32_t i = 0; i < l->c.n_refs; i++) {
		const struct extent_ref *ref = &l->c.refs[i];

		l->row_at[i] = l->n;
		if (ref->kind != EG_EXTENT_ROWS)
			continue;
		l->n += ref->n;
		if (ref->first / covers >= l->n_extents)
			l->n_extents = (uint32_t)(ref->first / covers) + 1;
	}
	l->rows = load_room(l, l->n, sizeof *l->rows);
	l->loaded = load_room(l, l->n, sizeof *l->loaded);
	l->order = load_room(l, l->n, sizeof *l->order);
	l->live = load_room(l, (uint64_t)l->n_extents * covers, 1);
	l->generations = calloc(l->n_extents + 1u, sizeof *l->generations);
	EG_ASSERT(l->generations != NULL);
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

/* By LSN: mostly they are in order already; else 11 bits at a time. */
void load_sort(struct load *l)
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
	other = load_room(l, l->n, sizeof *other);
	for (unsigned shift = 0; shift < 64 && (most - least) >> shift != 0; shift += 11) {
		by_digit(l->order, other, l->n, least, shift);
		swap = l->order;
		l->order = other;
		other = swap;
	}
}

static enum err load_extent(struct load *l, uint32_t i, void *buf, struct fault *f)
{
	const struct extent_ref *ref = &l->c.refs[i];
	const void *entries;
	enum err e = checkpoint_read(&l->c, ref, buf, &entries, f);

	if (e != EG_E_OK)
		return e;
	memcpy(l->rows + l->row_at[i], entries, ref->n * sizeof *l->rows);
	l->generations[ref->first / extent_entries(EG_EXTENT_ROWS)] = ref->generation;
	atomic_fetch_add(&l->bytes, ref->bytes);
	desk_beat(l->w->desks);
	return EG_E_OK;
}

void load_rows(struct load *l)
{
	void *buf = aligned_alloc(64, EG_EXTENT_BYTES_MAX);
	struct fault f;
	unsigned i;

	EG_ASSERT(buf != NULL);
	while (!atomic_load(&l->failed) && (i = atomic_fetch_add(&l->next, 1)) < l->c.n_refs)
		if (l->c.refs[i].kind == EG_EXTENT_ROWS && load_extent(l, i, buf, &f) != EG_E_OK)
			load_fail(l, &f);
	free(buf);
}

/* ---- the frame ------------------------------------------------------------------- */

static uint32_t chunks_of_slots(const struct load *l)
{
	return l->n_extents * (extent_entries(EG_EXTENT_ROWS) / EG_CHUNK);
}

static void slots_exist(struct load *l)
{
	for (uint32_t c = 0; c < chunks_of_slots(l); c++) {
		struct slot_chunk *chunk = slot_chunk_for_write(l->w, c);

		atomic_store_explicit(&chunk->space, EG_NONE, memory_order_relaxed);
		atomic_store_explicit(&chunk->next, EG_NONE, memory_order_relaxed);
	}
	atomic_store(&store_root(l->w)->n_slot_chunks, chunks_of_slots(l));
}

static enum err add_nodes(struct load *l, struct filler *fill, unsigned class_, uint64_t nodes, struct fault *f)
{
	uint64_t vector = (uint64_t)node_stride(class_) * sizeof(float);
	enum err e = store_make_class(l->w, class_, f);

	if (e == EG_E_OK)
		e = fill_add(fill, &l->w->store.node[class_], nodes / EG_CHUNK * sizeof(struct node_chunk), f);
	if (e == EG_E_OK)
		e = fill_add(fill, &l->w->store.vec[class_], nodes * vector, f);
	return e;
}

static void nodes_exist(struct load *l, unsigned class_, uint32_t chunks)
{
	for (uint32_t c = 0; c < chunks; c++) {
		struct node_chunk *chunk = node_chunk_for_write(l->w, class_, c);

		atomic_store_explicit(&chunk->space, EG_NONE, memory_order_relaxed);
		atomic_store_explicit(&chunk->next, EG_NONE, memory_order_relaxed);
		for (unsigned i = 0; i < EG_CHUNK; i++)
			atomic_store_explicit(&chunk->owner[i], EG_NODE_FREE, memory_order_relaxed);
		if (c % 65536 == 0)
			desk_beat(l->w->desks);
	}
	atomic_store(&store_root(l->w)->n_node_chunks[class_], chunks);
}

/* Two rows name one node when it was given away during the dump: the one with the lower
 * LSN gets the first node of a new chunk, which can be of any space. */
static void part_nodes(struct load *l, uint64_t nodes[EG_CLASSES])
{
	uint64_t known[EG_CLASSES];
	uint8_t *taken;

	for (unsigned k = 0; k < EG_CLASSES; k++) {
		known[k] = nodes[k];
		l->taken[k] = nodes[k] > 0 ? load_room(l, nodes[k], 1) : NULL;
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
		taken = load_room(l, nodes[k], 1);
		memcpy(taken, l->taken[k], known[k]);
		l->taken[k] = taken;
		for (uint64_t node = known[k]; node < nodes[k]; node += EG_CHUNK)
			l->taken[k][node] = 1;
	}
}

/* What the bodies of rows and tail will take, about: the log's bytes for a record, less its
 * vector, with the body's own words and those of the id table; a sixteenth more, as blocks are
 * of certain sizes only. */
static uint64_t heap_bytes(const struct load *l, uint64_t more)
{
	const uint64_t words = sizeof(struct body) - sizeof(struct record) + 4 * sizeof(uint64_t);
	uint64_t vectors = 0, each;

	for (uint64_t i = 0; i < l->n; i++)
		if (l->rows[i].class_ != EG_NONE)
			vectors += (uint64_t)node_stride(l->rows[i].class_) * sizeof(float);
	each = l->n > 0 ? vectors / l->n : 0;
	return l->record_bytes > each ? (l->n + more) * (l->record_bytes - each + words) / 16 * 17 : 0;
}

static enum err count_nodes(const struct load *l, uint64_t nodes[EG_CLASSES], struct fault *f)
{
	for (uint64_t i = 0; i < l->n; i++) {
		const struct checkpoint_row *row = &l->rows[i];

		if (row->class_ == EG_NONE)
			continue;
		if (row->class_ >= EG_CLASSES || row->node / EG_CHUNK > EG_LINK_MASK)
			return damaged(l, "no such node can be, that of slot", row->slot, f);
		if (row->node >= nodes[row->class_])
			nodes[row->class_] = (row->node / EG_CHUNK + UINT64_C(1)) * EG_CHUNK;
	}
	return EG_E_OK;
}

/* Room for the rows and for `more` memories that the log may bring, of the class that most have. */
static enum err fill_frame(struct load *l, const uint64_t nodes[EG_CLASSES], uint64_t more, struct fault *f)
{
	struct filler fill;
	unsigned most = 0;
	enum err e;

	for (unsigned k = 1; k < EG_CLASSES; k++)
		most = nodes[k] > nodes[most] ? k : most;
	fill_begin(&fill, l->w->desks, l->threads - 1);
	e = fill_add(&fill, &l->w->store.slot, (chunks_of_slots(l) + more / EG_CHUNK) * sizeof(struct slot_chunk), f);
	if (e == EG_E_OK && heap_bytes(l, more) > region_grown(&l->w->store.heap))
		e = fill_add(&fill, &l->w->store.heap, heap_bytes(l, more), f);
	for (unsigned k = 0; k < EG_CLASSES && e == EG_E_OK; k++)
		if (nodes[k] > 0)
			e = add_nodes(l, &fill, k, nodes[k] + (k == most ? more / EG_CHUNK * EG_CHUNK : 0), f);
	return fill_end(&fill, e, f);
}

enum err load_frame(struct load *l, struct fault *f)
{
	uint64_t nodes[EG_CLASSES] = { 0 };
	enum err e = count_nodes(l, nodes, f);

	if (e != EG_E_OK)
		return e;
	part_nodes(l, nodes);
	e = fill_frame(l, nodes, l->tail, f);
	if (e == EG_E_NO_STORAGE)          /* what replaces or deletes needs none */
		e = fill_frame(l, nodes, 0, f);
	if (e != EG_E_OK)
		return e;
	slots_exist(l);
	for (unsigned k = 0; k < EG_CLASSES; k++)
		if (nodes[k] > 0)
			nodes_exist(l, k, (uint32_t)(nodes[k] / EG_CHUNK));
	FAULT(LOAD_FRAME);
	return e;
}
