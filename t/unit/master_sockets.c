/* Listening sockets: how many, which survive a change of addresses, what refuses. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "master/sockets.h"

static struct sockets s;
static struct listener out[EG_SOCKETS_MAX];

static enum err update(char *addresses[], size_t n, unsigned threads, unsigned workers, struct fault *f)
{
	struct config cfg = { .server_listen = { addresses, n }, .workers_event_threads = threads };

	return sockets_update(&s, &cfg, workers, f);
}

static int clear(void **state)
{
	(void)state;
	sockets_close(&s);
	memset(&s, 0, sizeof s);
	return 0;
}

/* An address that is free now, in a text of the caller. */
static int occupy(char text[32])
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
	socklen_t bytes = sizeof at;
	int fd = socket(AF_INET, SOCK_STREAM, 0), on = 1;

	setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on);
	assert_int_equal(bind(fd, (struct sockaddr *)&at, bytes), 0);
	assert_int_equal(listen(fd, 1), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &bytes), 0);
	snprintf(text, 32, "127.0.0.1:%d", ntohs(at.sin_port));
	return fd;
}

static void counts(void **state)
{
	char one[32], two[32];
	char *addresses[] = { one, two };
	struct fault f;
	int a = occupy(one), b = occupy(two);

	(void)state;
	close(a);
	close(b);
	assert_int_equal(update(addresses, 2, 3, 2, &f), EG_E_OK);
	assert_int_equal(s.n, 12);
	assert_int_equal(sockets_of(&s, 0, out), 6);
	assert_string_equal(out[0].text, one);
	assert_int_equal(sockets_of(&s, 1, out), 6);
	assert_int_equal(sockets_of(&s, 2, out), 0);
	/* Fewer threads: the sockets stay, each queue must have a reader. */
	assert_int_equal(update(addresses, 2, 1, 2, &f), EG_E_OK);
	assert_int_equal(sockets_of(&s, 0, out), 6);
}

static void busy(void **state)
{
	char other[32];
	char *addresses[] = { other };
	struct fault f;
	int fd = occupy(other);

	(void)state;
	/* Though it let us share the port. */
	assert_int_equal(update(addresses, 1, 1, 1, &f), EG_E_INPUT);
	assert_non_null(strstr(f.message, other));
	assert_non_null(strstr(f.message, "in use"));
	assert_int_equal(s.n, 0);
	assert_int_equal(s.n_addresses, 0);
	close(fd);
}

/* Who holds it leaves while we wait. */
static void leaving(void **state)
{
	char other[32];
	char *addresses[] = { other };
	struct fault f;
	int fd = occupy(other);
	pid_t child = fork();

	(void)state;
	assert_true(child >= 0);
	if (child == 0) {
		(void)poll(NULL, 0, 100);
		_exit(0);
	}
	close(fd);
	s.patience_ms = 60000;
	assert_int_equal(update(addresses, 1, 1, 1, &f), EG_E_OK);
	s.patience_ms = 0;
	assert_int_equal(waitpid(child, NULL, 0), child);
}

static void differences(void **state)
{
	char one[32], two[32];
	char *first[] = { one }, *second[] = { two };
	struct fault f;
	int a = occupy(one), b = occupy(two), kept;

	(void)state;
	close(a);
	assert_int_equal(update(first, 1, 1, 1, &f), EG_E_OK);
	kept = s.v[0].listener.fd;
	/* The second is not to be had: nothing changes. */
	assert_int_equal(update(second, 1, 1, 1, &f), EG_E_INPUT);
	assert_int_equal(sockets_of(&s, 0, out), 1);
	assert_int_equal(out[0].fd, kept);
	close(b);
	assert_int_equal(update(second, 1, 1, 1, &f), EG_E_OK);
	assert_int_equal(sockets_of(&s, 0, out), 1);
	assert_string_equal(out[0].text, two);
	assert_int_not_equal(fcntl(kept, F_GETFD), -1);
	assert_int_equal(sockets_sweep(&s), 1);
	assert_int_equal(fcntl(kept, F_GETFD), -1);
	assert_int_equal(sockets_of(&s, 0, out), 1);
	assert_int_equal(sockets_sweep(&s), 0);
	/* Named again before it was swept: it had never gone. */
	kept = out[0].fd;
	assert_int_equal(update(first, 1, 1, 1, &f), EG_E_OK);
	assert_int_equal(update(second, 1, 1, 1, &f), EG_E_OK);
	assert_int_equal(sockets_of(&s, 0, out), 1);
	assert_int_equal(out[0].fd, kept);
}

static void any_port(void **state)
{
	char any[] = "127.0.0.1:0";
	char *addresses[] = { any };
	struct fault f;

	(void)state;
	assert_int_equal(update(addresses, 1, 2, 2, &f), EG_E_OK);
	assert_int_equal(sockets_of(&s, 1, out), 2);
	assert_string_not_equal(out[0].text, any);
	assert_string_equal(out[0].text, s.v[0].listener.text);
}

static void six(void **state)
{
	char any[] = "[::1]:0";
	char *addresses[] = { any };
	struct fault f;
	int probe = socket(AF_INET6, SOCK_STREAM, 0);
	struct sockaddr_in6 at = { .sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT };

	(void)state;
	if (probe < 0 || bind(probe, (struct sockaddr *)&at, sizeof at) != 0)
		skip();
	close(probe);
	assert_int_equal(update(addresses, 1, 1, 1, &f), EG_E_OK);
	assert_memory_equal(s.v[0].listener.text, "[::1]:", 6);
}

static void in_a_child(void **state)
{
	char any[] = "127.0.0.1:0";
	char *addresses[] = { any };
	struct fault f;
	int mine, other;

	(void)state;
	assert_int_equal(update(addresses, 1, 1, 2, &f), EG_E_OK);
	sockets_of(&s, 0, out);
	mine = out[0].fd;
	sockets_of(&s, 1, out);
	other = out[0].fd;
	sockets_keep(&s, 0);
	assert_int_not_equal(fcntl(mine, F_GETFD), -1);
	assert_int_equal(fcntl(other, F_GETFD), -1);
	sockets_keep(&s, UINT_MAX);
	assert_int_equal(fcntl(mine, F_GETFD), -1);
	s.n = 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(counts, clear), cmocka_unit_test_teardown(busy, clear),
		cmocka_unit_test_teardown(leaving, clear),
		cmocka_unit_test_teardown(differences, clear), cmocka_unit_test_teardown(any_port, clear),
		cmocka_unit_test_teardown(six, clear), cmocka_unit_test_teardown(in_a_child, clear),
	};

	return cmocka_run_group_tests_name("master_sockets", tests, NULL, NULL);
}
