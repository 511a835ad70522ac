# workers: what each process is, the HTTP interface, the mind (layers 4 to 6).

# 4 workers/mind: the domain.
noinst_LIBRARIES += libmind.a
libmind_a_SOURCES =

# 5 workers/api: requests, routes, answers.
noinst_LIBRARIES += libapi.a
libapi_a_SOURCES = \
	workers/api/http.h workers/api/routes.def
