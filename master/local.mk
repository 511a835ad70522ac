# master: main, process table, signals, sockets, reload (layer 7). Everything but
# the product's table of kinds and main() is a library, so that a test can run
# the same cycle over kinds of its own.
noinst_LIBRARIES += libmaster.a
libmaster_a_CPPFLAGS = $(AM_CPPFLAGS) $(SYSTEMD_CFLAGS) -DEG_BUILD_FLAGS='"$(CC) $(ENGRAM_CFLAGS) $(CFLAGS)"'
libmaster_a_SOURCES = \
	master/options.h master/options.c master/build.h master/build.c \
	master/master.h master/master.c master/reload.c \
	master/family.h master/family.c master/spawn.h master/spawn.c \
	master/kinds.h master/kinds.def \
	master/signals.h master/signals.c master/signals.def \
	master/sockets.h master/sockets.c master/files.h master/files.c \
	master/title.h master/title.c master/upgrade.h master/upgrade.c \
	master/notify.h master/notify.c

# The product.
sbin_PROGRAMS += engram-server
engram_server_SOURCES = master/main.c master/kinds.c
engram_server_LDADD = libmaster.a $(MASTER_LIBS) $(SYSTEMD_LIBS) $(CURL_LIBS) $(JANSSON_LIBS)

# Tests: without the product's table, so without the rooms below.
MASTER_TEST_LIBS = libmaster.a $(SHM_LIBS) $(SYSTEMD_LIBS) $(EVENT_LIBS) $(MHD_LIBS) $(PROTOBUF_C_LIBS) $(ZSTD_LIBS) \
	$(JANSSON_LIBS) $(CURL_LIBS)
UNIT += t/unit/master_signals t/unit/master_sockets t/unit/master_family
t_unit_master_signals_SOURCES = t/unit/master_signals.c
t_unit_master_signals_CPPFLAGS = $(AM_CPPFLAGS) $(CMOCKA_CFLAGS)
t_unit_master_signals_LDADD = $(MASTER_TEST_LIBS) $(CMOCKA_LIBS)
t_unit_master_sockets_SOURCES = t/unit/master_sockets.c
t_unit_master_sockets_CPPFLAGS = $(AM_CPPFLAGS) $(CMOCKA_CFLAGS)
t_unit_master_sockets_LDADD = $(MASTER_TEST_LIBS) $(CMOCKA_LIBS)
t_unit_master_family_SOURCES = t/unit/master_family.c
t_unit_master_family_CPPFLAGS = $(AM_CPPFLAGS) $(CMOCKA_CFLAGS)
t_unit_master_family_LDADD = $(MASTER_TEST_LIBS) $(CMOCKA_LIBS)
check_PROGRAMS += t/unit/master_fake
t_unit_master_fake_SOURCES = t/unit/master_fake.c
t_unit_master_fake_LDADD = $(MASTER_TEST_LIBS)
TFILES += t/master.t t/master_cycle.t t/master_manual.t t/notify.t
dist_man_MANS += man/engram-server.8
