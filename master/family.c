#include "master/family.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <sysexits.h>

#include "common/fault.h"
#include "common/log.h"

#define EG_WATCH_NS INT64_C(1000000000)         /* longest step that counts as silence */

static struct seat *seat_of(const struct family *fam, unsigned desk)
{
	return &desk_master(fam->desks)->seats[desk];
}

static const struct kind *kind_of(const struct family *fam, const struct child *c)
{
	return fam->roles[c->role].kind;
}

static const char *title_of(const struct family *fam, const struct child *c)
{
	return kind_of(fam, c)->title;
}

/* The header may still be the one of who sat there before. */
static bool child_ready(const struct family *fam, unsigned desk)
{
	struct desk_header *h = desk_header(fam->desks, desk);

	return atomic_load_explicit(&h->ready, memory_order_acquire) != 0 &&
	       atomic_load_explicit(&h->incarnation, memory_order_acquire) == fam->children[desk].incarnation &&
	       atomic_load_explicit(&h->pid, memory_order_acquire) == fam->children[desk].pid;
}

void family_init(struct family *fam, const struct kinds *kinds, struct desks *desks,
                 unsigned workers, unsigned per_node)
{
	fam->desks = desks;
	fam->n_roles = 0;
	memset(fam->children, 0, sizeof fam->children);
	for (unsigned k = 0; k < kinds->n; k++) {
		unsigned n = kinds->v[k].serves ? workers : 1;

		for (unsigned i = 0; i < n; i++) {
			EG_ASSERT(fam->n_roles < EG_ROLES_MAX);
			fam->roles[fam->n_roles++] = (struct role){
				.kind = &kinds->v[k], .index = i, .node = kinds->v[k].serves ? i / per_node : 0,
			};
		}
	}
}

int64_t family_pause_ms(unsigned deaths)
{
	int64_t pause = EG_PAUSE_MIN_MS;

	if (deaths < EG_DEATHS_FREE)
		return 0;
	for (unsigned i = EG_DEATHS_FREE; i < deaths && pause < EG_PAUSE_MAX_MS; i++)
		pause *= 2;
	return pause < EG_PAUSE_MAX_MS ? pause : EG_PAUSE_MAX_MS;
}

/* ---- deaths */

static void death_log(const struct family *fam, const struct child *c, unsigned desk, int status)
{
	const char *title = title_of(fam, c);

	if (c->told != FAMILY_STAY && !c->killed && WIFEXITED(status) && WEXITSTATUS(status) == 0)
		LOG_INFO("%s %d has left", title, (int)c->pid);
	else if (WIFSIGNALED(status))
		LOG_WARN("%s %d (desk %u) was ended by signal %d (%s)%s", title, (int)c->pid, desk, WTERMSIG(status),
		         strsignal(WTERMSIG(status)), WCOREDUMP(status) ? ", core dumped" : "");
	else
		LOG_WARN("%s %d (desk %u) ended with status %d%s", title, (int)c->pid, desk, WEXITSTATUS(status),
		         c->told == FAMILY_STAY ? " though nobody asked it to" : "");
}

static void death_count(struct family *fam, const struct child *c, unsigned desk, int status, int64_t now)
{
	struct role *r = &fam->roles[c->role];
	int64_t pause;

	if (c->told != FAMILY_STAY)
		return;
	/* A damaged log stays damaged: the operator has to decide (engram-server(8)). */
	if (WIFEXITED(status) && WEXITSTATUS(status) == EX_DATAERR && !child_ready(fam, desk))
		fam->hopeless = EX_DATAERR;
	r->restarts++;
	r->deaths = child_ready(fam, desk) ? 0 : r->deaths + 1;
	pause = family_pause_ms(r->deaths);
	r->not_before = now + pause * 1000000;
	if (pause > 0)
		LOG_ERROR("%s: %u deaths in a row before it was ready; the next try is in %lld ms",
		          r->kind->title, r->deaths, (long long)pause);
}

void family_reap(struct family *fam, int64_t now)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		for (unsigned d = 0; d < fam->desks->n; d++) {
			struct child *c = &fam->children[d];

			if (c->pid != pid)     /* a new master that failed is nobody's child here */
				continue;
			death_log(fam, c, d, status);
			death_count(fam, c, d, status, now);
			c->pid = 0;
			FAULT(MASTER_REAPED);
			atomic_store(&seat_of(fam, d)->pid, 0);
			atomic_store(&seat_of(fam, d)->state, d == EG_DESK_WAL ? EG_DESK_FREE : EG_DESK_DEAD);
			FAULT(MASTER_SEAT_DEAD);
			desk_ring_always(fam->desks, EG_DESK_WAL);
		}
	}
}

static void seat_free(struct seat *seat)
{
	atomic_store(&seat->state, EG_DESK_FREE);
	FAULT(MASTER_SEAT_FREE);
}

bool family_release(struct family *fam)
{
	struct wal_page *wal = desk_wal(fam->desks);
	bool waiting = false;

	for (unsigned d = EG_DESK_FIRST; d < fam->desks->n; d++) {
		struct seat *seat = seat_of(fam, d);

		if (atomic_load(&seat->state) != EG_DESK_DEAD)
			continue;
		if (atomic_load_explicit(&wal->drained[d], memory_order_acquire) == atomic_load(&seat->incarnation))
			seat_free(seat);
		else
			waiting = true;
	}
	return waiting;
}

/* ---- watching */

static void child_kill(struct family *fam, struct child *c, const char *why)
{
	LOG_ERROR("%s %d %s: it is killed", title_of(fam, c), (int)c->pid, why);
	c->killed = true;
	kill(c->pid, SIGKILL);
}

/* The oldest epoch before the global one that a thread of this desk is in. If it
 * is the same at two looks, some thread has been in one section all the while:
 * who enters anew shows the global one. */
static uint64_t epoch_held(const struct desks *d, unsigned desk)
{
	uint64_t oldest = atomic_load_explicit(&desk_wal(d)->epoch, memory_order_acquire), global = oldest;
	const struct epoch_slot *slots = desk_epochs(d, desk);

	for (unsigned i = 0; i < EG_EPOCHS_MAX; i++) {
		uint64_t e = atomic_load_explicit(&slots[i].epoch, memory_order_relaxed);

		if (e != 0 && e < oldest)
			oldest = e;
	}
	return oldest < global ? oldest : 0;
}

static void reader_watch(struct family *fam, unsigned desk, int64_t step)
{
	struct child *c = &fam->children[desk];
	uint64_t held = epoch_held(fam->desks, desk);
	int64_t before = c->held_ns;

	c->held_ns = held != 0 && held == c->held ? c->held_ns + step : 0;
	c->held = held;
	if (before <= EG_READER_WARN_NS && c->held_ns > EG_READER_WARN_NS)
		LOG_WARN("%s %d has a thread that reads for more than a second: nothing is reclaimed meanwhile",
		         title_of(fam, c), (int)c->pid);
	if (c->held_ns > EG_READER_KILL_NS)
		child_kill(fam, c, "has a thread that never stops reading");
}

/* Silence is what the master has watched, in steps of at most a second: if it was
 * stopped itself, or the machine slept, nobody is accused of it. */
void family_watch(struct family *fam, int64_t heartbeat_ns, int64_t now)
{
	int64_t step = fam->watched == 0 ? 0 : now - fam->watched;

	if (step > EG_WATCH_NS)
		step = EG_WATCH_NS;
	fam->watched = now;
	for (unsigned d = 0; d < fam->desks->n; d++) {
		struct child *c = &fam->children[d];
		uint64_t beat;

		if (c->pid == 0 || c->killed)
			continue;
		beat = atomic_load_explicit(&desk_header(fam->desks, d)->beat_ns, memory_order_relaxed);
		c->silent_ns = beat == c->beat ? c->silent_ns + step : 0;
		c->beat = beat;
		if (c->silent_ns >= heartbeat_ns)
			child_kill(fam, c, "does not beat any more");
		else if (c->told != FAMILY_STAY && now >= c->leave_by)
			child_kill(fam, c, "did not leave in time");
		else if (d >= EG_DESK_FIRST)
			reader_watch(fam, d, step);
	}
}

/* ---- filling roles */

/* Does somebody play this role who need not be replaced? */
static bool played(const struct family *fam, unsigned role, bool must_be_ready)
{
	const struct kind *kind = fam->roles[role].kind;

	for (unsigned d = 0; d < fam->desks->n; d++) {
		const struct child *c = &fam->children[d];

		if (c->pid != 0 && c->role == role && c->told == FAMILY_STAY &&
		    (!kind->serves || c->generation == fam->spawn.heritage.config_generation) &&
		    (!must_be_ready || child_ready(fam, d)))
			return true;
	}
	return false;
}

static unsigned desk_for(const struct family *fam, const struct kind *kind)
{
	unsigned first = kind->desk == EG_ANY_DESK ? EG_DESK_FIRST : kind->desk;
	unsigned end = kind->desk == EG_ANY_DESK ? fam->desks->n : kind->desk + 1;

	for (unsigned d = first; d < end; d++) {
		if (atomic_load(&seat_of(fam, d)->state) == EG_DESK_FREE)
			return d;
	}
	return EG_DESKS_MAX;
}

static bool role_fill(struct family *fam, unsigned role, int64_t now)
{
	struct role *r = &fam->roles[role];
	unsigned desk = desk_for(fam, r->kind);
	struct child *c;
	pid_t pid;

	if (now < r->not_before || desk == EG_DESKS_MAX)
		return false;
	pid = spawn_child(&fam->spawn, r->kind, desk, r->index, r->node, r->restarts);
	if (pid < 0) {
		r->not_before = now + EG_PAUSE_MIN_MS * INT64_C(1000000);
		LOG_ERROR("%s: fork: %s", r->kind->title, strerror(errno));
		return false;
	}
	c = &fam->children[desk];
	*c = (struct child){
		.pid = pid, .role = role, .generation = fam->spawn.heritage.config_generation,
		.incarnation = atomic_load(&seat_of(fam, desk)->incarnation),
	};
	LOG_INFO("%s %d started (index %u, desk %u)", r->kind->title, (int)pid, r->index, desk);
	return true;
}

unsigned family_fill(struct family *fam, bool serve, int64_t now)
{
	unsigned empty = 0;

	for (unsigned r = 0; r < fam->n_roles; r++) {
		if ((fam->roles[r].kind->serves && !serve) || played(fam, r, false))
			continue;
		empty += !role_fill(fam, r, now);
	}
	return empty;
}

bool family_ready(const struct family *fam)
{
	for (unsigned r = 0; r < fam->n_roles; r++) {
		if (!played(fam, r, true))
			return false;
	}
	return true;
}

bool family_writer_ready(const struct family *fam)
{
	return fam->children[EG_DESK_WAL].pid != 0 && child_ready(fam, EG_DESK_WAL);
}

unsigned family_serving(const struct family *fam)
{
	unsigned n = 0;

	for (unsigned d = 0; d < fam->desks->n; d++)
		n += fam->children[d].pid != 0 && kind_of(fam, &fam->children[d])->serves;
	return n;
}

bool family_hopeless(const struct family *fam)
{
	for (unsigned r = 0; r < fam->n_roles; r++) {
		if (fam->roles[r].deaths > EG_DEATHS_FREE)
			return true;
	}
	return false;
}

bool family_beats(const struct family *fam, int64_t heartbeat_ns)
{
	for (unsigned d = 0; d < fam->desks->n; d++) {
		if (fam->children[d].pid != 0 && fam->children[d].silent_ns >= heartbeat_ns)
			return false;
	}
	return true;
}

/* ---- leaving */

static void child_tell(struct family *fam, struct child *c, enum family_told what, int64_t leave_by)
{
	LOG_DEBUG("%s %d is asked to %s", title_of(fam, c), (int)c->pid, what == FAMILY_STOP ? "stop" : "leave");
	c->told = what;
	c->leave_by = leave_by;
	kill(c->pid, what == FAMILY_STOP ? SIGTERM : SIGQUIT);
	FAULT(MASTER_TOLD);
}

/* Is another one at work in its place? One of a newer generation, though it may be
 * outdated too; or, when this one has not begun to serve, any. Were only the newest
 * generation counted, reloads in quick succession would fill all desks with
 * workers of which none might leave before a newest one had found a desk. */
static bool relieved(const struct family *fam, unsigned desk)
{
	const struct child *c = &fam->children[desk];
	bool serves = child_ready(fam, desk);

	for (unsigned d = 0; d < fam->desks->n; d++) {
		const struct child *o = &fam->children[d];

		if (d != desk && o->pid != 0 && o->role == c->role && o->told == FAMILY_STAY && child_ready(fam, d) &&
		    (o->generation > c->generation || !serves))
			return true;
	}
	return false;
}

unsigned family_retire(struct family *fam, int64_t patience_ns, int64_t now)
{
	unsigned old = 0;

	for (unsigned d = 0; d < fam->desks->n; d++) {
		struct child *c = &fam->children[d];

		if (c->pid == 0 || !kind_of(fam, c)->serves || c->generation == fam->spawn.heritage.config_generation)
			continue;
		old++;
		if (c->told == FAMILY_STAY && relieved(fam, d))
			child_tell(fam, c, FAMILY_LEAVE, now + patience_ns);
	}
	return old;
}

void family_tell(struct family *fam, unsigned rank, enum family_told what, int64_t patience_ns, int64_t now)
{
	for (unsigned d = 0; d < fam->desks->n; d++) {
		struct child *c = &fam->children[d];

		if (c->pid != 0 && kind_of(fam, c)->rank == rank && c->told < what)
			child_tell(fam, c, what, now + patience_ns);
	}
}

void family_signal(const struct family *fam, int number)
{
	for (unsigned d = 0; d < fam->desks->n; d++) {
		if (fam->children[d].pid != 0)
			kill(fam->children[d].pid, number);
	}
}

void family_ring(const struct family *fam)
{
	for (unsigned d = 0; d < fam->desks->n; d++) {
		if (fam->children[d].pid != 0)
			desk_ring_always(fam->desks, d);
	}
}

unsigned family_count(const struct family *fam, unsigned rank)
{
	unsigned n = 0;

	for (unsigned d = 0; d < fam->desks->n; d++) {
		const struct child *c = &fam->children[d];

		n += c->pid != 0 && (rank == UINT_MAX || kind_of(fam, c)->rank == rank);
	}
	return n;
}

int64_t family_deadline(const struct family *fam, int64_t now)
{
	int64_t soonest = INT64_MAX;

	for (unsigned r = 0; r < fam->n_roles; r++) {
		int64_t at = fam->roles[r].not_before;

		if (at > now && at < soonest && !played(fam, r, false))
			soonest = at;
	}
	for (unsigned d = 0; d < fam->desks->n; d++) {
		const struct child *c = &fam->children[d];

		if (c->pid != 0 && c->told != FAMILY_STAY && !c->killed && c->leave_by < soonest)
			soonest = c->leave_by;
	}
	return soonest;
}
