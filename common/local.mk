# common: plain C helpers (layer 1). Nothing here knows of shared memory.
noinst_LIBRARIES += libcommon.a
libcommon_a_SOURCES = \
	common/err.h common/err.c common/err.def
