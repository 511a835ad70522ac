# wal: the log and its writer (layer 3).
noinst_LIBRARIES += libwal.a
libwal_a_SOURCES = \
	wal/record.def wal/lane.h wal/submit.h wal/submit.c \
	wal/segment.h wal/segment.c wal/superblock.h wal/superblock.c wal/datadir.h wal/datadir.c \
	wal/extent.def wal/checkpoint.h wal/checkpoint.c wal/checkpoint_out.c \
	wal/spares.h wal/spares.c wal/append.h wal/append.c wal/rescue.c \
	wal/spacemsg.h wal/spacemsg.c wal/overlay.h wal/overlay.c \
	wal/twins.h wal/twins.c wal/logged.h wal/logged.c \
	wal/apply.h wal/apply.c wal/round.h wal/round.c \
	wal/cohort.h wal/cohort.c wal/lanes.h wal/lanes.c wal/appliers.h wal/appliers.c \
	wal/linker.h wal/linker.c \
	wal/admit.h wal/admit_parts.h wal/admit.c wal/admit_space.c \
	wal/dump.h wal/dump.c wal/control.h wal/control.c wal/retire.h wal/retire.c wal/install.h wal/install.c \
	wal/manifest.h wal/manifest.c wal/backup_copy.h wal/backup_copy.c wal/backup.h wal/backup.c \
	wal/restore.h wal/restore.c \
	wal/scan.h wal/scan.c wal/replay.h wal/replay.c wal/replayer.h wal/replayer.c \
	wal/load.h wal/load_parts.h wal/load.c wal/load_rows.c wal/load_segments.c wal/load_spans.c wal/load_lists.c wal/load_anew.c wal/load_fill.h wal/load_fill.c wal/ahead.h wal/ahead.c \
	wal/recover.h wal/recover.c wal/upkeep.h wal/upkeep.c \
	wal/writer.h wal/writer.c \
	wal/salvage.h wal/salvage.c \
	wal/check.h wal/check.c wal/check_log.c wal/check_files.c wal/check_checkpoint.c \
	wal/mend.h wal/mend.c wal/mend_log.c wal/mend_checkpoint.c \
	wal/sink.h wal/sink.c wal/mirror.h wal/mirror.c wal/mirror_mend.c
nodist_libwal_a_SOURCES = wal/record.pb-c.c wal/record.pb-c.h
EXTRA_DIST += wal/README.md wal/record.proto

# The packed part of records, from its description. Generated code is not ours to
# warn about.
BUILT_SOURCES += wal/record.pb-c.h
CLEANFILES += wal/record.pb-c.c wal/record.pb-c.h
wal/record.pb-c.h: wal/record.proto
	@$(MKDIR_P) wal
	$(AM_V_GEN)$(PROTOC_C) --proto_path=$(top_srcdir) --c_out=. $(top_srcdir)/wal/record.proto && \
	{ echo '#pragma GCC system_header'; cat wal/record.pb-c.h; } > wal/record.pb-c.tmp && \
	mv wal/record.pb-c.tmp wal/record.pb-c.h
wal/record.pb-c.c: wal/record.pb-c.h
