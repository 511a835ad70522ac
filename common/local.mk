# common: plain C helpers (layer 1). Nothing here knows of shared memory.
noinst_LIBRARIES += libcommon.a
libcommon_a_SOURCES = \
	common/err.h common/err.c common/err.def

# Bytes, text and vectors.
libcommon_a_SOURCES += \
	common/buf.h common/buf.c common/arena.h common/arena.c \
	common/json.h common/json.c common/decimal.h common/decimal.c \
	common/fields.h common/fields.c common/nearest.h common/nearest.c \
	common/utf8.h common/utf8.c common/base64.h common/base64.c \
	common/crc32c.h common/crc32c.c common/hash.h common/hash.c \
	common/words.h common/words.c \
	common/vec.h common/vec.c common/vec_kernels.h common/vec_scalar.c \
	common/vec_sse4.c common/vec_avx2.c common/vec_avx512.c \
	common/code.h common/code.c common/code_kernels.h common/code_hadamard.h \
	common/code_scalar.c common/code_sse4.c common/code_avx2.c common/code_avx512.c
# configuration, log, clock
libcommon_a_SOURCES += \
	common/config.h common/config.def common/config_parts.h \
	common/config.c common/config_read.c common/config_syntax.c \
	common/config_value.c common/config_table.c common/config_machine.c \
	common/config_check.c common/config_dump.c \
	common/clock.h common/clock.c common/log.h common/log.c

# The I/O layer.
libcommon_a_SOURCES += common/io.h common/io.c common/fault.h common/fault.def common/fault.c \
	common/tape.h common/tape.c
