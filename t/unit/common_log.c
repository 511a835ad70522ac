/* The log: one event is one line, whatever is in it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "common/config.h"
#include "common/log.h"

static char dir[] = "common_log.XXXXXX", path[64], moved[64];

static char *content(const char *file)
{
	static char text[4 << 20];
	FILE *in = fopen(file, "r");
	size_t n;

	assert_non_null(in);
	n = fread(text, 1, sizeof text - 1, in);
	text[n] = '\0';
	fclose(in);
	return text;
}

static unsigned lines(const char *text)
{
	unsigned n = 0;

	for (; (text = strchr(text, '\n')); text++)
		n++;
	return n;
}

static int setup(void **state)
{
	(void)state;
	if (!mkdtemp(dir))
		return -1;
	snprintf(path, sizeof path, "%s/log", dir);
	snprintf(moved, sizeof moved, "%s/moved", dir);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	unlink(path);
	unlink(moved);
	return rmdir(dir);
}

static void fresh(enum log_level level, enum log_format format)
{
	log_flush();
	unlink(path);
	assert_int_equal(log_open(path, level, format), EG_E_OK);
}

static void text_lines(void **state)
{
	char *all, *rest;
	int year, month, day, h, m, s, ms, pid;

	(void)state;
	fresh(LOG_LEVEL_INFO, LOG_FORMAT_TEXT);
	log_set_kind("wal process");
	LOG_INFO("hello %d", 7);
	LOG_DEBUG("not this");
	LOG_ERROR("line\nbreak \x1b[31m \xff \xc2\x85 gr\xc3\xbc\xc3\x9f");
	all = content(path);
	assert_int_equal(lines(all), 2);
	assert_int_equal(sscanf(all, "%4d-%2d-%2dT%2d:%2d:%2d.%3dZ [info] wal process %d:", &year, &month, &day, &h, &m, &s,
	                        &ms, &pid), 8);
	assert_int_equal(pid, getpid());
	rest = strstr(all, ": hello 7\n");
	assert_non_null(rest);
	assert_non_null(strstr(rest, "[error] wal process"));
	assert_non_null(strstr(rest, ": line\\x0abreak \\x1b[31m \\xff \\xc2\\x85 gr\xc3\xbc\xc3\x9f\n"));
}

static void json_lines(void **state)
{
	char *all;

	(void)state;
	fresh(LOG_LEVEL_DEBUG, LOG_FORMAT_JSON);
	log_set_kind("worker process");
	LOG_DEBUG("a \"b\" \\ c\t\x7f");
	all = content(path);
	assert_int_equal(strncmp(all, "{\"time\":\"2", 10), 0);
	assert_non_null(strstr(all, "\",\"level\":\"debug\",\"kind\":\"worker process\",\"pid\":"));
	assert_non_null(strstr(all, ",\"message\":\"a \\\"b\\\" \\\\ c\\u0009\\u007f\"}\n"));
}

static void long_messages_are_cut(void **state)
{
	static char text[5000];
	char *all;

	(void)state;
	fresh(LOG_LEVEL_INFO, LOG_FORMAT_TEXT);
	for (size_t i = 0; i + 1 < sizeof text; i++)
		text[i] = i % 2 ? '\xbc' : '\xc3';     /* two-byte characters, cut at none of their middles */
	LOG_INFO("x%s", text);
	all = content(path);
	assert_int_equal(lines(all), 1);
	assert_null(strstr(all, "\\x"));
	assert_true(strlen(all) < EG_LOG_FIELD_MAX + 128);
	assert_string_equal(all + strlen(all) - 4, "...\n");
}

static void repeated_lines_are_counted(void **state)
{
	char *all;

	(void)state;
	fresh(LOG_LEVEL_INFO, LOG_FORMAT_TEXT);
	for (int i = 0; i < 1000; i++)
		LOG_WARN("again");
	LOG_INFO("again");             /* another level is another line */
	LOG_INFO("else");
	LOG_INFO("else");
	log_flush();
	log_flush();
	all = content(path);
	assert_true(lines(all) <= 6);
	assert_non_null(strstr(all, "last message repeated 999 times\n"));
	assert_non_null(strstr(all, "last message repeated 1 times\n"));
}

static void reopen(void **state)
{
	(void)state;
	fresh(LOG_LEVEL_INFO, LOG_FORMAT_TEXT);
	LOG_INFO("one");
	assert_int_equal(rename(path, moved), 0);
	LOG_INFO("two");
	assert_int_equal(log_reopen(), EG_E_OK);
	LOG_INFO("three");
	assert_int_equal(lines(content(moved)), 2);
	assert_non_null(strstr(content(path), "three"));
	assert_int_equal(lines(content(path)), 1);
}

static void a_bad_file_changes_nothing(void **state)
{
	(void)state;
	fresh(LOG_LEVEL_INFO, LOG_FORMAT_TEXT);
	assert_int_equal(log_open("/nonexistent/x", LOG_LEVEL_DEBUG, LOG_FORMAT_JSON), EG_E_INPUT);
	assert_int_equal(log_level_now(), LOG_LEVEL_INFO);
	LOG_INFO("still here");
	assert_non_null(strstr(content(path), "still here"));
}

static void lost_lines_are_told(void **state)
{
	(void)state;
	log_flush();
	if (log_open("/dev/full", LOG_LEVEL_INFO, LOG_FORMAT_TEXT) != EG_E_OK)
		skip();
	LOG_INFO("lost one");
	LOG_INFO("lost two");
	fresh(LOG_LEVEL_INFO, LOG_FORMAT_TEXT);
	LOG_INFO("written");
	assert_int_equal(lines(content(path)), 2);
	assert_non_null(strstr(content(path), "[error] "));
	assert_non_null(strstr(content(path), ": 2 lines of the log before this one could not be written\n"));
}

/* The two tables say the same thing, so that values of one are levels of the other. */
static void levels_are_those_of_the_configuration(void **state)
{
	(void)state;
	assert_int_equal(LOG_LEVEL_ERROR, CONFIG_LEVEL_ERROR);
	assert_int_equal(LOG_LEVEL_WARN, CONFIG_LEVEL_WARN);
	assert_int_equal(LOG_LEVEL_INFO, CONFIG_LEVEL_INFO);
	assert_int_equal(LOG_LEVEL_DEBUG, CONFIG_LEVEL_DEBUG);
	assert_int_equal(LOG_FORMAT_TEXT, CONFIG_FORMAT_TEXT);
	assert_int_equal(LOG_FORMAT_JSON, CONFIG_FORMAT_JSON);
}

#define WRITERS 4
#define EACH 500

static void *write_many(void *arg)
{
	for (int i = 0; i < EACH; i++)
		LOG_INFO("writer %d line %d %0200d end", *(int *)arg, i, i);
	return NULL;
}

static void many_writers(void **state)
{
	pthread_t threads[WRITERS];
	int ids[WRITERS];
	pid_t pid;
	char *all;
	unsigned whole = 0;

	(void)state;
	fresh(LOG_LEVEL_INFO, LOG_FORMAT_TEXT);
	pid = fork();
	if (pid == 0) {
		int id = WRITERS;
		write_many(&id);
		_exit(0);
	}
	for (int i = 0; i < WRITERS; i++) {
		ids[i] = i;
		assert_int_equal(pthread_create(&threads[i], NULL, write_many, &ids[i]), 0);
	}
	for (int i = 0; i < WRITERS; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	all = content(path);
	for (char *line = strtok(all, "\n"); line; line = strtok(NULL, "\n"))
		whole += line[0] == '2' && strcmp(line + strlen(line) - 4, " end") == 0;
	assert_int_equal(whole, (WRITERS + 1) * EACH);
}

static void escapes_fit(void **state)
{
	char out[8];

	(void)state;
	assert_int_equal(log_escape("\xff\xff\xff", 3, LOG_FORMAT_TEXT, out, sizeof out), 4);
	assert_string_equal(out, "\\xff");
	assert_int_equal(log_escape("abcdefghij", 10, LOG_FORMAT_TEXT, out, sizeof out), 7);
	assert_int_equal(log_escape("a", 1, LOG_FORMAT_TEXT, out, 1), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(text_lines), cmocka_unit_test(json_lines), cmocka_unit_test(long_messages_are_cut),
		cmocka_unit_test(repeated_lines_are_counted), cmocka_unit_test(reopen), cmocka_unit_test(a_bad_file_changes_nothing),
		cmocka_unit_test(many_writers), cmocka_unit_test(escapes_fit), cmocka_unit_test(lost_lines_are_told),
		cmocka_unit_test(levels_are_those_of_the_configuration),
	};

	return cmocka_run_group_tests_name("common/log", tests, setup, teardown);
}
