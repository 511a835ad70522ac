/* The configuration: its reader, its checks, its table. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "common/config.h"

#define SNIPPETS 15                    /* files in t/data/seed-snippets */

static struct config_messages said;

static struct config *load_over(const char *text, char **overrides, size_t n)
{
	FILE *in = fmemopen((void *)(uintptr_t)text, strlen(text), "r");
	struct config *cfg;

	assert_non_null(in);
	cfg = config_load_stream(in, "a.toml", overrides, n, &said);
	fclose(in);
	assert_int_equal(!cfg, said.errors > 0);
	return cfg;
}

static struct config *load(const char *text)
{
	struct config *cfg = load_over(text, NULL, 0);

	if (!cfg)
		fail_msg("%s", said.v[0].text);
	return cfg;
}

static bool was_said(const char *text)
{
	for (size_t i = 0; i < said.n; i++)
		if (strstr(said.v[i].text, text))
			return true;
	return false;
}

/* The text is refused, and this is among the errors. */
static void refuse(const char *text, const char *error)
{
	struct config *cfg = load_over(text, NULL, 0);

	if (cfg)
		fail_msg("accepted: %s", text);
	if (!was_said(error))
		fail_msg("%s: \"%s\" was not said, but \"%s\"", text, error, said.v[0].text);
}

/* ---- the four traps of inih */

static void indented_keys(void **state)
{
	struct config *c = load("[wal]\n  buffer_size_mb = 7\n\tsegment_size_mb = 9\n   [limits]\n    body_mb = 3\n");

	(void)state;
	assert_int_equal(c->wal_buffer_size_mb, 7);
	assert_int_equal(c->wal_segment_size_mb, 9);
	assert_int_equal(c->limits_body_mb, 3);
	config_free(c);
}

static void semicolons_in_strings(void **state)
{
	struct config *c = load("[server]\ndata_dir = \"/a ; b;c\"\nuser='x ;y'\n");

	(void)state;
	assert_string_equal(c->server_data_dir, "/a ; b;c");
	assert_string_equal(c->server_user, "x ;y");
	config_free(c);
}

static void comments(void **state)
{
	struct config *c = load("# top\n[wal] # of section\nbuffer_size_mb = 64  # Smaller = better; \"quoted\n"
	                        "sync_mode = \"batch\"# close\n[server]\ndata_dir = \"/a # b\\\" # c\" # \" d\n"
	                        "user = '# u'\n#\n[logging] #");

	(void)state;
	assert_int_equal(c->wal_buffer_size_mb, 64);
	assert_int_equal(c->wal_sync_mode, CONFIG_SYNC_BATCH);
	assert_string_equal(c->server_data_dir, "/a # b\" # c");
	assert_string_equal(c->server_user, "# u");
	config_free(c);
}

static void long_lines(void **state)
{
	static char text[EG_CONFIG_LINE_MAX + 64], want[3001];
	struct config *c;

	(void)state;
	memset(want, 'x', 3000);
	want[0] = '/';
	snprintf(text, sizeof text, "[server]\ndata_dir = \"%s\" # and on\nuser = \"u\"", want);
	c = load(text);
	assert_string_equal(c->server_data_dir, want);
	assert_string_equal(c->server_user, "u");
	config_free(c);
	memset(text, '#', sizeof text - 1);
	refuse(text, "a.toml:1: the line has");
	memcpy(text, "[wal]\n", 6);
	refuse(text, "a.toml:2: the line has");
}

/* ---- syntax */

static void values(void **state)
{
	struct config *c = load("\xef\xbb\xbf[limits]\r\nconnections = 1_000\r\n[recall]\nlexical_weight=25e-2\nvector_weight = 1\n"
	                        "[server]\nlisten = [ '127.0.0.1:1', \"[::1]:2\", ]\nallowed_hosts=[\"a\\u00e9\\\\\"]\n"
	                        "[activation]\nvisit_budget_per_tier = {hot=9, warm = 0, cold=4}\nsimd_enabled=false\n"
	                        "[limits]\nbody_mb = +2\n[numa]\nsocket_memory_mb = [1, 2_000]\n[testing]\nclock_offset_seconds=-60\n");

	(void)state;
	assert_int_equal(c->limits_connections, 1000);
	assert_int_equal(c->limits_body_mb, 2);
	assert_true(c->recall_lexical_weight == 0.25);
	assert_true(c->recall_vector_weight == 1);
	assert_int_equal(c->server_listen.n, 2);
	assert_string_equal(c->server_listen.v[1], "[::1]:2");
	assert_string_equal(c->server_allowed_hosts.v[0], "a\xc3\xa9\\");
	assert_int_equal(c->activation_visit_budget_per_tier.hot, 9);
	assert_int_equal(c->activation_visit_budget_per_tier.cold, 4);
	assert_false(c->activation_simd_enabled);
	assert_int_equal(c->numa_socket_memory_mb.v[1], 2000);
	assert_int_equal(c->testing_clock_offset_seconds, -60);
	config_free(c);
}

static void bad_syntax(void **state)
{
	static const char *const cases[][2] = {
		{ "[wal\n", "a.toml:1: a section is written" }, { "[[wal]]\n", "a.toml:1: tables in lists" },
		{ "[wal] x\n", "a.toml:1: only a comment" }, { "[\"wal\"]\n", "a.toml:1: a section is written" },
		{ "[]\n", "a.toml:1: a section is written" }, { "[storage.]\n", "a.toml:1: a section is written" },
		{ "[wal]\n\nhello\n", "a.toml:3: this is neither" }, { "[wal]\n= 1\n", "a.toml:2: this is neither" },
		{ "[wal]\n; old comment\n", "a.toml:2: this is neither" },
		{ "[wal]\n\"sync_mode\" = 1\n", "a.toml:2: write the key without quotes" },
		{ "[storage]\nmigration.x = 1\n", "a.toml:2: dotted keys" },
		{ "sync_mode = 1\n", "a.toml:1: \"sync_mode\" stands before any section; write [wal]" },
		{ "[wal]\nsync_mode =\n", "a.toml:2: wal.sync_mode: the value is missing" },
		{ "[wal]\nsync_mode = batch\n", "write strings in quotes, \"batch\"" },
		{ "[wal]\nsync_mode = \"batch\n", "no closing \"" }, { "[wal]\nsync_mode = \"\"\"\nx\n\"\"\"\n", "over several lines" },
		{ "[wal]\nsync_mode = \"a\\q\"\n", "\\q is no escape" }, { "[wal]\nsync_mode = \"a\" b\n", "b stands behind the value" },
		{ "[wal]\nsync_mode = \"a\\ud800\"\n", "\\u is no escape" }, { "[wal]\nsync_mode = \"a\\u12", "\\u is no escape" },
		{ "[server]\nuser = \"a\\nb\"\n", "control character" },
		{ "[server]\nallowed_hosts = [\n\"a\",\n]\n", "a.toml:2: server.allowed_hosts: lists over several lines" },
		{ "[server]\nallowed_hosts = [\"a\" \"b\"]\n", "separated by commas" },
		{ "[server]\nallowed_hosts = [[\"a\"]]\n", "inside of lists" },
		{ "[limits]\nbody_mb = 0x10\n", "write the number in decimal" }, { "[limits]\nbody_mb = 1__0\n", "is not a number" },
		{ "[limits]\nbody_mb = 1_\n", "is not a number" }, { "[limits]\nbody_mb = 07\n", "without leading zeros" },
		{ "[limits]\nbody_mb = 99999999999999999999\n", "too large" }, { "[recall]\nvector_weight = .5\n", "0.5" },
		{ "[recall]\nvector_weight = 1.\n", "is not a number" }, { "[recall]\nvector_weight = nan\n", "not a number" },
		{ "[recall]\nvector_weight = 2024-01-01\n", "dates are not supported" },
		{ "[wal]\nuse_direct_io = yes\n", "write true or false" }, { "[wal]\nuse_direct_io = True\n", "write true or false" },
		{ "[server]\nuser = \"\xff\"\n", "a.toml:2: the line is not UTF-8" },
		{ "[activation]\nvisit_budget_per_tier = {hot = 1}\n", "needs all of" },
		{ "[activation]\nvisit_budget_per_tier = {hot = 1, hot = 1}\n", "given twice" },
		{ "[activation]\nvisit_budget_per_tier = {hot 1}\n", "name = value" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
		refuse(cases[i][0], cases[i][1]);
	refuse("[server]\nallowed_hosts = [\n\"a\",\n]\n[wal]\nsync_mod=1\n", "a.toml:6: unknown key");
	assert_int_equal(said.errors, 2);      /* the rest of the list brings no errors of its own */
}

/* ---- names, types, ranges */

static void unknown_names(void **state)
{
	(void)state;
	refuse("[wal]\nsync_mod = 1\n", "a.toml:2: unknown key \"sync_mod\" in [wal], did you mean \"sync_mode\"?");
	refuse("[limits]\nbuffer_size_mb = 1\n", "did you mean \"buffer_size_mb\" in [wal]?");
	refuse("[storage.migrations]\nx = 1\n", "a.toml:1: unknown section [storage.migrations], did you mean [storage.migration]?");
	assert_int_equal(said.errors, 1);
	refuse("[hnsw_index]\nm = 16\n", "did you mean \"M\"?");
}

/* Each key: one letter more is refused with the right name, a list of lists is no
 * value of any type, and numbers just beyond the range are refused. */
static void every_key(void **state)
{
	(void)state;
	for (size_t i = 0; i < CONFIG_KEY_COUNT; i++) {
		const struct config_key *k = config_key(i);
		const char *key = strrchr(k->name, '.') + 1;
		int n = (int)(key - k->name) - 1;
		char text[256], error[128];
		snprintf(text, sizeof text, "[%.*s]\n%sx = 1\n", n, k->name, key);
		snprintf(error, sizeof error, "did you mean \"%s\"", key);
		refuse(text, error);
		snprintf(text, sizeof text, "[%.*s]\n%s = [\"x\", [1]]\n", n, k->name, key);
		refuse(text, "a.toml:2: ");
		if (k->type == CONFIG_ENUM) {
			snprintf(text, sizeof text, "[%.*s]\n%s = \"no-such\"\n", n, k->name, key);
			refuse(text, k->names[0]);
		}
		for (int side = -1; (k->type == CONFIG_INT || k->type == CONFIG_FLOAT) && side <= 1; side += 2) {
			snprintf(text, sizeof text, "[%.*s]\n%s = %.15g\n", n, k->name, key, (side < 0 ? k->lo : k->hi) + side);
			refuse(text, "a.toml:2: ");
			assert_true(was_said("out of range; write "));
			assert_true(was_said(config_range(k)));
		}
	}
}

static void table_is_sound(void **state)
{
	(void)state;
	for (size_t i = 0; i < CONFIG_KEY_COUNT; i++) {
		const struct config_key *k = config_key(i);
		char field[96];
		snprintf(field, sizeof field, "%s", k->name);
		for (char *p = field; *p; p++)
			*p = *p == '.' ? '_' : *p;
		assert_string_equal(field, k->field);
		assert_int_equal(config_find(k->name), i);
		assert_true(k->lo <= k->hi);
		assert_true(strlen(k->help) > 10 && k->help[strlen(k->help) - 1] == '.');
		assert_int_equal(k->names[0] != NULL, k->type == CONFIG_ENUM);
	}
	assert_int_equal(config_find("wal.none"), CONFIG_KEY_COUNT);
}

static void wrong_types(void **state)
{
	(void)state;
	refuse("[wal]\nbuffer_size_mb = \"64\"\n", "a.toml:2: wal.buffer_size_mb is a string, but the key takes 1..65536 MB");
	refuse("[wal]\nbuffer_size_mb = 1.5\n", "is a number with a fraction");
	refuse("[wal]\nuse_direct_io = 1\n", "is a whole number, but the key takes true | false");
	refuse("[server]\nuser = true\n", "but the key takes a string");
	refuse("[server]\nlisten = 7432\n", "is a whole number");
	refuse("[server]\nlisten = []\n", "has 0 entries; write 1 to 64 strings");
	refuse("[server]\nlisten = [\"a:1\", 2]\n", "is a whole number");
	refuse("[server]\ndata_dir = \"\"\n", "has 0 bytes");
	refuse("[numa]\nsocket_memory_mb = []\n", "empty list");
	refuse("[numa]\nsocket_memory_mb = [-7]\n", "out of range");
}

static void given_twice(void **state)
{
	struct config *c = load("[wal]\nbuffer_size_mb = 2\n[limits]\nbody_mb = 2\n[wal]\nsync_mode = \"batch\"\n");

	(void)state;
	assert_int_equal(c->wal_buffer_size_mb, 2);    /* a repeated section adds to the first */
	assert_int_equal(c->wal_sync_mode, CONFIG_SYNC_BATCH);
	config_free(c);
	refuse("[wal]\nbuffer_size_mb = 2\n[limits]\n[wal]\nbuffer_size_mb = 2\n",
	       "a.toml:5: wal.buffer_size_mb is given twice, here and in line 2");
}

/* ---- what keys say together */

static void cross_checks(void **state)
{
	static const char *const notes[][2] = {
		{ "[activation]\navx_version = \"avx2\"\nsimd_batch_size = 16\n", "a.toml:3: activation.simd_batch_size = 16 does not match" },
		{ "[numa]\nsocket_memory_mb = [1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1]\n", "a.toml:2: numa.socket_memory_mb has 17 entries" },
		{ "[wal]\nflush_interval_ms = 5\n", "a.toml:2: wal.flush_interval_ms is not used" },
		{ "[activation]\nmax_traversal_depth = 2\n", "a.toml:2: activation.max_traversal_depth is not in force yet" },
		{ "[testing]\nclock_offset_seconds = 5\n", "a.toml:2: testing.clock_offset_seconds = 5" },
		{ "[server]\nlisten = \"0.0.0.0:1\"\ninsecure_plaintext = true\n", "can be reached from outside" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof notes / sizeof *notes; i++) {
		config_free(load(notes[i][0]));
		if (!was_said(notes[i][1]))
			fail_msg("\"%s\" was not said", notes[i][1]);
	}
	refuse("[numa]\nprefer_local_node = true\ninterleave_memory = true\n", "exclude each other");
	refuse("[server]\nlisten = [\"127.0.0.1:1\", \"10.0.0.1:1\"]\n", "a.toml:2: server.listen: \"10.0.0.1:1\" can be reached");
	refuse("[server]\nlisten = \"localhost\"\n", "is no address");
	refuse("[recall]\nlexical_weight = 0\nvector_weight = 0.0\n", "are both 0");
	refuse("[thread_pools]\nrecall_workers = 1024\nstore_workers = 16\n", "a.toml:2: thread_pools.recall_workers");
	config_free(load("[thread_pools]\nrecall_workers = 1024\nstore_workers = 15\n[workers]\nevent_threads = 1\n"));
	refuse("[thread_pools]\nconsolidation_workers = 1024\nbackground_workers = 17\n", "come to more than 1040");
	refuse("[security]\nauth_mode = \"api_key\"\n", "a.toml:2: security.auth_mode is not in force yet");
	refuse("[embedding]\nprovider = \"http\"\n", "not in force yet");
	refuse("[memory_spaces]\ndefault_space = \"No\"\n", "no name of a memory space");
}

static void quiet_where_all_is_well(void **state)
{
	struct config *c = load("[wal]\nsync_mode = \"batch\"\nflush_interval_ms = 5\n[numa]\ninterleave_memory = true\n"
	                        "[activation]\navx_version = \"sse4\"\nsimd_batch_size = 4\n");

	(void)state;
	assert_false(was_said("simd_batch_size"));
	assert_false(was_said("flush_interval_ms"));
	assert_false(c->numa_prefer_local_node);
	config_free(c);
	c = load("[activation]\navx_version = \"sse4\"\n");
	assert_int_equal(c->activation_simd_batch_size, 4);    /* the default follows the choice */
	assert_int_equal(said.n, 0);
	assert_true(config_isa(c) >= CONFIG_ISA_SSE4);
	config_free(c);
	c = load("[activation]\nsimd_enabled = false\n");
	assert_int_equal(config_isa(c), CONFIG_ISA_SCALAR);
	config_free(c);
}

static void addresses(void **state)
{
	static const char *const bad[] = { "", ":1", "a", "a:", "a:65536", "a:-1", "a:+1", "a:1x", "::1:80", "[::1]", "[::1:80",
	                                   "[]:1", "[a]:1", "a b:1", "a/b:1", "[::1]x:1" };
	char host[256];
	int port;

	(void)state;
	assert_int_equal(config_address("example.org:65535", host, &port), EG_E_OK);
	assert_string_equal(host, "example.org");
	assert_int_equal(port, 65535);
	assert_int_equal(config_address("[::1]:80", host, &port), EG_E_OK);
	assert_string_equal(host, "::1");
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		if (config_address(bad[i], host, &port) != EG_E_INPUT)
			fail_msg("%s is taken for an address", bad[i]);
}

/* ---- overrides, dump, compare */

static void overrides(void **state)
{
	char sync[] = "wal.sync_mode=batch", size[] = "wal.buffer_size_mb = 5", later[] = "wal.buffer_size_mb=6",
	     listen[] = "server.listen=127.0.0.1:9", dotted[] = "storage.migration.hot_to_warm_accesses=3";
	char *all[] = { sync, size, later, listen, dotted };
	char *bad[] = { (char[]){ "wal.sync_mod=batch" }, (char[]){ "wall.sync_mode=batch" }, (char[]){ "sync_mode=batch" },
	                (char[]){ "wal.buffer_size_mb=-7" }, (char[]){ "wal.buffer_size_mb" } };
	struct config *c = load_over("[wal]\nbuffer_size_mb = 4\n", all, 5);

	(void)state;
	assert_non_null(c);
	assert_int_equal(c->wal_sync_mode, CONFIG_SYNC_BATCH);
	assert_int_equal(c->wal_buffer_size_mb, 6);
	assert_string_equal(c->server_listen.v[0], "127.0.0.1:9");
	assert_int_equal(c->storage_migration_hot_to_warm_accesses, 3);
	assert_int_equal(c->origin[CONFIG_KEY_wal_sync_mode].source, CONFIG_OVERRIDE);
	config_free(c);
	for (size_t i = 0; i < 5; i++) {
		assert_null(load_over("", &bad[i], 1));
		assert_int_equal(strncmp(said.v[0].text, "-g: ", 4), 0);
	}
	assert_true(was_said("write section.key=value"));
}

static void dump_loads_again(void **state)
{
	struct config *c = load("[server]\ndata_dir = '/a\"\\b'\nallowed_hosts=['x', 'y']\n[recall]\nvector_weight=1\n"
	                        "[activation]\nvisit_budget_per_tier={hot=7,warm=7,cold=7}\n"), *again;
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	(void)state;
	config_dump(c, out);
	fclose(out);
	assert_non_null(strstr(text, "allowed_hosts = [\"x\", \"y\"]  # a.toml:3\n"));
	assert_non_null(strstr(text, "# machine: 2 x cores\n"));
	assert_non_null(strstr(text, "\n[storage.migration]\n"));
	again = load(text);
	assert_int_equal(config_changed(c, again, NULL, NULL), 0);
	for (size_t i = 0; i < CONFIG_KEY_COUNT; i++)
		assert_int_equal(again->origin[i].source, CONFIG_FILE);
	config_free(again);
	config_free(c);
	free(text);
}

static void count(const struct config_key *k, size_t index, void *arg)
{
	(void)k;
	((size_t *)arg)[0]++;
	((size_t *)arg)[1] = index;
}

static void changes(void **state)
{
	struct config *a = load("[logging]\nlevel = \"info\"\n"), *b = load("[logging]\nlevel = \"debug\"\n"),
	              *c = load("[wal]\nsegment_size_mb = 1\n");
	size_t seen[2] = { 0, 0 };

	(void)state;
	assert_int_equal(config_changed(a, b, count, seen), 0);
	assert_int_equal(seen[0], 1);
	assert_int_equal(seen[1], CONFIG_KEY_logging_level);
	assert_int_equal(config_changed(a, c, count, seen), 1);
	assert_int_equal(seen[1], CONFIG_KEY_wal_segment_size_mb);
	config_free(a);
	config_free(b);
	config_free(c);
}

static void json_values(void **state)
{
	struct config *c = load("[server]\nallowed_hosts=['x\"', 'y']\n");
	char *list = config_value_json(c, CONFIG_KEY_server_allowed_hosts), *n = config_value_json(c, CONFIG_KEY_limits_body_mb),
	     *mode = config_value_json(c, CONFIG_KEY_wal_sync_mode),
	     *tiers = config_value_json(c, CONFIG_KEY_activation_visit_budget_per_tier);

	(void)state;
	assert_string_equal(list, "[\"x\\\"\", \"y\"]");
	assert_string_equal(n, "16");
	assert_string_equal(mode, "\"immediate\"");
	assert_string_equal(tiers, "{\"hot\": 3, \"warm\": 2, \"cold\": 1}");
	free(list), free(n), free(mode), free(tiers);
	config_free(c);
}

/* ---- files */

static void files(void **state)
{
	char path[512];
	const char *top = getenv("top_srcdir") ? getenv("top_srcdir") : ".";
	int loaded = 0;

	(void)state;
	assert_null(config_load("/nonexistent/engram.toml", NULL, 0, &said));
	assert_true(was_said("/nonexistent/engram.toml: cannot be opened"));
	assert_null(config_load("/", NULL, 0, &said));
	for (int i = 1; i <= 30; i++) {
		struct config *c;
		snprintf(path, sizeof path, "%s/t/data/seed-snippets/%02d.toml", top, i);
		if (access(path, R_OK) != 0)
			break;
		c = config_load(path, NULL, 0, &said);
		if (!c)
			fail_msg("%s", said.v[0].text);
		assert_int_equal(said.dropped, 0);
		config_free(c);
		loaded++;
	}
	assert_int_equal(loaded, SNIPPETS);
}

static void messages_are_bounded(void **state)
{
	static char text[40000] = "[wal]\n";

	(void)state;
	for (int i = 0; i < 1000; i++)
		strcat(text, "nonsense here\n");
	assert_null(load_over(text, NULL, 0));
	assert_int_equal(said.n, EG_CONFIG_MESSAGES_MAX);
	assert_int_equal(said.errors, 1000);
	assert_int_equal(said.dropped, 1000 - EG_CONFIG_MESSAGES_MAX);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(indented_keys), cmocka_unit_test(semicolons_in_strings), cmocka_unit_test(comments),
		cmocka_unit_test(long_lines), cmocka_unit_test(values), cmocka_unit_test(bad_syntax),
		cmocka_unit_test(unknown_names), cmocka_unit_test(every_key), cmocka_unit_test(table_is_sound),
		cmocka_unit_test(wrong_types), cmocka_unit_test(given_twice), cmocka_unit_test(cross_checks),
		cmocka_unit_test(quiet_where_all_is_well), cmocka_unit_test(addresses), cmocka_unit_test(overrides),
		cmocka_unit_test(dump_loads_again), cmocka_unit_test(changes), cmocka_unit_test(json_values),
		cmocka_unit_test(files), cmocka_unit_test(messages_are_bounded),
	};

	return cmocka_run_group_tests_name("common/config", tests, NULL, NULL);
}
