/* The tables of signals and pauses, and the descriptor that signals come through. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "common/log.h"
#include "master/family.h"
#include "master/signals.h"

static void verbs(void **state)
{
	(void)state;
	assert_int_equal(signals_of_verb("stop"), SIGTERM);
	assert_int_equal(signals_of_verb("quit"), SIGQUIT);
	assert_int_equal(signals_of_verb("reload"), SIGHUP);
	assert_int_equal(signals_of_verb("reopen"), SIGUSR1);
	assert_int_equal(signals_of_verb("upgrade"), SIGUSR2);
	assert_int_equal(signals_of_verb(""), 0);
	assert_int_equal(signals_of_verb("restart"), 0);
	assert_string_equal(signals_verbs(), "stop|quit|reload|reopen|upgrade");
}

static void wishes(void **state)
{
	int fd = signals_open();

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(log_open("/dev/null", LOG_LEVEL_ERROR, LOG_FORMAT_TEXT), EG_E_OK);
	assert_int_equal(signals_take(fd), 0);
	kill(getpid(), SIGHUP);
	assert_int_equal(signals_take(fd), SIGNALS_RELOAD);
	assert_int_equal(signals_take(fd), 0);
	kill(getpid(), SIGINT);
	kill(getpid(), SIGUSR1);
	kill(getpid(), SIGWINCH);
	assert_int_equal(signals_take(fd), SIGNALS_STOP | SIGNALS_REOPEN | SIGNALS_DRAIN);
	kill(getpid(), SIGQUIT);
	kill(getpid(), SIGTERM);
	assert_int_equal(signals_take(fd), SIGNALS_STOP | SIGNALS_LEAVE);
	close(fd);
}

static void pauses(void **state)
{
	(void)state;
	for (unsigned n = 0; n < 5; n++)
		assert_int_equal(family_pause_ms(n), 0);
	assert_int_equal(family_pause_ms(5), 100);
	assert_int_equal(family_pause_ms(6), 200);
	assert_int_equal(family_pause_ms(11), 6400);
	assert_int_equal(family_pause_ms(12), 10000);
	assert_int_equal(family_pause_ms(UINT32_MAX), 10000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(verbs), cmocka_unit_test(wishes), cmocka_unit_test(pauses),
	};

	return cmocka_run_group_tests_name("master_signals", tests, NULL, NULL);
}
