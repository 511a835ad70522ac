/* Pauses of the wal process, cut short. After a failure it waits for a second and more before
 * it tries again, to spare the disk; here thousands of failures are tried, and a run that is
 * over before the first attempt would never see what a second failure does. The linker puts
 * these functions in front of the real ones. */
#include <pthread.h>

#include "common/clock.h"
#include "wal/append.h"

#define PAUSE_NS INT64_C(20000000)

/* The thread that makes spare segments, and the one that rebuilds a copy. */
int __real_pthread_cond_timedwait(pthread_cond_t *c, pthread_mutex_t *m, const struct timespec *until);
int __wrap_pthread_cond_timedwait(pthread_cond_t *c, pthread_mutex_t *m, const struct timespec *until);
int __wrap_pthread_cond_timedwait(pthread_cond_t *c, pthread_mutex_t *m, const struct timespec *until)
{
	int64_t asked = until->tv_sec * INT64_C(1000000000) + until->tv_nsec, soon = clock_mono_ns() + PAUSE_NS;
	const struct timespec then = { soon / 1000000000, soon % 1000000000 };

	return __real_pthread_cond_timedwait(c, m, asked < soon ? until : &then);
}

/* A copy that was given up is taken in again, from 20 ms on after it was. */
enum err __real_append_rejoin(struct append *a, struct fault *f);
enum err __wrap_append_rejoin(struct append *a, struct fault *f);
enum err __wrap_append_rejoin(struct append *a, struct fault *f)
{
	static int64_t due, seen;      /* the log thread alone comes here */
	int64_t *retry = &a->mirror->retry_ns;

	if (*retry != due) {
		due = *retry;
		seen = clock_mono_ns();
	}
	if (due != 0 && due != INT64_MAX && clock_mono_ns() > seen + PAUSE_NS)
		*retry = due = seen;
	return __real_append_rejoin(a, f);
}
