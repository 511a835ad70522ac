# workers: what each process is, the HTTP interface, the mind (layers 4 to 6).

# 4 workers/mind: the domain.
noinst_LIBRARIES += libmind.a
libmind_a_SOURCES =
libmind_a_SOURCES += \
	workers/mind/mind.h workers/mind/scratch.h workers/mind/scratch.c \
	workers/mind/rank.h workers/mind/rank.c \
	workers/mind/truth.h workers/mind/truth.c \
	workers/mind/decay.h workers/mind/decay.c \
	workers/mind/embed.h workers/mind/embed.c

# 5 workers/api: requests, routes, answers.
noinst_LIBRARIES += libapi.a
libapi_a_SOURCES = \
	workers/api/http.h workers/api/routes.def
