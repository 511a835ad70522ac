# t: all tests, run by one prove: unit programs (cmocka, printing TAP) and
# black-box files (t/*.t, Perl) that boot a real server on a free port.
# A unit program is named t/unit/LAYER_NOUN and links its own layer and lower
# ones (t/house_layers.t looks). t/lib/Engram.pm starts servers for the others.

# ---- about the house itself: no server needed ----
TFILES += t/house_layers.t t/house_size.t t/house_headers.t t/house_words.t \
	t/house_helper.t t/house_hardening.t t/house_tables.t t/house_listed.t t/house_io.t t/man_lint.t
EXTRA_DIST += t/lib/Engram.pm t/lib/House.pm t/lib/Tally.pm t/lib/fake_server t/with_server

# the mind
UNIT += t/unit/mind_rank
t_unit_mind_rank_SOURCES = t/unit/mind_rank.c
t_unit_mind_rank_CPPFLAGS = $(AM_CPPFLAGS) $(CMOCKA_CFLAGS)
t_unit_mind_rank_LDADD = $(MIND_LIBS) $(CMOCKA_LIBS)
UNIT += t/unit/mind_filter
t_unit_mind_filter_SOURCES = t/unit/mind_filter.c
t_unit_mind_filter_CPPFLAGS = $(AM_CPPFLAGS) $(CMOCKA_CFLAGS)
t_unit_mind_filter_LDADD = $(MIND_LIBS) $(CMOCKA_LIBS)
TFILES += t/memories.t t/recall.t t/spaces.t

# bytes, text, vectors
UNIT += t/unit/common_bytes
t_unit_common_bytes_SOURCES = t/unit/common_bytes.c
t_unit_common_bytes_CPPFLAGS = $(AM_CPPFLAGS) $(CMOCKA_CFLAGS)
t_unit_common_bytes_LDADD = $(COMMON_LIBS) $(CMOCKA_LIBS)
UNIT += t/unit/common_buf
t_unit_common_buf_SOURCES = t/unit/common_buf.c
t_unit_common_buf_CPPFLAGS = $(AM_CPPFLAGS) $(CMOCKA_CFLAGS)
t_unit_common_buf_LDADD = $(COMMON_LIBS) $(CMOCKA_LIBS)
UNIT += t/unit/common_words
t_unit_common_words_SOURCES = t/unit/common_words.c
t_unit_common_words_CPPFLAGS = $(AM_CPPFLAGS) $(CMOCKA_CFLAGS)
t_unit_common_words_LDADD = $(COMMON_LIBS) $(CMOCKA_LIBS)
UNIT += t/unit/common_vec
t_unit_common_vec_SOURCES = t/unit/common_vec.c
t_unit_common_vec_CPPFLAGS = $(AM_CPPFLAGS) $(CMOCKA_CFLAGS)
t_unit_common_vec_LDADD = $(COMMON_LIBS) $(CMOCKA_LIBS)
UNIT += t/unit/common_code
t_unit_common_code_SOURCES = t/unit/common_code.c
t_unit_common_code_CPPFLAGS = $(AM_CPPFLAGS) $(CMOCKA_CFLAGS)
t_unit_common_code_LDADD = $(COMMON_LIBS) $(CMOCKA_LIBS)
UNIT += t/unit/common_fields
t_unit_common_fields_SOURCES = t/unit/common_fields.c
t_unit_common_fields_CPPFLAGS = $(AM_CPPFLAGS) $(CMOCKA_CFLAGS)
t_unit_common_fields_LDADD = $(COMMON_LIBS) $(CMOCKA_LIBS)
UNIT += t/unit/common_json
t_unit_common_json_SOURCES = t/unit/common_json.c t/unit/common_json_twin.h \
	t/unit/common_json_twin.c t/unit/common_json_jansson.c
t_unit_common_json_CPPFLAGS = $(AM_CPPFLAGS) $(CMOCKA_CFLAGS)
t_unit_common_json_LDADD = $(COMMON_LIBS) $(CMOCKA_LIBS) $(JANSSON_LIBS)
UNIT += t/unit/mind_embed
t_unit_mind_embed_SOURCES = t/unit/mind_embed.c
t_unit_mind_embed_CPPFLAGS = $(AM_CPPFLAGS) $(CMOCKA_CFLAGS)
t_unit_mind_embed_LDADD = $(MIND_LIBS) $(CMOCKA_LIBS)

# configuration, log, clock
UNIT += t/unit/common_config
t_unit_common_config_SOURCES = t/unit/common_config.c
t_unit_common_config_CPPFLAGS = $(AM_CPPFLAGS) $(CMOCKA_CFLAGS)
t_unit_common_config_LDADD = $(COMMON_LIBS) $(CMOCKA_LIBS)
UNIT += t/unit/common_clock
t_unit_common_clock_SOURCES = t/unit/common_clock.c
t_unit_common_clock_CPPFLAGS = $(AM_CPPFLAGS) $(CMOCKA_CFLAGS)
t_unit_common_clock_LDADD = $(COMMON_LIBS) $(CMOCKA_LIBS)
UNIT += t/unit/common_log
t_unit_common_log_SOURCES = t/unit/common_log.c
t_unit_common_log_CPPFLAGS = $(AM_CPPFLAGS) $(CMOCKA_CFLAGS)
t_unit_common_log_LDADD = $(COMMON_LIBS) $(CMOCKA_LIBS)
check_PROGRAMS += t/unit/common_keys
t_unit_common_keys_SOURCES = t/unit/common_keys.c
t_unit_common_keys_LDADD = $(COMMON_LIBS)
TFILES += t/man_config.t
EXTRA_DIST += \
	t/data/seed-snippets/01.toml t/data/seed-snippets/02.toml t/data/seed-snippets/03.toml \
	t/data/seed-snippets/04.toml t/data/seed-snippets/05.toml t/data/seed-snippets/06.toml \
	t/data/seed-snippets/07.toml t/data/seed-snippets/08.toml t/data/seed-snippets/09.toml \
	t/data/seed-snippets/10.toml t/data/seed-snippets/11.toml t/data/seed-snippets/12.toml \
	t/data/seed-snippets/13.toml t/data/seed-snippets/14.toml t/data/seed-snippets/15.toml

# ---- the program engram ----
TFILES += t/man_client.t t/client_http.t t/wal_dump.t
EXTRA_DIST += t/lib/Texts.pm

# Imports 100,000 texts and looks for them, through kill and restart. The small
# version of the same test is part of make check.
IMPORT_TEXTS = $(abs_top_srcdir)/../shared/data/ann/use512.base.txt
check-import: all-am check-tools
	@export ENGRAM_IMPORT=full ENGRAM_IMPORT_TEXTS='$(IMPORT_TEXTS)'; \
	list='t/import.t'; $(RUN_TESTS)
check-import: TEST_SECONDS = 7200

.PHONY: check-import
TFILES += t/client.t t/import.t

# The JSON parser under clang's libFuzzer; not part of make check.
FUZZ_JSON = t/fuzz/json.c t/unit/common_json_twin.c t/unit/common_json_jansson.c \
	common/json.c common/decimal.c common/utf8.c common/hash.c common/arena.c common/buf.c common/err.c
EXTRA_DIST += t/fuzz/json.c
CLEANFILES += t/fuzz/json

fuzz-json:
	@command -v clang >/dev/null || { echo 'clang is missing: apt-get install clang'; exit 1; }
	@$(MKDIR_P) t/fuzz
	cd $(top_srcdir) && clang -std=gnu11 -O1 -g -D_GNU_SOURCE -DEG_SANITIZE=1 -I. $(JANSSON_CFLAGS) \
		-fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all \
		-o $(abs_top_builddir)/t/fuzz/json $(FUZZ_JSON) $(JANSSON_LIBS) -lm

.PHONY: fuzz-json

# ---- the whole: who may write what, and reloads under load ----
TFILES += t/thesis.t t/reload.t
check_PROGRAMS += t/unit/shm_inject
t_unit_shm_inject_SOURCES = t/unit/shm_inject.c
EXTRA_DIST += t/lib/Load.pm

# Another program on the same sockets: engram_other is the product with another
# layout of shared memory. `make check-upgrade N=100` is the long form.
check_PROGRAMS += t/engram_other
t_engram_other_SOURCES = master/main.c master/kinds.c shm/store.c
t_engram_other_CPPFLAGS = $(AM_CPPFLAGS) -DEG_LAYOUT_SALT=1
t_engram_other_LDADD = $(engram_server_LDADD)
TFILES += t/upgrade.t
check-upgrade: all-am check-tools t/engram_other$(EXEEXT)
	@n='$(N)'; export ENGRAM_UPGRADES="$${n:-100}"; list='t/upgrade.t'; $(RUN_TESTS)
check-upgrade: TEST_SECONDS = 7200

.PHONY: check-upgrade

# requests, routes, pools
TFILES += t/http_wire.t t/http_expire.t
UNIT += t/unit/api_guard t/unit/api_target t/unit/workers_pool
t_unit_api_guard_SOURCES = t/unit/api_guard.c
t_unit_api_guard_CPPFLAGS = $(AM_CPPFLAGS) $(CMOCKA_CFLAGS)
t_unit_api_guard_LDADD = $(API_LIBS) $(CMOCKA_LIBS)
t_unit_api_target_SOURCES = t/unit/api_target.c
t_unit_api_target_CPPFLAGS = $(AM_CPPFLAGS) $(CMOCKA_CFLAGS)
t_unit_api_target_LDADD = $(API_LIBS) $(CMOCKA_LIBS)
t_unit_workers_pool_SOURCES = t/unit/workers_pool.c
t_unit_workers_pool_CPPFLAGS = $(AM_CPPFLAGS) $(CMOCKA_CFLAGS)
t_unit_workers_pool_LDADD = $(WORKERS_LIBS) $(CMOCKA_LIBS)

# shm and wal: the writer from outside, with processes that are killed.
UNIT += t/unit/wal_writer
t_unit_wal_writer_SOURCES = t/unit/wal_writer.c t/unit/wal_family.c t/unit/wal_family.h \
	t/unit/wal_load.c t/unit/wal_load.h
t_unit_wal_writer_CPPFLAGS = $(AM_CPPFLAGS) $(CMOCKA_CFLAGS)
t_unit_wal_writer_LDADD = $(WAL_LIBS) $(CMOCKA_LIBS)
UNIT += t/unit/wal_cohort
t_unit_wal_cohort_SOURCES = t/unit/wal_cohort.c
t_unit_wal_cohort_CPPFLAGS = $(AM_CPPFLAGS) $(CMOCKA_CFLAGS)
t_unit_wal_cohort_LDADD = $(WAL_LIBS) $(CMOCKA_LIBS)

# Killed at each step on disk, and with lanes that lie: calls are wrapped by the linker.
UNIT += t/unit/wal_crash
t_unit_wal_crash_SOURCES = t/unit/wal_crash.c t/unit/wal_family.c t/unit/wal_family.h \
	t/unit/wal_load.c t/unit/wal_load.h
t_unit_wal_crash_CPPFLAGS = $(AM_CPPFLAGS) $(CMOCKA_CFLAGS)
t_unit_wal_crash_LDADD = $(WAL_LIBS) $(CMOCKA_LIBS)
t_unit_wal_crash_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=io_write_at -Wl,--wrap=io_sync -Wl,--wrap=io_sync_dir \
	-Wl,--wrap=io_rename -Wl,--wrap=lanes_gather

# From inside: one process, which may write everything.
UNIT += t/unit/shm_store t/unit/shm_threads t/unit/wal_segment t/unit/wal_overlay t/unit/wal_threads \
	t/unit/wal_replayer
t_unit_shm_store_SOURCES = t/unit/shm_store.c t/unit/shm_bench.c t/unit/shm_bench.h
t_unit_shm_store_CPPFLAGS = $(AM_CPPFLAGS) $(CMOCKA_CFLAGS)
t_unit_shm_store_LDADD = $(SHM_LIBS) $(CMOCKA_LIBS)
t_unit_shm_threads_SOURCES = t/unit/shm_threads.c t/unit/shm_bench.c t/unit/shm_bench.h
t_unit_shm_threads_CPPFLAGS = $(AM_CPPFLAGS) $(CMOCKA_CFLAGS)
t_unit_shm_threads_LDADD = $(SHM_LIBS) $(CMOCKA_LIBS)
t_unit_wal_segment_SOURCES = t/unit/wal_segment.c
t_unit_wal_segment_CPPFLAGS = $(AM_CPPFLAGS) $(CMOCKA_CFLAGS)
t_unit_wal_segment_LDADD = $(WAL_LIBS) $(CMOCKA_LIBS)
t_unit_wal_segment_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=aligned_alloc
t_unit_wal_overlay_SOURCES = t/unit/wal_overlay.c
t_unit_wal_overlay_CPPFLAGS = $(AM_CPPFLAGS) $(CMOCKA_CFLAGS)
t_unit_wal_overlay_LDADD = $(WAL_LIBS) $(CMOCKA_LIBS)
t_unit_wal_threads_SOURCES = t/unit/wal_threads.c t/unit/shm_bench.c t/unit/shm_bench.h
t_unit_wal_threads_CPPFLAGS = $(AM_CPPFLAGS) $(CMOCKA_CFLAGS)
t_unit_wal_threads_LDADD = $(WAL_LIBS) $(CMOCKA_LIBS)
t_unit_wal_replayer_SOURCES = t/unit/wal_replayer.c t/unit/shm_bench.c t/unit/shm_bench.h
t_unit_wal_replayer_CPPFLAGS = $(AM_CPPFLAGS) $(CMOCKA_CFLAGS)
t_unit_wal_replayer_LDADD = $(WAL_LIBS) $(CMOCKA_LIBS)

# Graphs: the linking thread step by step, and as a thread.
UNIT += t/unit/wal_linker
t_unit_wal_linker_SOURCES = t/unit/wal_linker.c t/unit/graph_bench.c t/unit/graph_bench.h \
	t/unit/shm_bench.c t/unit/shm_bench.h
t_unit_wal_linker_CPPFLAGS = $(AM_CPPFLAGS) $(CMOCKA_CFLAGS)
t_unit_wal_linker_LDADD = $(WAL_LIBS) $(CMOCKA_LIBS)

UNIT += t/unit/wal_link_threads
t_unit_wal_link_threads_SOURCES = t/unit/wal_link_threads.c t/unit/graph_bench.c t/unit/graph_bench.h \
	t/unit/shm_bench.c t/unit/shm_bench.h
t_unit_wal_link_threads_CPPFLAGS = $(AM_CPPFLAGS) $(CMOCKA_CFLAGS)
t_unit_wal_link_threads_LDADD = $(WAL_LIBS) $(CMOCKA_LIBS)

# ---- the frame: it comes last ----
UNIT +=
TFILES +=
if HAVE_CMOCKA
check_PROGRAMS += $(UNIT)
endif
EXTRA_DIST += $(TFILES)

# What tests may need to find: the source tree, the built programs and which
# sanitizers are in them. A sanitizer's finding ends the program with SIGABRT,
# so that nobody can take it for an ordinary exit. What the caller set wins.
TESTENV = top_srcdir='$(abs_top_srcdir)' top_builddir='$(abs_top_builddir)' \
	sanitize='$(enable_sanitize)' CMOCKA_MESSAGE_OUTPUT=tap \
	PERL5LIB='$(abs_top_srcdir)/t/lib' \
	ASAN_OPTIONS="abort_on_error=1:detect_leaks=1:$$ASAN_OPTIONS" \
	UBSAN_OPTIONS="abort_on_error=1:print_stacktrace=1:$$UBSAN_OPTIONS" \
	TSAN_OPTIONS="abort_on_error=1:halt_on_error=1:$$TSAN_OPTIONS"

# `make check T='t/house_size.t'` runs those alone; PROVEFLAGS=-v shows each test.
# A test program that hangs is ended after TEST_SECONDS, and has failed then.
T = $(UNIT) $(SWEEPS) $(TFILES)
TEST_SECONDS = 900
RUN_TESTS = \
	files=''; for f in $$list; do \
		case $$f in *.t) files="$$files $(srcdir)/$$f";; *) files="$$files ./$$f";; esac; done; \
	test -n "$$files" || { echo 'no tests'; exit 1; }; \
	env $(TESTENV) $(PROVE) --timer --exec 'timeout --foreground -k 30 $(TEST_SECONDS)' --formatter Tally $(PROVEFLAGS) $$files

check-tools:
	@test -n '$(PROVE)' || { echo 'prove is missing: apt-get install perl'; exit 1; }
if !HAVE_CMOCKA
	@echo 'cmocka is missing: apt-get install libcmocka-dev, then ./configure'; exit 1
endif

check-local: check-tools $(check_PROGRAMS)
	@list='$(T)'; $(RUN_TESTS)

# The unit programs need no server. Generated headers come before anything is compiled.
check-programs: $(BUILT_SOURCES)
	@$(MAKE) $(AM_MAKEFLAGS) $(check_PROGRAMS)

check-unit: check-tools check-programs
	@list='$(UNIT)'; $(RUN_TESTS)

.PHONY: check-tools check-programs check-unit
UNIT += t/unit/wal_errors
t_unit_wal_errors_SOURCES = t/unit/wal_errors.c t/unit/wal_family.c t/unit/wal_family.h
t_unit_wal_errors_CPPFLAGS = $(AM_CPPFLAGS) $(CMOCKA_CFLAGS)
t_unit_wal_errors_LDADD = $(WAL_LIBS) $(CMOCKA_LIBS)
UNIT += t/unit/wal_backup
t_unit_wal_backup_SOURCES = t/unit/wal_backup.c t/unit/wal_family.c t/unit/wal_family.h
t_unit_wal_backup_CPPFLAGS = $(AM_CPPFLAGS) $(CMOCKA_CFLAGS)
t_unit_wal_backup_LDADD = $(WAL_LIBS) $(CMOCKA_LIBS)
TFILES += t/damage.t t/check.t t/mirror.t t/backup.t t/diskfull.t

# A small disk that is filled N times (20).
diskfull: all-am check-tools
	@n='$(N)'; export ENGRAM_ROUNDS="$${n:-20}"; list='t/diskfull.t'; $(RUN_TESTS)

.PHONY: diskfull

# Fault points: kills and failing calls.
check_PROGRAMS += t/unit/wal_killsweep
t_unit_wal_killsweep_SOURCES = t/unit/wal_killsweep.c \
	t/unit/wal_history.c t/unit/wal_history.h t/unit/wal_family.c t/unit/wal_family.h
t_unit_wal_killsweep_LDADD = $(WAL_LIBS)
TFILES += t/fault_points.t

# N kills at fault points of a real server (default 5000), from SEED (default: a
# random one, printed); killsweep-wal does the same with the wal process alone.
killsweep: all-am t/sweep/killsweep$(EXEEXT)
	n='$(N)'; ./t/sweep/killsweep $${n:-5000} $(SEED)

killsweep-wal: all-am t/unit/wal_killsweep$(EXEEXT)
	n='$(N)'; ./t/unit/wal_killsweep $${n:-5000} $(SEED)

.PHONY: killsweep-wal

.PHONY: killsweep

# Power loss: N disks (default 50000) as they may be when the power fails, from SEED.
UNIT += t/unit/wal_powerloss
t_unit_wal_powerloss_SOURCES = t/unit/wal_powerloss.c t/unit/wal_powerloss.h \
	t/unit/wal_powerloss_model.c t/unit/wal_powerloss_run.c t/unit/wal_powerloss_check.c t/unit/wal_powerloss_dump.c \
	t/unit/wal_powerloss_disk.c t/unit/wal_powerloss_disk.h t/unit/wal_family.c t/unit/wal_family.h
t_unit_wal_powerloss_LDADD = $(WAL_LIBS)
if FAULTS
t_unit_wal_powerloss_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=madvise -Wl,--wrap=spares_open
endif
powerloss: all-am t/unit/wal_powerloss
	n='$(N)'; ./t/unit/wal_powerloss $${n:-50000} $(SEED)

.PHONY: powerloss

# Checkpoints: the files.
UNIT += t/unit/wal_checkpoint
t_unit_wal_checkpoint_SOURCES = t/unit/wal_checkpoint.c
t_unit_wal_checkpoint_CPPFLAGS = $(AM_CPPFLAGS) $(CMOCKA_CFLAGS)
t_unit_wal_checkpoint_LDADD = $(WAL_LIBS) $(CMOCKA_LIBS)
TFILES += t/checkpoint.t t/graphs.t t/nearest.t
UNIT += t/unit/wal_install
t_unit_wal_install_SOURCES = t/unit/wal_install.c t/unit/wal_head.c t/unit/wal_head.h t/unit/shm_bench.c t/unit/shm_bench.h
t_unit_wal_install_CPPFLAGS = $(AM_CPPFLAGS) $(CMOCKA_CFLAGS)
t_unit_wal_install_LDADD = $(WAL_LIBS) $(CMOCKA_LIBS)

# Every instruction of the store's writing side (stride and seed: see the program).
UNIT += t/unit/wal_killstep
t_unit_wal_killstep_SOURCES = t/unit/wal_killstep.c t/unit/wal_step.h t/unit/wal_step_world.c \
	t/unit/wal_step_scenes.c t/unit/wal_step_graphs.c t/unit/wal_step_found.c t/unit/wal_step_copies.c \
	t/unit/wal_step_check.c t/unit/wal_step_model.c t/unit/wal_step_model.h \
	t/unit/wal_step_functions.c t/unit/wal_step_trace.c
t_unit_wal_killstep_CPPFLAGS = $(AM_CPPFLAGS)
t_unit_wal_killstep_LDADD = $(WAL_LIBS)
t_unit_wal_killstep_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=mmap -Wl,--wrap=munmap

killstep: all-am t/unit/wal_killstep
	top_srcdir='$(abs_top_srcdir)' ./t/unit/wal_killstep full

.PHONY: killstep


# loading from a checkpoint
UNIT += t/unit/wal_reload
t_unit_wal_reload_SOURCES = t/unit/wal_reload.c t/unit/wal_dumped.c t/unit/wal_dumped.h \
	t/unit/wal_family.c t/unit/wal_family.h t/unit/wal_load.c t/unit/wal_load.h
t_unit_wal_reload_CPPFLAGS = $(AM_CPPFLAGS) $(CMOCKA_CFLAGS)
t_unit_wal_reload_LDADD = $(WAL_LIBS) $(CMOCKA_LIBS)
UNIT += t/unit/wal_witness
t_unit_wal_witness_SOURCES = t/unit/wal_witness.c t/unit/wal_tail.c t/unit/wal_tail.h t/unit/wal_dumped.c \
	t/unit/wal_dumped.h t/unit/wal_family.c t/unit/wal_family.h t/unit/wal_load.c t/unit/wal_load.h
t_unit_wal_witness_CPPFLAGS = $(AM_CPPFLAGS) $(CMOCKA_CFLAGS)
t_unit_wal_witness_LDADD = $(WAL_LIBS) $(CMOCKA_LIBS)
UNIT += t/unit/wal_relayout
t_unit_wal_relayout_SOURCES = t/unit/wal_relayout.c t/unit/wal_dumped.c t/unit/wal_dumped.h \
	t/unit/wal_family.c t/unit/wal_family.h t/unit/wal_load.c t/unit/wal_load.h
t_unit_wal_relayout_CPPFLAGS = $(AM_CPPFLAGS) $(CMOCKA_CFLAGS)
t_unit_wal_relayout_LDADD = $(WAL_LIBS) $(CMOCKA_LIBS)
# Mutants of the protocol, each of which a program must notice (M= those that match).
TFILES += t/mutants.t
EXTRA_DIST += t/mutants.def t/lib/Mutants.pm t/mutants_caught.t
mutants: all-am check-tools
	@export MUTANTS='$(M)'; env $(TESTENV) perl $(srcdir)/t/mutants_caught.t

.PHONY: mutants

# The whole server: a real one, its processes killed one by one under load.
SWEEP = t/sweep/served.c t/sweep/served.h t/sweep/client.c t/sweep/client.h t/sweep/journal.c t/sweep/journal.h \
	t/sweep/journal_parts.h t/sweep/load.c
SWEEPS = t/sweep/killsweep
check_PROGRAMS += $(SWEEPS)
t_sweep_killsweep_SOURCES = t/sweep/killsweep.c t/sweep/sweep.h t/sweep/stimuli.c t/sweep/targets.c t/sweep/targets.h $(SWEEP)
t_sweep_killsweep_LDADD = $(COMMON_LIBS)
EXTRA_PROGRAMS += t/sweep/kills
t_sweep_kills_SOURCES = t/sweep/kills.c t/sweep/served.c t/sweep/served.h t/sweep/client.c t/sweep/client.h
t_sweep_kills_LDADD = $(COMMON_LIBS)

# What is noticed of a kill; a release build gives the figures to quote.
kills: all-am t/sweep/kills$(EXEEXT)
	./t/sweep/kills $(WORKERS) $(WRITERS)

.PHONY: kills


# Two copies of the log: errors of one of them.
UNIT += t/unit/wal_mirror
t_unit_wal_mirror_SOURCES = t/unit/wal_mirror.c t/unit/wal_family.c t/unit/wal_family.h
t_unit_wal_mirror_CPPFLAGS = $(AM_CPPFLAGS) $(CMOCKA_CFLAGS)
t_unit_wal_mirror_LDADD = $(WAL_LIBS) $(CMOCKA_LIBS)

# Single bits flipped in every kind of file. N flips (20000), from SEED.
UNIT += t/unit/wal_bitflip
t_unit_wal_bitflip_SOURCES = t/unit/wal_bitflip.c t/unit/wal_family.c t/unit/wal_family.h \
	t/unit/wal_tail.c t/unit/wal_tail.h
t_unit_wal_bitflip_LDADD = $(WAL_LIBS)
t_unit_wal_bitflip_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=madvise -Wl,--wrap=spares_open
bitflip: all-am t/unit/wal_bitflip
	n='$(N)'; ./t/unit/wal_bitflip $${n:-20000} $(SEED)

.PHONY: bitflip

UNIT += t/unit/wal_retire
t_unit_wal_retire_SOURCES = t/unit/wal_retire.c t/unit/wal_head.c t/unit/wal_head.h
t_unit_wal_retire_CPPFLAGS = $(AM_CPPFLAGS) $(CMOCKA_CFLAGS)
t_unit_wal_retire_LDADD = $(WAL_LIBS) $(CMOCKA_LIBS)

# The n-th call of the I/O layer fails. N runs spread over all that there are (default: all), from SEED.
UNIT += t/unit/wal_ioerrors
t_unit_wal_ioerrors_SOURCES = t/unit/wal_ioerrors.c t/unit/wal_ioerrors.h t/unit/wal_ioerrors_disk.c \
	t/unit/wal_ioerrors_pause.c t/unit/wal_ioerrors_scene.c t/unit/wal_ioerrors_script.c t/unit/wal_ioerrors_script.h \
	t/unit/wal_history.c t/unit/wal_history.h t/unit/wal_family.c t/unit/wal_family.h
t_unit_wal_ioerrors_LDADD = $(WAL_LIBS)
t_unit_wal_ioerrors_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=io_read_at -Wl,--wrap=io_write_at -Wl,--wrap=io_sync \
	-Wl,--wrap=io_sync_dir -Wl,--wrap=io_allocate -Wl,--wrap=io_truncate -Wl,--wrap=io_rename -Wl,--wrap=io_link \
	-Wl,--wrap=io_unlink -Wl,--wrap=io_make_dir -Wl,--wrap=io_remove_dir -Wl,--wrap=io_open \
	-Wl,--wrap=append_rejoin -Wl,--wrap=pthread_cond_timedwait
ioerrors: all-am t/unit/wal_ioerrors
	n='$(N)'; ./t/unit/wal_ioerrors $${n:-0} $(SEED)

.PHONY: ioerrors
