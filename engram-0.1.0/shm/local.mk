# shm: this folder's part of the Makefile.
noinst_LIBRARIES += libshm.a
libshm_a_SOURCES =

# metrics
libshm_a_SOURCES += shm/metrics.h shm/metrics.c shm/metrics.def
