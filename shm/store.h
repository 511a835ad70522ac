/* A store: the regions of one data directory, as a reader sees them.
 *
 * Writer:  the wal process (store_write.h).
 * Readers: everybody, lock-free, inside an epoch section (epoch.h): every
 *          pointer got from here is valid until that section is left.
 *
 *   root    one page: magic, layout, state, applied LSN of each shard, roots of
 *           the id tables, grown bytes of every region
 *   space   directory of memory spaces, 256 bytes each          (space.h)
 *   slot    header of a memory, 128 bytes, in chunks of a space (slot.h)
 *   heap    bodies and id tables, immutable once published      (body.h, ids.h)
 *   graph   what is not linked yet; the spaces' graphs         (graph.h)
 *   node.N, vec.N, code.N   per dimension class: owners, full vectors (node.h), codes and links (graph.h)
 */
#ifndef SHM_STORE_H
#define SHM_STORE_H

#include "shm/layout.h"
#include "shm/region.h"

enum store_state { EG_STORE_BUILDING, EG_STORE_READY };

/* Global counts that readers show; kept by the writer, rebuilt by its repair. */
struct store_counts {
	_Atomic uint64_t memories;        /* live */
	_Atomic uint64_t spaces;          /* live */
	_Atomic uint64_t vectors;         /* live nodes */
	_Atomic uint64_t raw_bytes;       /* content, metadata, vectors given or derived */
	_Atomic uint64_t derived_bytes;   /* of these: vectors made by the built-in embedder */
	_Atomic uint64_t taken_bytes;     /* raw bytes taken in since the store was made; only grows */
};

struct id_root {                          /* of a shard's id table; one word, so one publication */
	_Atomic uint64_t word;            /* heap offset << 8 | log2 of the entries; 0 = none yet */
};

struct root {
	uint32_t magic;
	uint32_t layout_version;
	uint64_t layout_hash;
	uint8_t uuid[16];                 /* of the data directory */
	_Atomic uint32_t state;           /* enum store_state */
	_Atomic uint32_t generation;      /* random: tells this memory from another one of these names */
	_Atomic uint64_t boot_id;         /* of the family that it belongs to; set last when adopted */
	_Atomic uint32_t suspect;         /* a writer died of SEGV, BUS, ABRT...: verify every object */
	_Atomic uint32_t pad;
	_Atomic uint64_t segment_number;  /* of the log segment that its newest records went to */
	_Atomic uint64_t segment_salt;
	_Atomic uint64_t segment_next_salt;/* the same of one that is about to supersede it; or never came to */
	_Atomic uint64_t grown[4 + 3 * EG_CLASSES];
	_Atomic uint64_t applied_lsn[EG_SHARDS + 1]; /* the last one: records about spaces */
	struct id_root ids[EG_SHARDS + 1];/* the last one: names of spaces */
	_Atomic uint32_t n_spaces;        /* space numbers in use are below */
	_Atomic uint32_t n_slot_chunks;
	_Atomic uint32_t n_node_chunks[EG_CLASSES];
	_Atomic uint32_t n_graphs;        /* of spaces, live or to be used again */
	struct store_counts counts;
	/* What a checkpoint may rest on, and when one is due. */
	_Atomic uint64_t checkpoint_id;   /* the newest that describes this very memory (whose extents may be shared), 0 = none */
	_Atomic uint64_t changed_lsn;     /* of the last record that changed anything */
	_Atomic uint64_t work_ns;         /* processor time that the records applied so far took: what a replay takes */
	_Atomic uint64_t checkpoint_work_ns; /* the same, when that checkpoint began */
};

struct store {                            /* process-local */
	char prefix[40];
	struct root *root;
	struct region root_region, space, slot, heap, graph;
	_Atomic uint32_t class_mapped[EG_CLASSES]; /* vector regions are mapped when first met */
	struct region node[EG_CLASSES], vec[EG_CLASSES], code[EG_CLASSES];
	bool writable, huge;
};

/* Map an existing store for reading. EG_E_WRITER while the writer has not made
 * it yet (try again later). boot_id: of this family; what an earlier one left under
 * the same names is stale, and about to be removed or taken over by the writer. */
enum err store_attach(struct store *s, const char *prefix, uint64_t boot_id, struct fault *f) EG_MUST_USE;
void store_detach(struct store *s);
/* False once the writer has given an attached store up, to build another one under
 * the same names: who reads it has to attach anew. */
bool store_in_force(const struct store *s);
struct desks;
/* The same, and it is the one that this family's writer writes. Whoever removes the objects of a
 * running server (a clean-up of /dev/shm) makes the next writer build others, and the old
 * ones still look as if they were in force. */
bool store_is_current(const struct store *s, const struct desks *d);

/* Which layout of shared memory this build has, for files that name slots and nodes: never 0,
 * nor a small number. */
uint32_t store_layout(void);

/* Map the vector regions of a dimension class when it is first met (any thread).
 * false, logged, when that fails: then its vectors are not seen. */
bool store_map_class(const struct store *s, unsigned class_);

/* Bytes of shared memory in huge pages, in plain pages (from smaps of this
 * process), for status and metrics. */
void store_pages(const struct store *s, uint64_t *huge_bytes, uint64_t *plain_bytes);

#endif
