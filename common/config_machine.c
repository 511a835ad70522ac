/* Defaults that the machine decides, so that an empty file is a good configuration.
 *
 * Reads /proc and /sys only, and takes the limits of the control group that the
 * process lives in for the size of the machine. What cannot be found out gets
 * the cautious value. Each function writes file syntax, which then passes the
 * same checks as what a user writes.
 */
#include "common/config_parts.h"

#include <glob.h>
#include <limits.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "common/log.h"
#include "common/vec.h"

#define PATH_BYTES 4400
#define MB (INT64_C(1) << 20)

/* First line of a file without its end; false when there is none. */
static bool read_line(const char *path, char *out, int size)
{
	FILE *f = fopen(path, "re");
	bool good = f && fgets(out, size, f);

	if (f)
		fclose(f);
	if (good)
		out[strcspn(out, "\n")] = '\0';
	return good;
}

/* The number behind `key` in a file of "key: number kB" lines, in kB; -1. */
static int64_t read_kb(const char *path, const char *key)
{
	FILE *f = fopen(path, "re");
	char line[256];
	int64_t kb = -1;

	while (f && kb < 0 && fgets(line, sizeof line, f)) {
		const char *at = strstr(line, key);
		if (at)
			kb = strtoll(at + strlen(key), NULL, 10);
	}
	if (f)
		fclose(f);
	return kb;
}

/* ---- control group (version 2): the limits of ours and all above */

typedef int64_t limit_fn(const char *text);

static int64_t limit_bytes(const char *text)
{
	return strcmp(text, "max") == 0 ? INT64_MAX : strtoll(text, NULL, 10);
}

/* "QUOTA PERIOD" -> whole cores, rounded up. */
static int64_t limit_cores(const char *text)
{
	char *end;
	int64_t quota, period;

	if (strncmp(text, "max", 3) == 0)
		return INT64_MAX;
	quota = strtoll(text, &end, 10);
	period = strtoll(end, NULL, 10);
	return quota > 0 && period > 0 ? (quota + period - 1) / period : INT64_MAX;
}

static int64_t group_limit(const char *file, limit_fn *limit)
{
	char group[PATH_BYTES], path[PATH_BYTES + 64], text[64];
	int64_t least = INT64_MAX;

	if (!read_line("/proc/self/cgroup", group, sizeof group) || strncmp(group, "0::/", 4) != 0)
		return least;
	for (char *slash; (slash = strrchr(group, '/')); *slash = '\0') {
		snprintf(path, sizeof path, "/sys/fs/cgroup%s/%s", group + 3, file);
		if (read_line(path, text, sizeof text) && limit(text) > 0 && limit(text) < least)
			least = limit(text);
	}
	return least;
}

/* ---- cores, memory, nodes, CPU */

static int64_t cores(void)
{
	cpu_set_t set;
	int64_t n = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : sysconf(_SC_NPROCESSORS_ONLN);
	int64_t limit = group_limit("cpu.max", limit_cores);

	if (n > limit)
		n = limit;
	return n > 0 ? n : 1;
}

static int64_t ram_mb(void)
{
	int64_t bytes = (int64_t)sysconf(_SC_PHYS_PAGES) * sysconf(_SC_PAGESIZE);
	int64_t limit = group_limit("memory.max", limit_bytes);

	return (bytes < limit ? bytes : limit) / MB;
}

size_t config_machine_nodes(void)
{
	glob_t g;
	size_t n = glob("/sys/devices/system/node/node[0-9]*", 0, NULL, &g) == 0 ? g.gl_pathc : 0;

	globfree(&g);
	return n > 0 ? n : 1;
}

enum config_isa config_machine_isa(void)
{
#ifdef __x86_64__
	__builtin_cpu_init();
	if (__builtin_cpu_supports("avx512f"))
		return CONFIG_ISA_AVX512;
	if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
		return CONFIG_ISA_AVX2;
	if (__builtin_cpu_supports("sse4.1"))
		return CONFIG_ISA_SSE4;
#endif
	return CONFIG_ISA_SCALAR;
}

/* ---- defaults */

static void put_int(char *text, size_t size, int64_t n, int64_t lo, int64_t hi)
{
	snprintf(text, size, "%lld", (long long)(n < lo ? lo : n > hi ? hi : n));
}

static void put_bool(char *text, size_t size, bool b)
{
	snprintf(text, size, "%s", b ? "true" : "false");
}

void config_machine_recall_workers(const struct config *cfg, char *text, size_t size)
{
	(void)cfg;
	put_int(text, size, 2 * cores(), 1, 640);      /* with the next below EG_CONFIG_THREADS_MAX */
}

void config_machine_store_workers(const struct config *cfg, char *text, size_t size)
{
	(void)cfg;
	put_int(text, size, cores() / 2, 2, 256);
}

void config_machine_apply_threads(const struct config *cfg, char *text, size_t size)
{
	(void)cfg;
	put_int(text, size, cores() / 2, 1, 16);
}

void config_machine_hot_tier_shards(const struct config *cfg, char *text, size_t size)
{
	(void)cfg;
	put_int(text, size, 4 * cores(), 1, 4096);
}

void config_machine_avx_version(const struct config *cfg, char *text, size_t size)
{
	(void)cfg;
	snprintf(text, size, "\"%s\"", config_key(CONFIG_KEY_activation_avx_version)->names[config_machine_isa()]);
}

/* Of the instruction set asked for, so that choosing one is enough. */
void config_machine_simd_batch_size(const struct config *cfg, char *text, size_t size)
{
	put_int(text, size, config_isa_lanes((enum config_isa)cfg->activation_avx_version), 1, 64);
}

void config_machine_numa_aware(const struct config *cfg, char *text, size_t size)
{
	(void)cfg;
	put_bool(text, size, config_machine_nodes() > 1);
}

void config_machine_prefer_local_node(const struct config *cfg, char *text, size_t size)
{
	put_bool(text, size, !cfg->numa_interleave_memory);
}

void config_machine_socket_memory_mb(const struct config *cfg, char *text, size_t size)
{
	size_t nodes = config_machine_nodes(), used = 0;

	(void)cfg;
	for (size_t i = 0; i < nodes && used + 32 < size; i++) {
		char path[96];
		snprintf(path, sizeof path, "/sys/devices/system/node/node%zu/meminfo", i);
		int64_t mb = read_kb(path, "MemTotal:") / 1024;
		used += (size_t)snprintf(text + used, size - used, "%s%lld", i ? ", " : "[",
		                         (long long)(mb > 0 ? mb : ram_mb() > 0 ? ram_mb() : 1));
	}
	snprintf(text + used, size - used, "]");
}

void config_machine_hot_tier_size_mb(const struct config *cfg, char *text, size_t size)
{
	(void)cfg;
	put_int(text, size, ram_mb() * 15 / 100, 8, INT64_C(67108864));
}

void config_machine_warm_tier_size_mb(const struct config *cfg, char *text, size_t size)
{
	(void)cfg;
	put_int(text, size, ram_mb() * 35 / 100, 8, INT64_C(67108864));
}

void config_machine_use_huge_pages(const struct config *cfg, char *text, size_t size)
{
	(void)cfg;
	put_bool(text, size, ram_mb() > 16 * 1024);
}

/* Device of data_dir or, before it exists, of the nearest directory above. */
static bool device_of(const char *path, dev_t *dev)
{
	char at[PATH_BYTES];
	struct stat st;

	snprintf(at, sizeof at, "%s", path);
	while (stat(at, &st) != 0) {
		char *slash = strrchr(at, '/');
		if (!slash)
			return false;
		if (slash == at && at[1] == '\0')
			return false;
		slash[slash == at] = '\0';
	}
	*dev = st.st_dev;
	return true;
}

void config_machine_mmap_populate(const struct config *cfg, char *text, size_t size)
{
	char path[128], rotates[8] = "1";
	dev_t dev = 0;

	if (device_of(cfg->server_data_dir, &dev)) {
		snprintf(path, sizeof path, "/sys/dev/block/%u:%u/queue/rotational", major(dev), minor(dev));
		if (!read_line(path, rotates, sizeof rotates)) {        /* a partition: its disk knows */
			snprintf(path, sizeof path, "/sys/dev/block/%u:%u/../queue/rotational", major(dev), minor(dev));
			if (!read_line(path, rotates, sizeof rotates))
				strcpy(rotates, "1");
		}
	}
	put_bool(text, size, strcmp(rotates, "0") == 0);
}

/* ---- what the values come to */

int config_isa_lanes(enum config_isa isa)
{
	static const int lanes[] = { [CONFIG_ISA_AVX512] = 16, [CONFIG_ISA_AVX2] = 8, [CONFIG_ISA_SSE4] = 4,
	                             [CONFIG_ISA_SCALAR] = 1 };

	return lanes[isa];
}

const char *config_isa_name(enum config_isa isa)
{
	return isa == CONFIG_ISA_SCALAR ? "scalar" : config_key(CONFIG_KEY_activation_avx_version)->names[isa];
}

enum config_isa config_isa(const struct config *cfg)
{
	enum config_isa best = config_machine_isa(), wanted = (enum config_isa)cfg->activation_avx_version;

	if (!cfg->activation_simd_enabled)
		return CONFIG_ISA_SCALAR;
	return wanted > best ? wanted : best;  /* the names stand best first */
}

void config_choose_kernels(const struct config *cfg)
{
	const char *why = vec_init(cfg->activation_simd_enabled, config_isa_name(config_isa(cfg)));

	if (why != NULL)
		LOG_WARN("vector kernels: %s", why);
}
