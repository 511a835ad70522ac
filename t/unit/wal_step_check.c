/* The deep check of a kill: what readers see at that instruction, whether the ordinary
 * recovery accepts it, and whether afterwards every slot, node, chunk, heap block and
 * id word has exactly one place. It walks the store by itself and trusts no count.
 *
 * It runs in a fork of the watcher. The store's regions are mapped as private copies
 * (wal_step_copies.c), so repair writes nothing that the stopped writer would see.
 */
#include "t/unit/wal_step.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "shm/graph_write.h"
#include "shm/ids.h"
#include "shm/node_write.h"
#include "shm/reclaim_write.h"
#include "shm/repair_write.h"
#include "shm/slot_write.h"
#include "shm/space_write.h"
#include "shm/store_names.h"
#include "t/unit/wal_step_model.h"
#include "wal/submit.h"

/* ---- findings ---- */

struct check { struct step_world *x; struct step_verdict *v; const char *when; };

__attribute__((format(printf, 3, 4)))
static void found(struct check *c, uint32_t *kind, const char *fmt, ...)
{
	char what[300];
	va_list args;

	if ((*kind)++ > 0 || *c->v->why != '\0')
		return;
	va_start(args, fmt);
	vsnprintf(what, sizeof what, fmt, args);
	va_end(args);
	snprintf(c->v->why, sizeof c->v->why, "%s: %s", c->when, what);
}

#define CORRUPT(...) found(c, &c->v->corrupt, __VA_ARGS__)
#define LEAKED(...) found(c, &c->v->leaked, __VA_ARGS__)

/* ---- what readers see ---- */

static bool is_version(const struct store *s, const struct body *b, const struct record *r)
{
	size_t vector = record_vector_bytes(r->dim);

	if (b->magic != EG_BODY_MAGIC || memcmp(&b->record, r, sizeof *r) != 0
	    || b->bytes != r->bytes - vector + offsetof(struct body, record))
		return false;
	if (memcmp(b + 1, (const uint8_t *)(r + 1) + vector, b->bytes - sizeof *b) != 0)
		return false;
	return r->dim == 0 || memcmp(node_vector(s, b), record_vector(r), r->dim * sizeof(float)) == 0;
}

struct sight { const struct store *s; const struct model *old, *new; };

/* Old or new, nothing else. */
static void look_at(struct check *c, const struct sight *o, const struct space *sp, uint32_t id)
{
	const struct record *old = model_get(o->old, sp->number, id), *new = model_get(o->new, sp->number, id);
	struct engram e;
	char name[24];

	world_id(name, id);
	if (!slot_find(o->s, sp, name, strlen(name), &e)) {
		if (old != NULL && new != NULL)
			CORRUPT("%s of space %u is not found", name, sp->number);
	} else if (!(old != NULL && is_version(o->s, e.body, old)) && !(new != NULL && is_version(o->s, e.body, new))) {
		CORRUPT("%s of space %u is neither old nor new", name, sp->number);
	} else if (!step_graph_finds(o->s, sp, e.body)) {
		CORRUPT("%s of space %u is not found by a search", name, sp->number);
	}
}

static void walk(struct check *c, const struct sight *o, const struct space *sp)
{
	uint8_t met[MODEL_IDS] = { 0 };
	struct slot_walk walk;
	struct node_walk nodes;
	struct node_span span;
	struct engram e;
	unsigned id;

	slot_walk(o->s, sp, &walk);
	while (slot_next(&walk, &e)) {
		char name[32] = "";

		memcpy(name, body_id(e.body), e.body->record.id_bytes < 31 ? e.body->record.id_bytes : 31);
		if (sscanf(name, "memory-%u", &id) != 1 || id >= MODEL_IDS || met[id]++)
			CORRUPT("a walk of space %u meets %s twice, or nothing known", sp->number, name);
		else if (model_get(o->old, sp->number, id) == NULL && model_get(o->new, sp->number, id) == NULL)
			CORRUPT("a walk of space %u meets %s, which is in neither state", sp->number, name);
	}
	for (id = 0; id < MODEL_IDS; id++)
		if (met[id] == 0 && model_get(o->old, sp->number, id) && model_get(o->new, sp->number, id))
			CORRUPT("a walk of space %u does not meet memory-%u", sp->number, id);
	node_walk(o->s, sp, &nodes);
	while (node_next(&nodes, &span))
		for (unsigned i = 0; i < EG_CHUNK; i++) {
			uint64_t owner = atomic_load(&span.owners[i]);

			if (owner != EG_NODE_FREE && slot_get(o->s, (uint32_t)(owner >> 32), (uint32_t)owner, &e)
			    && e.body->class_ == span.class_ && e.body->node == span.first + i
			    && !body_valid(o->s, e.body))
				CORRUPT("node %u is served with another's or half a vector", span.first + i);
		}
}

static void view(struct check *c, const struct store *s, const struct model *old, const struct model *new)
{
	const struct sight o = { s, old, new };

	for (uint32_t n = 0; n < MODEL_SPACES; n++) {
		const char *name = *new->space[n].name ? new->space[n].name : old->space[n].name;
		const struct space *sp;

		if (*name == '\0')
			continue;
		sp = space_find(s, name, strlen(name));
		if (sp == NULL) {
			if (old->space[n].live && new->space[n].live)
				CORRUPT("space %s is not found", name);
			continue;
		}
		if ((!old->space[n].live && !new->space[n].live) || sp->number != n)
			CORRUPT("space %s is found, as %u", name, sp->number);
		if (atomic_load(&sp->quota_memories) != old->space[n].quota
		    && atomic_load(&sp->quota_memories) != new->space[n].quota)
			CORRUPT("space %s has a quota of %llu", name, (unsigned long long)sp->quota_memories);
		for (uint32_t id = 0; id < c->x->s->ids_tried; id++)
			look_at(c, &o, sp, id);
		walk(c, &o, sp);
	}
}

static void held(struct check *c, const struct store *s)
{
	for (uint32_t i = 0; i < c->x->s->n_held; i++) {
		const struct step_held *h = &c->x->s->held[i];
		const uint8_t *vector = h->vector_bytes > 0 ? s->vec[h->class_].base + (uint64_t)h->node * h->vector_bytes : NULL;
		const struct slot_chunk *slots = region_at(&s->slot, h->slot / EG_CHUNK * sizeof *slots, sizeof *slots);
		uint64_t word = atomic_load(&slots->slots[h->slot % EG_CHUNK].word);

		if (word >> 8 != h->generation || ((word & 0xff) != EG_SLOT_LIVE && (word & 0xff) != EG_SLOT_RETIRED))
			CORRUPT("the slot that a reader looks at was given away under it");
		if (memcmp(region_at(&s->heap, h->body, h->bytes), h->copy, h->bytes) != 0)
			CORRUPT("the body that a reader looks at changed under it");
		if (vector != NULL && memcmp(vector, h->vector, h->vector_bytes) != 0)
			CORRUPT("the vector that a reader looks at changed under it");
	}
}

/* As another process sees it at this very instruction. */
static void reader(struct check *c, const struct model *old, const struct model *new)
{
	struct store s;
	struct fault f;

	c->when = "a reader";
	if (store_attach(&s, c->x->prefix, STEP_BOOT, &f) != EG_E_OK)
		return;
	for (unsigned k = 0; k < EG_CLASSES; k++)
		if (atomic_load(&s.root->grown[4 + 3 * k + 1]) > 0)
			(void)store_map_class(&s, k);
	held(c, &s);
	view(c, &s, old, new);
	store_detach(&s);
}

/* ---- everything has one place ---- */

static uint8_t *stack_marks(struct check *c, const struct stack32 *s, uint32_t n, const char *what)
{
	uint8_t *mark = calloc(1, n + 1u);

	EG_ASSERT(mark != NULL);
	for (uint32_t i = 0; i < s->n; i++)
		if (s->at[i] >= n || mark[s->at[i]]++)
			CORRUPT("free %s %u is twice in a list, or does not exist", what, s->at[i]);
	return mark;
}

struct blocks { uint8_t *unit; uint32_t chunks; uint64_t live; };

static void take(struct check *c, struct blocks *b, uint64_t offset, size_t bytes)
{
	uint64_t first = (offset - EG_HEAP_BASE) / 64, n = bytes / 64;

	if (offset < EG_HEAP_BASE || first + n > (uint64_t)b->chunks * (EG_HEAP_CHUNK / 64)) {
		CORRUPT("heap block %llu lies outside", (unsigned long long)offset);
		return;
	}
	for (uint64_t i = first; i < first + n; i++)
		if (b->unit[i]++)
			CORRUPT("heap block %llu overlaps another", (unsigned long long)offset);
}

static void one_slot(struct check *c, uint32_t number, uint32_t space, uint8_t *free_mark, struct blocks *blocks,
                     struct model_sums *sums)
{
	const struct slot *s = slot_for_write(&c->x->w, number);
	uint32_t state = (uint32_t)atomic_load(&s->word) & 0xff;
	const struct body *b;

	if (state == EG_SLOT_FREE) {
		if (!free_mark[number])
			LEAKED("free slot %u is in no list", number);
		return;
	}
	if (state != EG_SLOT_LIVE || free_mark[number]) {
		CORRUPT("slot %u has state %u%s", number, state, free_mark[number] ? " and is in a free list" : "");
		return;
	}
	b = region_at(&c->x->w.store.heap, atomic_load(&s->body), sizeof *b);
	if (!body_valid(&c->x->w.store, b) || b->record.space != space || b->slot != number)
		CORRUPT("slot %u has no valid body", number);
	take(c, blocks, atomic_load(&s->body), heap_block_bytes(b->bytes));
	blocks->live += heap_block_bytes(b->bytes);
	sums->memories++;
	sums->terms += b->record.length;
	sums->vectors += b->record.dim > 0;
	sums->raw_bytes += b->record.raw_bytes + b->record.dim * sizeof(float);
}

static void sums_agree(struct check *c, const struct space *sp, const struct model_sums *t)
{
	if (atomic_load(&sp->memories) != t->memories || atomic_load(&sp->terms) != t->terms
	    || atomic_load(&sp->raw_bytes) != t->raw_bytes || atomic_load(&sp->with_vector) != t->vectors)
		CORRUPT("counts of space %u: %llu memories, %llu words, %llu bytes, %llu vectors", sp->number,
		        (unsigned long long)sp->memories, (unsigned long long)sp->terms,
		        (unsigned long long)sp->raw_bytes, (unsigned long long)sp->with_vector);
}

static void slots(struct check *c, struct blocks *blocks, struct model_sums *all)
{
	struct store_writer *w = &c->x->w;
	uint32_t chunks = atomic_load(&store_root(w)->n_slot_chunks);
	uint8_t *where = stack_marks(c, &w->slot_chunks, chunks, "slot chunk");

	for (uint32_t n = 0; n < space_count(&w->store); n++) {
		struct space *sp = space_for_write(w, n);
		uint8_t *mark = stack_marks(c, &w->spaces[n].slots, chunks * EG_CHUNK, "slot");
		uint32_t in_list = 0;
		struct model_sums t = { 0 };

		for (uint32_t k = sp->slot_head; k != EG_NONE && !c->v->corrupt; k = slot_chunk_for_write(w, k)->next) {
			if (k >= chunks || where[k]++ || slot_chunk_for_write(w, k)->space != n) {
				CORRUPT("slot chunk %u is in two places, or not its space's", k);
				break;
			}
			for (uint32_t i = 0; i < EG_CHUNK; i++) {
				in_list += mark[k * EG_CHUNK + i];
				one_slot(c, k * EG_CHUNK + i, n, mark, blocks, &t);
			}
		}
		if (in_list != w->spaces[n].slots.n)
			CORRUPT("space %u has free slots of another's chunks", n);
		if (atomic_load(&sp->state) == EG_SPACE_LIVE)
			sums_agree(c, sp, &t);
		model_sums_add(all, &t);
		free(mark);
	}
	for (uint32_t k = 0; k < chunks; k++)
		if (!where[k])
			LEAKED("slot chunk %u is nowhere", k);
	free(where);
}

static void one_node(struct check *c, unsigned class_, uint32_t node, uint32_t space, const uint8_t *mark)
{
	struct store_writer *w = &c->x->w;
	uint64_t owner = atomic_load(&node_chunk_for_write(w, class_, node / EG_CHUNK)->owner[node % EG_CHUNK]);
	struct engram e;

	if (owner == EG_NODE_FREE && graph_dead(w, class_, node / EG_CHUNK) >> node % EG_CHUNK & 1) {
		/* A sweep, or the end of a graph, will retire it. */
		if (w->spaces[space].nodes_class == class_ && mark[node])
			CORRUPT("node %u of class %u is free, and links may name it", node, class_);
		return;
	}
	if (owner == EG_NODE_FREE) {
		/* Of another class than the space's present one: parked until it is dropped. */
		if (w->spaces[space].nodes_class == class_ && !mark[node])
			LEAKED("free node %u of class %u is in no list", node, class_);
		return;
	}
	if (w->spaces[space].nodes_class == class_ && mark[node])
		CORRUPT("node %u of class %u is free and owned", node, class_);
	if (!slot_get(&w->store, (uint32_t)(owner >> 32), (uint32_t)owner, &e) || e.body->class_ != class_
	    || e.body->node != node || e.body->record.space != space)
		CORRUPT("node %u of class %u has an owner that does not name it", node, class_);
}

static void nodes(struct check *c)
{
	struct store_writer *w = &c->x->w;
	uint8_t *where[EG_CLASSES];

	for (unsigned k = 0; k < EG_CLASSES; k++)
		where[k] = stack_marks(c, &w->node_chunks[k], atomic_load(&store_root(w)->n_node_chunks[k]), "node chunk");
	for (uint32_t n = 0; n < space_count(&w->store); n++) {
		unsigned own = w->spaces[n].nodes_class;
		uint8_t *mark = stack_marks(c, &w->spaces[n].nodes,
		                            atomic_load(&store_root(w)->n_node_chunks[own]) * EG_CHUNK, "node");

		for (uint32_t link = space_for_write(w, n)->node_head; link != EG_NONE && !c->v->corrupt;) {
			unsigned class_ = link >> EG_LINK_SHIFT;
			uint32_t chunk = link & EG_LINK_MASK;

			if (class_ >= EG_CLASSES || chunk >= atomic_load(&store_root(w)->n_node_chunks[class_])
			    || where[class_][chunk]++ || node_chunk_for_write(w, class_, chunk)->space != n) {
				CORRUPT("node chunk %u of class %u is in two places, or not its space's", chunk, class_);
				break;
			}
			for (uint32_t i = 0; i < EG_CHUNK; i++)
				one_node(c, class_, chunk * EG_CHUNK + i, n, mark);
			link = node_chunk_for_write(w, class_, chunk)->next;
		}
		free(mark);
	}
	for (unsigned k = 0; k < EG_CLASSES; k++) {
		for (uint32_t i = 0; i < atomic_load(&store_root(w)->n_node_chunks[k]); i++)
			if (!where[k][i])
				LEAKED("node chunk %u of class %u is nowhere", i, k);
		free(where[k]);
	}
}

static void graphs(struct check *c)
{
	struct store_writer *w = &c->x->w;

	for (uint32_t n = 0; n < space_count(&w->store) && !c->v->corrupt; n++) {
		const char *why = step_graph_wrong(w, n);

		if (why != NULL)
			CORRUPT("space %u: %s", n, why);
	}
}

/* Each word names a live slot of that key, each live slot has one word. */
static void ids(struct check *c, struct blocks *blocks, uint64_t memories)
{
	struct store_writer *w = &c->x->w;
	uint32_t n_slots = atomic_load(&store_root(w)->n_slot_chunks) * EG_CHUNK;
	uint8_t *met = calloc(1, n_slots + 1u);
	uint64_t words = 0;

	for (unsigned shard = 0; shard <= EG_SHARDS; shard++) {
		uint64_t root = atomic_load(&store_root(w)->ids[shard].word), size = UINT64_C(1) << (root & 0xff), used = 0;
		const uint64_t *table = root ? region_at(&w->store.heap, root >> 8, size * 8) : NULL;

		if (root != 0) {
			take(c, blocks, root >> 8, heap_block_bytes(size * 8));
			blocks->live += heap_block_bytes(size * 8);
		}
		for (uint64_t i = 0; root != 0 && i < size; i++) {
			uint32_t number = (uint32_t)table[i] - 2, tag = (uint32_t)(table[i] >> 32);
			const struct body *b;

			used += table[i] != 0;
			if (table[i] <= 1 || shard == EG_SHARDS)
				continue;
			words++;
			if (number >= n_slots || met[number]++) {
				CORRUPT("an id word names slot %u, again or beyond the end", number);
				continue;
			}
			b = region_at(&w->store.heap, slot_for_write(w, number)->body, sizeof *b);
			if ((slot_for_write(w, number)->word & 0xff) != EG_SLOT_LIVE || b->record.shard != shard
			    || (uint32_t)(b->record.key >> 32) != tag)
				CORRUPT("an id word of shard %u names slot %u, not its own", shard, number);
		}
		if (w->ids_used[shard] != used || w->ids_pending[shard] != 0)
			CORRUPT("id table %u: %llu used, counted %llu, pending %u", shard, (unsigned long long)used,
			        (unsigned long long)w->ids_used[shard], w->ids_pending[shard]);
	}
	if (words != memories)
		CORRUPT("%llu id words for %llu memories", (unsigned long long)words, (unsigned long long)memories);
	free(met);
}

/* What is neither live nor in a free list is leaked, but for the ends of chunks. */
static void heap(struct check *c, struct blocks *blocks)
{
	struct heap *h = &c->x->w.heap;
	const uint64_t per = EG_HEAP_CHUNK / 64;
	size_t bytes = 0;

	for (unsigned k = 0; k < EG_HEAP_SIZES; k++) {
		bytes = heap_block_bytes(bytes + 1);
		for (size_t i = 0; i < h->free[k].n; i++)
			take(c, blocks, h->free[k].at[i], bytes);
	}
	for (size_t i = 0; i < h->chunks.n; i++)
		take(c, blocks, EG_HEAP_BASE + h->chunks.at[i] * EG_HEAP_CHUNK, EG_HEAP_CHUNK);
	for (uint32_t k = 0; k < blocks->chunks; k++) {
		uint64_t used = 0, size = 0;

		bytes = 0;
		for (unsigned s = 0; s <= h->size_of[k] && s < EG_HEAP_SIZES; s++)
			bytes = heap_block_bytes(bytes + 1);
		size = h->size_of[k] < EG_HEAP_SIZES ? bytes / 64 : per;
		for (uint64_t i = 0; i < per; i++)
			used += blocks->unit[k * per + i] != 0;
		if (used != per / size * size)
			LEAKED("chunk %u of the heap: %llu of %llu bytes", k, (unsigned long long)used * 64,
			       (unsigned long long)(per / size * size) * 64);
	}
	if (h->live_bytes != blocks->live)
		LEAKED("the heap counts %llu live bytes, %llu are", (unsigned long long)h->live_bytes,
		       (unsigned long long)blocks->live);
}

static void lengths(struct check *c)
{
	const struct store *s = &c->x->w.store;

	for (unsigned i = 0; i < 4 + 3 * EG_CLASSES; i++)
		if (atomic_load(&s->root->grown[i]) % EG_REGION_GRAIN != 0)
			CORRUPT("region %u has odd %llu bytes", i, (unsigned long long)s->root->grown[i]);
}

static void accounts(struct check *c)
{
	struct store_writer *w = &c->x->w;
	struct store_counts *counts = &store_root(w)->counts;
	struct blocks blocks = { .chunks = w->heap.n_chunks };
	struct model_sums all = { 0 };

	if (w->retired_n != 0)
		LEAKED("%zu retired objects wait for nobody", w->retired_n);
	blocks.unit = calloc(1, (size_t)blocks.chunks * (EG_HEAP_CHUNK / 64) + 1);
	EG_ASSERT(blocks.unit != NULL);
	slots(c, &blocks, &all);
	nodes(c);
	graphs(c);
	ids(c, &blocks, all.memories);
	if (!c->v->corrupt)
		heap(c, &blocks);
	lengths(c);
	if (atomic_load(&counts->memories) != all.memories || atomic_load(&counts->vectors) != all.vectors
	    || atomic_load(&counts->raw_bytes) != all.raw_bytes)
		CORRUPT("the store counts %llu memories, %llu vectors, %llu bytes", (unsigned long long)counts->memories,
		        (unsigned long long)counts->vectors, (unsigned long long)counts->raw_bytes);
	free(blocks.unit);
}

/* ---- the whole ---- */

/* False: there is no store yet, which is right only in a scene that makes one. */
static bool adopt(struct check *c, const struct step_scene *scene, struct repair_report *r)
{
	struct step_world *x = c->x;
	struct fault f;

	c->when = "repair";
	memset(&x->w, 0, sizeof x->w);
	x->replay = (struct replay){ .w = &x->w };
	memset(r, 0, sizeof *r);
	if (store_adopt(&x->w, &x->desks, x->prefix, x->uuid, false, &f) != EG_E_OK) {
		if (!(scene->flags & STEP_NEW))
			CORRUPT("not adopted: %s", f.message);
		c->v->rebuilt = 1;
		return false;
	}
	/* As desk_take: nobody of the new process reads yet. */
	atomic_store(&desk_epochs(&x->desks, EG_DESK_WAL)[0].epoch, 0);
	if (store_repair(&x->w, true, r, &f) != EG_E_OK)
		CORRUPT("not repaired: %s", f.message);
	return true;
}

static void reclaim_all(struct check *c)
{
	for (unsigned i = 0; i < 4 && reclaim(&c->x->w) > 0; i++)
		;
	accounts(c);
}

/* What was begun goes on: at the end each graph is whole, and all is found in it. */
static void link_on(struct check *c, const struct model *new)
{
	struct step_world *x = c->x;

	c->when = "linked on";
	world_linker(x);
	world_settle(x);
	for (uint32_t n = 0; n < space_count(&x->w.store); n++) {
		const struct space *sp = space_for_write(&x->w, n);

		if (atomic_load(&sp->state) == EG_SPACE_LIVE && atomic_load(&sp->with_vector) >= STEP_GRAPH_MIN
		    && graph_ready(&x->w.store, sp) == NULL)
			CORRUPT("space %u has no graph", n);
	}
	view(c, &x->w.store, new, new);
	linkers_close(&x->links);
	reclaim_all(c);
}

/* All that was freed can be used, and nothing that lives is. */
static void use(struct check *c)
{
	struct step_world *x = c->x;

	c->when = "used again";
	for (uint32_t n = 0; n < space_count(&x->w.store); n++) {
		const struct space *sp = space_for_write(&x->w, n);
		unsigned dim = space_dimension(sp) ? space_dimension(sp) : 24;

		for (uint32_t i = 0; i < 20 && atomic_load(&sp->state) == EG_SPACE_LIVE; i++)
			world_put(x, (struct step_put){ .space = n, .id = MODEL_IDS - 1 - i, .dim = dim, .packed = 30 + i * 9 });
	}
	(void)reclaim(&x->w);
}

void step_check(struct step_world *x, const struct step_scene *scene, struct step_verdict *v)
{
	struct check check = { x, v, "" }, *c = &check;
	static struct model old, new;
	struct repair_report r, again;

	model_at(&old, x->s, x->s->n_applied);
	model_at(&new, x->s, x->s->n_logged);
	reader(c, &old, &new);
	for (unsigned k = 0; k < x->desks.n; k++) {
		size_t bytes = k == EG_DESK_WAL ? x->desks.wal_bytes : x->desks.bytes;

		EG_ASSERT(mmap(x->desks.base[k], bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED,
		               x->desks.fd[k], 0) == x->desks.base[k]);
	}
	atomic_store(x->reader.slot, 0);
	step_private = true;
	if (!adopt(c, scene, &r)) {
		(void)region_unlink_all(x->prefix);
		step_copies_forget();
		world_create(x);
	}
	if (v->corrupt)
		return;
	v->repaired = r.freed_slots + r.freed_nodes + r.removed_ids + r.added_ids > 0;
	view(c, &x->w.store, &old, &new);
	c->when = "replay";
	x->s->n_applied = x->n_seen = 0;
	world_apply(x);
	replay_end(&x->replay, x->s->last_lsn);
	view(c, &x->w.store, &new, &new);
	reclaim_all(c);
	if (v->corrupt + v->leaked)
		return;
	if (scene->flags & STEP_GRAPH)
		link_on(c, &new);
	c->when = "second repair";
	store_close(&x->w);
	if (!adopt(c, scene, &again) || again.freed_slots + again.freed_nodes + again.removed_ids + again.added_ids > 0)
		CORRUPT("it found something to do again");
	view(c, &x->w.store, &new, &new);
	reclaim_all(c);
	use(c);
	model_at(&new, x->s, x->s->n_logged);
	view(c, &x->w.store, &new, &new);
	reclaim_all(c);
}
