/* Prints the table of configuration keys, a line each, tab-separated: name, type,
 * default, range, reload or restart, now or later, help. For tests that hold a
 * text against the table (t/man_config.t). With a FILE: loads it, prints what
 * there is to say and exits 1 when it is refused. */
#include <stdio.h>

#include "common/config.h"

static int try_file(const char *path)
{
	static struct config_messages m;
	struct config *cfg = config_load(path, NULL, 0, &m);

	config_messages_print(&m, stdout);
	config_free(cfg);
	return !cfg;
}

int main(int argc, char **argv)
{
	static const char *const types[] = { "boolean", "integer", "number", "string", "name", "list of integers",
	                                     "string or list of strings", "table" };

	if (argc > 1)
		return try_file(argv[1]);
	for (size_t i = 0; i < CONFIG_KEY_COUNT; i++) {
		const struct config_key *k = config_key(i);
		printf("%s\t%s\t%s\t%s\t%s\t%s\t%s\n", k->name, types[k->type], k->dflt, config_range(k),
		       k->reload ? "reload" : "restart", k->force == CONFIG_NOW ? "now" : "later", k->help);
	}
	return 0;
}
