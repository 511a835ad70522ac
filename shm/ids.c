/* Looking up ids, see the header. */
#include "shm/ids.h"

#include "common/hash.h"

uint64_t ids_space_key(const char *id, size_t n) { return hash64(id, n, 0x73706163); }

uint64_t record_key(const char *space_id, size_t space_bytes, const char *id, size_t id_bytes)
{
	return hash64(id, id_bytes, hash64(space_id, space_bytes, 0x6b6579));
}

void ids_probe(const struct store *s, unsigned shard, uint64_t key, struct ids_probe *p)
{
	uint64_t root = atomic_load_explicit(&s->root->ids[shard].word, memory_order_acquire);

	EG_ASSERT(shard <= EG_SHARDS);
	p->tag = (uint32_t)(key >> 32);
	p->left = 0;
	if (root == 0)
		return;
	p->left = UINT64_C(1) << (root & 0xff);
	p->mask = p->left - 1;
	p->words = region_at(&s->heap, root >> 8, p->left * 8);
	p->at = p->tag & p->mask;
}

void ids_prefetch(const struct store *s, unsigned shard, uint64_t key)
{
	struct ids_probe p;

	ids_probe(s, shard, key, &p);
	if (p.left > 0)
		__builtin_prefetch(&p.words[p.at], 1);
}

uint32_t ids_next(struct ids_probe *p)
{
	while (p->left > 0) {
		uint64_t w = atomic_load_explicit(&p->words[p->at], memory_order_acquire);

		p->at = (p->at + 1) & p->mask;
		p->left--;
		if (w == 0)
			p->left = 0;
		else if (w != 1 && (uint32_t)(w >> 32) == p->tag)
			return (uint32_t)w - 2;
	}
	return EG_NONE;
}
