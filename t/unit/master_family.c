/* A reader that never leaves its section, as the master sees it: time is given, so
 * half a minute passes at once. The reader is a process at desk 2, the epoch is
 * moved by one at desk 1. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "master/family.h"

#define SECOND INT64_C(1000000000)
#define HEARTBEAT (1000 * SECOND)

enum { READER = EG_DESK_FIRST };

static const struct kind rows[] = {
	{ EG_PROCESS_WAL, "wal process", "eg-wal", NULL, EG_DESK_WAL, false, 2 },
	{ EG_PROCESS_WORKER, "worker process", "eg-worker", NULL, EG_ANY_DESK, true, 0 },
};

static struct desks desks;
static struct family fam;

static void set_epoch(uint64_t epoch)
{
	atomic_store(&desk_wal(&desks)->epoch, epoch);
}

static void show_epoch(uint64_t epoch)
{
	atomic_store(&desk_epochs(&desks, READER)[3].epoch, epoch);
}

/* A process of its own does this at its desk, because nobody else may. */
static void at_desk(unsigned desk, void (*act)(uint64_t), uint64_t epoch)
{
	struct fault f;
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		if (desk_take(&desks, desk, &f) != EG_E_OK)
			_exit(1);
		act(epoch);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static pid_t victim(void)
{
	pid_t pid = fork();

	if (pid == 0) {
		while (true)
			pause();
	}
	assert_true(pid > 0);
	return pid;
}

static void begin(void)
{
	const struct kinds kinds = { rows, 2 };
	struct fault f;

	assert_int_equal(desks_new(&desks, 4, 1, 1, 1 << 20, &f), EG_E_OK);
	family_init(&fam, &kinds, &desks, 1, 1);
	fam.watched = 0;
	fam.children[READER] = (struct child){ .pid = victim(), .role = 1 };
}

static void end(void)
{
	kill(fam.children[READER].pid, SIGKILL);
	waitpid(fam.children[READER].pid, NULL, 0);
	desks_free(&desks);
}

static void watch(int64_t *now, unsigned seconds)
{
	for (unsigned i = 0; i < seconds; i++)
		family_watch(&fam, HEARTBEAT, *now += SECOND);
}

static void stuck_reader_is_killed(void **state)
{
	int64_t now = SECOND;
	int status;

	(void)state;
	begin();
	at_desk(EG_DESK_WAL, set_epoch, 8);
	at_desk(READER, show_epoch, 7);
	watch(&now, 29);
	assert_false(fam.children[READER].killed);
	watch(&now, 4);
	assert_true(fam.children[READER].killed);
	assert_int_equal(waitpid(fam.children[READER].pid, &status, 0), fam.children[READER].pid);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	desks_free(&desks);
}

/* Always reading, but in the global epoch: it may be another section each time. */
static void busy_reader_stays(void **state)
{
	int64_t now = SECOND;

	(void)state;
	begin();
	at_desk(EG_DESK_WAL, set_epoch, 7);
	at_desk(READER, show_epoch, 7);
	watch(&now, 100);
	assert_false(fam.children[READER].killed);
	end();
}

/* It moves on with the epoch before its time is over, again and again. */
static void moving_reader_stays(void **state)
{
	int64_t now = SECOND;

	(void)state;
	begin();
	for (uint64_t epoch = 7; epoch < 11; epoch++) {
		at_desk(EG_DESK_WAL, set_epoch, epoch + 1);
		at_desk(READER, show_epoch, epoch);
		watch(&now, 25);
	}
	assert_false(fam.children[READER].killed);
	end();
}

/* The master was stopped for an hour: that is nobody's fault. */
static void sleep_of_the_master_does_not_count(void **state)
{
	int64_t now = SECOND;

	(void)state;
	begin();
	at_desk(EG_DESK_WAL, set_epoch, 8);
	at_desk(READER, show_epoch, 7);
	watch(&now, 5);
	now += 3600 * SECOND;
	watch(&now, 5);
	assert_false(fam.children[READER].killed);
	end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(stuck_reader_is_killed),
		cmocka_unit_test(busy_reader_stays),
		cmocka_unit_test(moving_reader_stays),
		cmocka_unit_test(sleep_of_the_master_does_not_count),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
