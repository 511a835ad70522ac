/* Loading: which pieces of the log have the records that rows name, see load.h. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "wal/load_parts.h"
#include "wal/segment.h"

/* Bytes of a segment for one thread: some milliseconds of reading, so that segments of 64 MiB
 * keep several threads busy to the end. Tests shall meet many with little. */
#ifdef EG_FAULTS
#define EG_PIECE (UINT64_C(256) << 10)
#else
#define EG_PIECE (UINT64_C(16) << 20)
#endif

enum err load_rotten(struct load *l, uint64_t from, uint64_t to, const char *why, struct fault *f)
{
	atomic_store(&l->rot, true);
	return err_set(f, EG_E_VALIDATION, NULL, NULL,
	               "the log is damaged: of LSN %llu to %llu records are missing that checkpoint %llu needs (%s)",
	               (unsigned long long)from, (unsigned long long)to, (unsigned long long)l->c.header.id, why);
}

static uint64_t file_bytes(const struct load *l, uint64_t start)
{
	char path[4200];
	struct stat st;

	datadir_segment_path(l->d, path, start);
	return stat(path, &st) == 0 ? (uint64_t)st.st_size : 0;
}

/* Segments are cut to their used length when the next one begins. */
static uint64_t bytes_of_a_record(const struct load *l, const uint64_t *starts, unsigned n)
{
	uint64_t bytes = 0;

	for (unsigned i = 0; i + 1 < n; i++)
		bytes += file_bytes(l, starts[i]);
	return n > 1 && starts[n - 1] > starts[0] ? bytes / (starts[n - 1] - starts[0]) : 0;
}

/* Of a segment that was not cut yet: what was never written has no blocks. */
static uint64_t written_bytes(const struct load *l, uint64_t start)
{
	char path[4200];
	off_t end = -1;
	int fd;

	datadir_segment_path(l->d, path, start);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0) {
		end = lseek(fd, 0, SEEK_HOLE);
		close(fd);
	}
	return end > 0 ? (uint64_t)end : 0;
}

/* Memories that the log brings above the checkpoint, about, for the room that they take: its records,
 * as many of which are of new memories as were of all before. */
static uint64_t tail_memories(const struct load *l, const uint64_t *starts, unsigned n)
{
	uint64_t start = l->c.header.start_lsn, end;

	if (n == 0 || l->record_bytes == 0 || start == 0)
		return 0;
	end = starts[n - 1] + written_bytes(l, starts[n - 1]) / l->record_bytes;
	if (end <= start)
		return 0;
	return l->n < start ? (uint64_t)((double)(end - start) * (double)l->n / (double)start) : end - start;
}

/* A segment's rows, in pieces for several threads: by where they end in the file, about. Records of this
 * one may be far smaller than those of others: there are no more pieces than the file has. */
static void add_spans(struct load *l, uint64_t start, uint64_t first, uint64_t end)
{
	uint64_t bytes = l->record_bytes * (l->order[end - 1].lsn + 1 - start), most = file_bytes(l, start);
	uint64_t n;

	bytes = bytes < most ? bytes : most;
	n = l->anew || bytes < 2 * EG_PIECE ? 1 : bytes / EG_PIECE;
	for (uint64_t i = 0; i < n; i++) {
		EG_ASSERT(l->n_spans < l->spans_cap);
		l->spans[l->n_spans++] = (struct load_span){ .start = start, .first = first, .end = end,
			.from = i == 0 ? EG_SEGMENT_DATA : i * EG_PIECE, .to = i + 1 == n ? UINT64_MAX : (i + 1) * EG_PIECE };
	}
}

static uint64_t most_spans(const struct load *l, const uint64_t *starts, unsigned n)
{
	uint64_t most = n;

	for (unsigned i = 0; i < n; i++)
		most += file_bytes(l, starts[i]) / EG_PIECE;
	return most;
}

/* The segments that rows need, each with its rows. The last segment that begins at or
 * below an LSN has it; later ones supersede. */
enum err load_plan_spans(struct load *l, struct fault *f)
{
	uint64_t *starts, at = 0;
	unsigned n;
	enum err e = datadir_segments(l->d, &starts, &n, f);

	if (e != EG_E_OK)
		return e;
	if (l->n > 0 && (n == 0 || l->order[0].lsn < starts[0]))
		e = load_rotten(l, l->order[0].lsn, n == 0 ? l->order[l->n - 1].lsn : starts[0] - 1, "no segment has them", f);
	l->record_bytes = bytes_of_a_record(l, starts, n);
	l->spans_cap = e == EG_E_OK ? most_spans(l, starts, n) : 0;
	l->spans = calloc(l->spans_cap + 1, sizeof *l->spans);
	EG_ASSERT(l->spans != NULL);
	for (unsigned i = 0; i < n && e == EG_E_OK; i++) {
		uint64_t first = at;

		while (at < l->n && (i + 1 == n || l->order[at].lsn < starts[i + 1]))
			at++;
		if (at > first)
			add_spans(l, starts[i], first, at);
	}
	l->tail = tail_memories(l, starts, n);
	free(starts);
	return e;
}

uint64_t load_row_from(const struct load *l, const struct load_span *p, uint64_t lsn)
{
	uint64_t low = p->first, high = p->end;

	while (low < high) {
		uint64_t mid = low + (high - low) / 2;

		if (l->order[mid].lsn < lsn)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

static enum err unreadable(const struct load_span *p, struct fault *f)
{
	return err_set(f, EG_E_INTERNAL, NULL, NULL, "the segment from %llu cannot be read behind offset %llu: %s",
	               (unsigned long long)p->start, (unsigned long long)p->from, strerror(p->error));
}

/* One piece after the other: where one stopped the next one began, by place, chain and row; the
 * last one stopped behind the last row. A piece of which no group was found says nothing; nor does one that
 * cannot be read, if all rows were met before: a segment that was given up is bad behind its last row. */
enum err load_join_spans(struct load *l, struct fault *f)
{
	const struct load_span *before = NULL;
	enum err e = EG_E_OK;

	for (unsigned i = 0; i < l->n_spans && e == EG_E_OK; i++) {
		const struct load_span *p = &l->spans[i];
		bool last = i + 1 == l->n_spans || l->spans[i + 1].start != p->start;

		if (p->from == EG_SEGMENT_DATA)
			before = NULL;
		if (p->error != 0 && before->row_end < p->end)
			e = unreadable(p, f);
		else if (p->found && before != NULL && before->row_end < p->end
		    && (before->ends != p->begins || before->crc_after != p->crc_before || before->row_end != p->row_first))
			e = load_rotten(l, l->order[before->row_end].lsn, l->order[p->end - 1].lsn,
			                "a group does not follow the one before", f);
		/* Rows that a piece has beyond the end of the one before would have been met there. */
		if (p->found && (before == NULL || before->row_end < p->end))
			before = p;
		if (e == EG_E_OK && last && before->row_end < p->end)
			e = load_rotten(l, l->order[before->row_end].lsn, l->order[p->end - 1].lsn, "it ends early", f);
	}
	return e;
}
