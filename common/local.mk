# common: plain C helpers (layer 1). Nothing here knows of shared memory.
noinst_LIBRARIES += libcommon.a
libcommon_a_SOURCES = \
	common/err.h common/err.c common/err.def

# Bytes, text and vectors.
libcommon_a_SOURCES += \
	common/buf.h common/arena.h common/json.h common/words.h common/vec.h \
	common/crc32c.h common/base64.h common/hash.h common/utf8.h
# configuration, log, clock
libcommon_a_SOURCES += \
	common/config.h common/config.def \
	common/clock.h common/log.h
