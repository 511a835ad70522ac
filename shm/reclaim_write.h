/* Reclaiming: what readers may still look at waits until they have gone.
 *
 * retire_* are called by apply threads when an object has been unpublished;
 * reclaim by the log thread, which alone owns the free lists.
 */
#ifndef SHM_RECLAIM_WRITE_H
#define SHM_RECLAIM_WRITE_H

#include "shm/store_write.h"

void retire_block(struct store_writer *w, uint64_t offset, size_t bytes);
void retire_slot(struct store_writer *w, uint32_t slot, uint32_t space);
void retire_node(struct store_writer *w, unsigned class_, uint32_t node, uint32_t space);
/* The record of a graph that its space does not name any more (linking thread). */
void retire_graph(struct store_writer *w, uint32_t number);
/* All chunks of a dropped space: they go to other spaces after everything of
 * it that was retired before. */
void retire_space(struct store_writer *w, uint32_t space);

/* Advance the global epoch and free what no reader can see any more. Returns
 * how many objects still wait. */
size_t reclaim(struct store_writer *w);

#endif
