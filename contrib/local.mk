# contrib: this folder's part of the Makefile.

# ---- packaging: the two commands of the README and the list of packages ----
EXTRA_DIST += contrib/check contrib/packages contrib/quickstart

# ---- other rooms add their blocks below, each under a line like this one ----

# ---- systemd ----
EXTRA_DIST += contrib/systemd/engram.service

# ---- engram: the client and operator's tool ----
bin_PROGRAMS += engram
engram_SOURCES = contrib/client/main.c contrib/client/client.h \
	contrib/client/commands.def contrib/client/options.def contrib/client/options.c \
	contrib/client/http.h contrib/client/http.c contrib/client/print.h contrib/client/print.c \
	contrib/client/memories.c contrib/client/recall.c contrib/client/spaces.c \
	contrib/client/lines.h contrib/client/lines.c contrib/client/import.c \
	contrib/client/export.c contrib/client/status.c contrib/client/wal_dump.c \
	contrib/client/check.c contrib/client/recover.c contrib/client/backup.c
engram_LDADD = $(WAL_LIBS) $(CURL_LIBS) $(JANSSON_LIBS)

# ---- bench: vector kernels; built by `make bench`, not installed ----
EXTRA_PROGRAMS = contrib/bench/kernels
contrib_bench_kernels_SOURCES = contrib/bench/kernels.c
contrib_bench_kernels_LDADD = $(COMMON_LIBS)
EXTRA_PROGRAMS += contrib/bench/ndjson contrib/bench/touch
contrib_bench_ndjson_SOURCES = contrib/bench/ndjson.c
contrib_bench_touch_SOURCES = contrib/bench/touch.c
EXTRA_PROGRAMS += contrib/bench/ann_store
contrib_bench_ann_store_SOURCES = contrib/bench/ann_store.c contrib/bench/ann_rows.h
contrib_bench_ann_store_LDADD = $(SHM_LIBS)
CLEANFILES += $(EXTRA_PROGRAMS)

bench: $(EXTRA_PROGRAMS)

.PHONY: bench

# ---- bench: the server beside nginx, under wrk; a script ----
EXTRA_DIST += contrib/bench/http

# ---- bench: the graph beside hnswlib; a script, and what it compiles ----
EXTRA_DIST += contrib/bench/ann contrib/bench/ann_hnswlib.cc

# ---- bench: how long starts take; a script ----
EXTRA_DIST += contrib/bench/restart

# ---- bench: bytes written for bytes taken in; what a checkpoint costs others; scripts ----
EXTRA_DIST += contrib/bench/Clients.pm contrib/bench/writeamp contrib/bench/checkpoint
