/* Desks: the pages that one process alone may write.
 *
 * The master makes a fixed pool of desks before the first fork: its own, the
 * wal process's, and enough for old and new generations of workers during a
 * reload. Each is a memfd; after fork a process keeps the writable map of its
 * own desk and read-only maps of all others (desk_take). No two processes ever
 * write the same page, so nothing here needs a lock.
 *
 *   desk 0  master: configuration generation, who sits where
 *   desk 1  wal process: epochs, durable LSN, completion cells and results of
 *           every lane of every other desk
 *   desk 2+ workers and consolidation: lanes, epoch slots, access ring
 *   all     header (pid, heartbeat), metric counters
 *
 * Doorbells are eventfds, one a desk, made with the pool: a consumer says
 * sleeping = 1, fences, looks again and waits; a producer publishes, fences,
 * looks at sleeping, rings.
 */
#ifndef SHM_DESK_H
#define SHM_DESK_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/err.h"
#include "shm/layout.h"

enum desk_number { EG_DESK_MASTER = 0, EG_DESK_WAL = 1, EG_DESK_FIRST = 2 };

enum desk_state {                  /* written by the master on its desk */
	EG_DESK_FREE,              /* nobody; may be given away */
	EG_DESK_BUSY,              /* its process lives, or is being forked */
	EG_DESK_DEAD,              /* its process was reaped; the writer drains it */
};

enum process_kind {                /* what sits there; rows of master/kinds.def */
	EG_PROCESS_MASTER, EG_PROCESS_WAL, EG_PROCESS_WORKER, EG_PROCESS_CONSOLIDATION,
};

/* First page of every desk; written by its process. */
struct desk_header {
	uint32_t magic;
	uint32_t number;
	_Atomic uint32_t incarnation;      /* copied from the seat at start */
	_Atomic int32_t pid;
	_Atomic uint64_t start_time;       /* /proc/PID/stat field 22 */
	_Atomic uint64_t beat_ns;          /* CLOCK_MONOTONIC of the last heartbeat */
	_Atomic uint32_t sleeping;         /* consumer waits on its doorbell */
	_Atomic uint32_t ready;            /* serves; set once by the process */
	_Atomic uint32_t config_generation;/* configuration that it follows now */
	_Atomic uint64_t resident_bytes;   /* private resident memory, self-reported */
	_Atomic uint64_t shared_bytes;     /* shared resident memory, self-reported */
};

/* One seat a desk, on the master's desk: who sits there. */
struct seat {
	_Atomic uint32_t state;            /* enum desk_state */
	_Atomic uint32_t incarnation;      /* rises with each process that sits down */
	_Atomic int32_t pid;
	_Atomic uint32_t kind;             /* enum process_kind */
	_Atomic uint32_t index;            /* worker number, 0.. */
	_Atomic uint32_t node;             /* NUMA node */
	_Atomic uint32_t restarts;         /* of this role since the server started */
	_Atomic uint64_t started_us;       /* real time */
};

/* What the master tells everybody. */
struct master_page {
	_Atomic uint32_t config_generation;
	_Atomic uint32_t stopping;         /* 0, or 1 once a stop was asked for */
	_Atomic uint32_t handover;         /* 1 while the family leaves to another one (upgrade) */
	_Atomic int64_t clock_offset_seconds;
	_Atomic uint32_t reloads, failed_reloads;
	struct seat seats[EG_DESKS_MAX];
};

struct epoch_slot { _Alignas(64) _Atomic uint64_t epoch; };   /* 0 = not reading */

struct access_event {              /* lossy; the writer checks seq before and after */
	_Atomic uint64_t seq;      /* index + 1 when complete */
	_Atomic uint64_t ref;      /* slot << 32 | generation */
	_Atomic uint64_t what;     /* real time in ms << 8 | kind */
};

/* Results and completion of a lane, on the wal process's desk. */
struct lane_cell {
	_Atomic uint64_t seq;      /* stored last: the entry whose answer this is */
	_Atomic uint64_t lsn;      /* highest LSN of the entry, 0 = nothing logged */
	_Atomic uint32_t err;      /* enum err of the whole entry */
	_Atomic uint32_t first_bad;/* first operation refused, EG_NONE = none */
	_Atomic uint32_t durable;  /* 1 = on stable storage when answered */
	uint32_t pad;
};

struct lane_result {
	_Atomic uint64_t version;  /* version << 1 | created */
	_Atomic uint32_t err;      /* enum err of this operation */
	_Atomic uint32_t detail;   /* what belongs to the error, e.g. the dimension */
};

struct lane_answers {              /* one a lane */
	_Atomic uint64_t tail;     /* bytes consumed: the producer may reuse them */
	_Atomic uint64_t done_seq; /* every entry up to here has been answered */
	_Alignas(64) struct lane_cell cells[EG_LANE_ENTRIES];
	struct lane_result results[EG_LANE_RESULTS];
};

/* Checkpoints: who wants one, and how the last one ended. */
struct checkpoint_page {
	_Atomic uint64_t asked;            /* demands so far; each got its number */
	_Atomic uint64_t answered;         /* demands up to here are answered by `err` and what follows; stored last */
	_Atomic uint64_t ended;            /* nonce of the attempt that ended last */
	_Atomic uint32_t err;              /* enum err of that attempt */
	_Atomic uint32_t fell_back;        /* 1: the newest could not be used at start, and none has followed it yet */
	_Atomic uint64_t id, start_lsn;    /* in force, newest; 0 = none */
	_Atomic uint64_t previous_start_lsn;
	_Atomic uint64_t rows, bytes;      /* in all; written into its own file */
	_Atomic uint64_t ns;               /* from its beginning to being in force */
	_Atomic int64_t created_us;
	_Atomic uint64_t disk_bytes;       /* of all files in checkpoints/ */
	_Atomic uint32_t warm_segments;    /* files in warm/ */
};

/* Backups: the one that is being made, and how the last one ended. Texts are written
 * before `answered`, and end with a NUL whatever happens. */
enum backup_field { EG_BACKUP_NO_FIELD, EG_BACKUP_TO, EG_BACKUP_BASE };
struct backup_page {
	_Atomic uint64_t asked, answered;  /* demands so far; those up to here are answered by what follows */
	_Atomic uint32_t running;
	_Atomic uint32_t err;              /* enum err of the last attempt */
	_Atomic uint32_t field;            /* enum backup_field that the message concerns */
	_Atomic uint32_t files, linked;    /* of the last one made; taken over from its base */
	_Atomic uint64_t lsn, bytes, copied_bytes, ns;
	_Atomic int64_t created_us;        /* 0: none was made by this family */
	char name[64], message[200];
};

struct wal_page {
	_Atomic uint64_t epoch;            /* global epoch of reclamation, from 1 */
	_Atomic uint64_t lsn, durable_lsn; /* last given; last on stable storage */
	_Atomic uint64_t acked_lsn;        /* all up to here were applied and answered */
	_Atomic uint64_t unsynced_since_ns;/* 0 = nothing unsynced */
	_Atomic uint32_t state;            /* enum wal_state */
	_Atomic uint32_t segments;         /* files in wal/: what a recovery may have to replay */
	_Atomic uint32_t no_room;          /* stores are refused: no spare segment can be made */
	_Atomic uint64_t log_bytes;        /* bytes of all segments */
	_Atomic uint32_t mirror_state;     /* enum mirror_state (wal/mirror.h) */
	_Atomic uint32_t mirror_seen;      /* this family has looked at both copies in full */
	_Atomic uint64_t mirror_losses;    /* copies given up, so far */
	_Atomic uint64_t main_doubt;       /* twice how often the data directory's own was; one more: it is not whole again */
	_Atomic uint64_t lost_records;     /* given up by an operator, in that many ranges of LSNs */
	_Atomic uint64_t lost_first, lost_last;
	_Atomic uint32_t lost_ranges;
	_Atomic uint64_t recovered_records;
	_Atomic uint64_t recovery_ns;
	_Atomic uint32_t store_generation; /* of the store that it writes, or is building (root.generation); 0 = not known yet */
	struct checkpoint_page checkpoint;
	struct backup_page backup;
	_Atomic uint32_t drained[EG_DESKS_MAX]; /* incarnation whose lanes are empty for good */
	_Atomic uint64_t access_read[EG_DESKS_MAX]; /* access events consumed */
};

enum wal_state { EG_WAL_STARTING, EG_WAL_RUNNING, EG_WAL_READ_ONLY };

struct desks {                     /* process-local view of the pool */
	unsigned n;                /* desks in the pool */
	unsigned lanes;            /* per desk */
	size_t lane_bytes;         /* payload ring of a lane, a power of two */
	size_t bytes, wal_bytes;   /* size of a desk; of the wal process's desk */
	int fd[EG_DESKS_MAX];      /* writable memfd; -1 after desk_take, but for the master */
	int master_ro;             /* desk 0 again, read-only; -1 after desk_take */
	int bell[EG_DESKS_MAX];    /* eventfd, non-blocking */
	uint8_t *base[EG_DESKS_MAX];
	int self;                  /* own desk, writable; -1 before desk_take */
};

/* Make the pool (master, before the first fork). lanes is clamped to
 * 1..EG_LANES_MAX; buffer_bytes is divided over producers x lanes. */
enum err desks_new(struct desks *d, unsigned n, unsigned lanes, unsigned producers,
                   size_t buffer_bytes, struct fault *f) EG_MUST_USE;
void desks_free(struct desks *d);

/* In a child, right after fork: keep desk `number` writable, everything else
 * read-only, close all descriptors but the doorbells. Fills the header. */
enum err desk_take(struct desks *d, unsigned number, struct fault *f) EG_MUST_USE;

struct desk_header *desk_header(const struct desks *d, unsigned number);
struct master_page *desk_master(const struct desks *d);   /* writable in the master only */
struct wal_page *desk_wal(const struct desks *d);         /* writable in the wal process only */
struct lane_answers *desk_answers(const struct desks *d, unsigned number, unsigned lane);
struct epoch_slot *desk_epochs(const struct desks *d, unsigned number);
_Atomic uint64_t *desk_counters(const struct desks *d, unsigned number); /* EG_COUNTERS_MAX words, never reset */
/* A lane of a desk: bytes published so far, and the payload ring of lane_bytes. */
_Atomic uint64_t *desk_lane_head(const struct desks *d, unsigned number, unsigned lane);
uint8_t *desk_lane_ring(const struct desks *d, unsigned number, unsigned lane);
_Atomic uint64_t *desk_access_head(const struct desks *d, unsigned number);
struct access_event *desk_access(const struct desks *d, unsigned number);

void desk_beat(const struct desks *d);                    /* heartbeat of the own desk */
void desk_ring(const struct desks *d, unsigned number);   /* if it sleeps */
void desk_ring_always(const struct desks *d, unsigned number);
/* Drain the own doorbell; returns whether it had been rung. */
bool desk_hush(const struct desks *d);

/* Report a read or a use of a memory (any thread of a worker). Lossy. */
enum access_kind { EG_ACCESS_RECALL, EG_ACCESS_READ };
void desk_access_note(const struct desks *d, uint32_t slot, uint32_t generation,
                      enum access_kind kind, uint64_t now_ms);

#endif
