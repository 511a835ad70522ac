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
libmind_a_SOURCES += \
	workers/mind/packed.h workers/mind/packed.c \
	workers/mind/remember.h workers/mind/remember.c \
	workers/mind/cue.h workers/mind/cue.c \
	workers/mind/filter.h workers/mind/filter.c \
	workers/mind/recall.h workers/mind/recall.c \
	workers/mind/nearest.h workers/mind/nearest.c \
	workers/mind/forget.h workers/mind/forget.c \
	workers/mind/browse.h workers/mind/browse.c

# 5 workers/api: requests, routes, answers.
noinst_LIBRARIES += libapi.a
libapi_a_SOURCES = \
	workers/api/http.h workers/api/http_flow.h workers/api/http.c \
	workers/api/routes.h workers/api/routes.def workers/api/routes.c \
	workers/api/loop.h workers/api/loop.c workers/api/conn.h workers/api/conn.c \
	workers/api/ip_table.h workers/api/ip_table.c \
	workers/api/rawhead.h workers/api/rawhead.c workers/api/guard.h workers/api/guard.c workers/api/target.h workers/api/target.c \
	workers/api/request.c workers/api/reply.c workers/api/wait.h workers/api/wait.c \
	workers/api/access.h workers/api/access.c \
	workers/api/health.h workers/api/health.c workers/api/system.c \
	workers/api/prom.h workers/api/prom.c
libapi_a_SOURCES += \
	workers/api/memory_json.h workers/api/memory_json.c \
	workers/api/memories.h workers/api/memories.c \
	workers/api/batch.h workers/api/batch.c \
	workers/api/recall_api.h workers/api/recall_api.c \
	workers/api/spaces.h workers/api/spaces.c workers/api/admin.c workers/api/backup_api.h workers/api/backup_api.c

# 6 workers: what each process is.
noinst_LIBRARIES += libworkers.a
libworkers_a_SOURCES = \
	workers/worker.h workers/worker.c workers/consolidator.h workers/consolidator.c \
	workers/pool.h workers/pool.c workers/settings.h workers/settings.c \
	workers/expire.h workers/expire.c workers/checkpoints.h workers/checkpoints.c
