# shm: shared memory (layer 2). Headers without _write are the reading side;
# the _write ones are for wal/ only.
noinst_LIBRARIES += libshm.a
libshm_a_SOURCES = \
	shm/layout.h shm/heritage.h \
	shm/region.h shm/region_write.h shm/region.c \
	shm/desk.h shm/desk.c shm/epoch.h shm/epoch.c \
	shm/record.h shm/record.c shm/body.h \
	shm/store.h shm/store.c shm/store_names.h shm/store_write.h shm/store_write.c \
	shm/heap_write.h shm/heap.c \
	shm/ids.h shm/ids.c shm/ids_write.h shm/ids_write.c \
	shm/space.h shm/space.c shm/space_write.h shm/space_write.c \
	shm/slot.h shm/slot.c shm/slot_write.h shm/slot_write.c \
	shm/node.h shm/node.c shm/node_write.h shm/node_write.c \
	shm/graph.h shm/graph.c shm/graph_write.h shm/graph_parts.h shm/graph_write.c \
	shm/graph_sweep.c shm/graph_repair.c shm/fresh_write.c \
	shm/reclaim_write.h shm/reclaim_write.c \
	shm/repair_write.h shm/repair_write.c \
	shm/metrics.h shm/metrics.c shm/metrics.def
EXTRA_DIST += shm/README.md
