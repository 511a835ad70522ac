/* Targets, see the header. */
#include "common/fault.h"

#ifdef EG_FAULTS

#include "t/sweep/targets.h"

#include <stddef.h>
#include <string.h>

static const struct { const char *prefix; unsigned kinds; } owners[] = {
	{ "MASTER_", 1u << SERVED_MASTER },
	{ "WORKER_", 1u << SERVED_WORKER },
	{ "CONSOLIDATION_", 1u << SERVED_CONSOLIDATION },
	{ "DUMP_", 1u << SERVED_CONSOLIDATION },
	{ "CHECKPOINT_PUSH", 1u << SERVED_CONSOLIDATION },
	{ "CHECKPOINT_CREATE", 1u << SERVED_CONSOLIDATION },
	{ "CHECKPOINT_WRITE", 1u << SERVED_CONSOLIDATION },
	{ "CHECKPOINT_SYNC", 1u << SERVED_CONSOLIDATION },
	{ "CHECKPOINTS_LIST", 1u << SERVED_WAL | 1u << SERVED_CONSOLIDATION },
	{ "SUBMIT_", 1u << SERVED_WORKER | 1u << SERVED_CONSOLIDATION },
	{ "CHILD_", 1u << SERVED_WAL | 1u << SERVED_WORKER | 1u << SERVED_CONSOLIDATION },
	{ "", 1u << SERVED_WAL },
};

/* Where to begin; the first prefix that fits. Others follow when it is in vain. */
static const struct { const char *prefix; enum stimulus stimulus; } hints[] = {
	{ "MASTER_RELOAD", BY_RELOAD }, { "MASTER_TOLD", BY_RELOAD }, { "MASTER_", BY_DEAD_WORKER },
	{ "CONFIG_FOLLOWED", BY_RELOAD }, { "CONSOLIDATION_READY", BY_DEAD_CONSOLIDATION },
	{ "CONSOLIDATION_", BY_TIME }, { "ACCESS_FOLDED", BY_TIME }, { "DESK_DRAINED", BY_DEAD_WORKER },
	{ "WORKER_ATTACHED", BY_DEAD_WORKER }, { "WORKER_READY", BY_DEAD_WORKER }, { "WRITER_DRAINED", BY_LEFT_WAL },
	{ "WRITER_", BY_DEAD_WAL }, { "RECOVER_", BY_DEAD_WAL }, { "READERS_", BY_DEAD_WAL }, { "REPAIR_", BY_DEAD_WAL },
	{ "GRAPH_DISTRUSTED", BY_CRASHED_WAL }, { "GRAPH_RECORDS", BY_DEAD_WAL }, { "GRAPH_REPAIRED", BY_DEAD_WAL },
	{ "FRESH_REPAIRED", BY_DEAD_WAL },
	{ "HEAP_SCAN_", BY_DEAD_WAL }, { "IDS_SWEPT", BY_DEAD_WAL }, { "REPLAY_ENDED", BY_DEAD_WAL },
	{ "REPLAY_", BY_LOG_ALONE }, { "STORE_ADOPTED", BY_DEAD_WAL }, { "STORE_PUBLISHED", BY_DEAD_WAL },
	{ "STORE_", BY_LOG_ALONE }, { "SEGMENTS_LIST", BY_DEAD_WAL }, { "SEGMENT_HEADER_READ", BY_DEAD_WAL },
	{ "GROUP_HEADER_READ", BY_DEAD_WAL }, { "GROUP_READ", BY_DEAD_WAL }, { "AHEAD_READ", BY_LOG_ALONE }, { "SPARES_LIST", BY_DEAD_WAL },
	{ "LOG_TRIM_OPEN", BY_DEAD_WAL }, { "TAIL_REWRITTEN", BY_DEAD_ROUND }, { "SEGMENT_HIDE", BY_DEAD_ROUND },
	{ "SUPERBLOCK_RENEWED", BY_DAMAGED_SUPERBLOCK }, { "SUPERBLOCK_UPDATE", BY_CHECKPOINT },
	{ "SUPERBLOCK_OPEN", BY_DEAD_WAL }, { "SUPERBLOCK_READ", BY_DEAD_WAL }, { "SUPERBLOCK_", BY_FIRST_START },
	{ "DATADIR_FOLDER_SYNC", BY_FIRST_START }, { "DATADIR_TMP_UNLINK", BY_REST }, { "DATADIR_", BY_DEAD_WAL },
	{ "SPARE_UNLINK", BY_FULL_DISK }, { "SEGMENT_UNLINK", BY_FULL_DISK },
	{ "SPACE_UNRESERVED", BY_SPACES }, { "SPACE_CHANGED", BY_SPACES }, { "SPARE_REMOVE", BY_OTHER_SIZE },
	{ "SEGMENT_GIVEN_UP", BY_FAILED_SYNC }, { "WITNESS_", BY_PAUSES }, { "SEGMENT_HALF_NAMED", BY_DEAD_WAL },
	{ "DUMP_TMP_UNLINK", BY_HALF_CHECKPOINT }, { "DUMP_", BY_CHECKPOINT }, { "CHECKPOINT_READ", BY_CHECKPOINT_ALONE },
	{ "CHECKPOINT", BY_CHECKPOINT }, { "INSTALL_", BY_CHECKPOINT }, { "RETIRE_", BY_CHECKPOINTS },
	{ "LOAD_FALLBACK", BY_DAMAGED_CHECKPOINT }, { "LOAD_PLACED", BY_OTHER_LAYOUT }, { "LOAD_", BY_CHECKPOINT_ALONE },
	{ "APPLY_LOADED", BY_CHECKPOINT_ALONE }, { "BACKUP_LINK", BY_BACKUP_OF_BASE }, { "BACKUP_UNLINK", BY_HALF_BACKUP },
	{ "BACKUP_MANIFEST_OPEN", BY_BACKUP_OF_BASE }, { "BACKUP_MANIFEST_READ", BY_BACKUP_OF_BASE },
	{ "BACKUP_VERIFY_", BY_BACKUP_OF_BASE },
	{ "BACKUP_", BY_BACKUP }, { "MIRROR_REPAIRED", BY_DAMAGED_COPY }, { "MIRROR_LOST", BY_LOST_COPY },
	{ "MIRROR_COPIED", BY_LOST_COPY }, { "MIRROR_", BY_LOST_COPY }, { "", BY_LOAD },
};

static const struct { const char *prefix, *why; } elsewhere[] = {
	{ "SALVAGE_", "not in the server: engram recover" },
	{ "MEND_", "not in the server: engram recover" },
	{ "LOSSES_", "not in the server: engram recover" },
	{ "CHECK_", "not in the server: engram check" },
	{ "RESTORE_", "not in the server: engram restore" },
	{ "DUMP_SYNC_PART", "in a large store only: t/unit/wal_install" },
};

static bool begins(const char *text, const char *prefix) { return strncmp(text, prefix, strlen(prefix)) == 0; }

static enum stimulus hint(enum fault_point p, unsigned kind)
{
	unsigned i = 0;

	if (begins(fault_infos[p].name, "CHILD_"))
		return kind == SERVED_WAL ? BY_DEAD_WAL : kind == SERVED_WORKER ? BY_DEAD_WORKER : BY_DEAD_CONSOLIDATION;
	if (begins(fault_infos[p].name, "SUBMIT_") && kind == SERVED_CONSOLIDATION)
		return BY_TIME;
	while (!begins(fault_infos[p].name, hints[i].prefix))
		i++;
	return hints[i].stimulus;
}

static unsigned kinds_of(enum fault_point p)
{
	unsigned i = 0;

	while (!begins(fault_infos[p].name, owners[i].prefix))
		i++;
	return owners[i].kinds;
}

void targets_init(struct targets *t)
{
	memset(t, 0, sizeof *t);
	for (unsigned p = 0; p < FAULT_POINTS; p++)
		for (unsigned k = 0; k < SERVED_KINDS; k++)
			if (kinds_of((enum fault_point)p) & 1u << k)
				t->v[t->n++] = (struct target){ .point = (enum fault_point)p, .kind = (enum served_kind)k,
					.stimulus = hint((enum fault_point)p, k) };
}

bool target_of_mirror(const struct target *t) { return begins(fault_infos[t->point].name, "MIRROR_"); }

bool target_of_graph(const struct target *t)
{
	static const char *const names[] = { "GRAPH_", "FRESH_", "LINKER_", "REGION_STRETCHED", "REGION_BACKED" };
	bool is = false;

	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		is |= begins(fault_infos[t->point].name, names[i]);
	return is;
}

const char *target_elsewhere(const struct target *t)
{
	for (size_t i = 0; i < sizeof elsewhere / sizeof *elsewhere; i++)
		if (begins(fault_infos[t->point].name, elsewhere[i].prefix))
			return elsewhere[i].why;
	return NULL;
}

#endif
