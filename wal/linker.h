/* The linking thread: makes and keeps the graphs of large spaces (shm/graph_write.h).
 *
 * One thread of the wal process, at a low priority; nobody waits for it but stores that find the ring
 * of fresh nodes full. It does one small piece of work at a time, each in an epoch section
 * of its own, so that nothing it looks at is reused under it:
 *
 *   a node of the ring   is linked; that comes first, but a job gets its turn
 *   a job, a chunk at a time:
 *     BUILD    links all nodes of the space         graph BUILDING -> CATCHING
 *     CATCH    and those that came meanwhile        graph CATCHING -> READY
 *     COLLECT  finds the dead nodes of a graph; SWEEP then replaces what names them;
 *              FORGET retires them
 *     RELEASE  takes the marks from the nodes of a graph that was dropped
 *   a look at a space: which job does it need?
 *
 * A space has a graph from graph_min vectors on (all its vectors are counted; those of another
 * dimension than its present one are few), and none below half of that, or when it is
 * dropped, or its vectors change their class. One job at a time; what it finds changed it leaves,
 * and looks again. When there is no memory for codes the graph stays BUILDING, that is logged and
 * counted, and the build is tried again after a while.
 *
 * Nothing here is needed after a kill: the marks of nodes and the states of graphs say what
 * is to be done (linkers_open looks at all spaces).
 */
#ifndef WAL_LINKER_H
#define WAL_LINKER_H

#include "shm/epoch.h"
#include "shm/graph_write.h"

enum link_job { LINK_IDLE, LINK_BUILD, LINK_CATCH, LINK_COLLECT, LINK_SWEEP, LINK_FORGET, LINK_RELEASE };

struct linkers {
	struct store_writer *w;
	struct epoch epoch;
	struct linker one;
	enum link_job job;
	uint32_t space;                /* of the job */
	unsigned class_;
	uint32_t link;                 /* next chunk, as in node.h */
	struct stack32 dead;           /* what this sweep retires */
	uint32_t living;               /* a node that the sweep met, EG_NODE_NONE = none */
	unsigned turns;                /* nodes of the ring linked since the job's last chunk */
	_Atomic int64_t retry_ns;      /* when builds are tried again: memory was short */
	uint64_t told_links;           /* counted in the metrics */
	_Atomic bool stop, short_of;   /* short_of: no build until then */
	bool threaded;
	pthread_t thread;
};

/* Prepare, and look at every space; ef: candidates that a node is linked from. Then either
 * linkers_start, or steps by the caller. */
void linkers_open(struct linkers *l, struct store_writer *w, struct desks *d, unsigned ef);
enum err linkers_start(struct linkers *l, struct fault *f) EG_MUST_USE;
/* Ends the thread after its present piece of work. No apply thread may run any more. */
void linkers_close(struct linkers *l);

/* Exactly one piece of work; false when there was none. */
bool linker_step(struct linkers *l);

/* Log thread, once a second: gauges, and builds that wait for memory. */
void linkers_upkeep(struct linkers *l);
/* graph_min has changed. */
void linkers_look_at_all(struct store_writer *w);

#endif
