/* The end of a log, see the header. */
#include "t/unit/wal_tail.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/clock.h"
#include "wal/datadir.h"
#include "wal/segment.h"

static void look_at_segment(struct tail *t)
{
	const struct group_header *g;
	struct segment_reader s;
	struct fault fault;
	enum err why;

	EG_ASSERT(segment_open(&s, t->path, &fault) == EG_E_OK);
	while ((g = segment_next(&s, &why, &fault)) != NULL) {
		t->witness = g->n_records == 0 ? segment_offset(&s) : 0;
		t->end = segment_offset(&s) + g->bytes;
		if (g->n_records == 0)
			continue;
		t->group = segment_offset(&s);
		t->lsn = g->first_lsn + g->n_records - 1;
	}
	segment_close(&s);
}

void tail_look(struct wal_family *f, struct tail *t)
{
	uint64_t *starts;
	struct datadir d;
	struct fault fault;
	unsigned n;

	memset(t, 0, sizeof *t);
	EG_ASSERT(datadir_attach(&d, f->dir, &fault) == EG_E_OK);
	EG_ASSERT(datadir_segments(&d, &starts, &n, &fault) == EG_E_OK);
	if (n > 0) {
		datadir_segment_path(&d, t->path, starts[n - 1]);
		look_at_segment(t);
	}
	datadir_close(&d);
	free(starts);
}

void tail_await_witness(struct wal_family *f)
{
	int64_t deadline = clock_mono_ns() + INT64_C(60000000000);
	struct tail t;

	for (tail_look(f, &t); t.witness == 0; tail_look(f, &t)) {
		EG_ASSERT(clock_mono_ns() < deadline);
		usleep(5000);              /* nobody rings when it is written */
	}
}

void tail_cut_witness(struct wal_family *f)
{
	struct tail t;

	tail_look(f, &t);
	EG_ASSERT(t.witness == 0 || truncate(t.path, (off_t)t.witness) == 0);
}
