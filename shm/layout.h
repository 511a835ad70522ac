/* The numbers that make a layout: change one, and shared memory made by another
 * build is not re-attached (its layout hash differs) but built anew from a checkpoint and the
 * log. Files do not depend on them (wal/README.md).
 */
#ifndef SHM_LAYOUT_H
#define SHM_LAYOUT_H

#define EG_LAYOUT_VERSION 2u

#define EG_SHARDS 64u              /* logical shards of a store, by key */
#define EG_CHUNK 16u               /* slots or nodes handed to a space at a time */
#define EG_CLASSES 40u             /* dimension classes, see node.h */
#define EG_DIM_MAX 4096u
#define EG_LINKS 32u               /* of a node in its space's graph, at most */
#define EG_GRAPH_ENTRIES 244u      /* nodes at which a walk of a graph may begin */
#define EG_FRESH 16384u            /* nodes not linked yet, of all graphs: a ring */
#define EG_SPACE_ID_MAX 63u
#define EG_ID_MAX 256u
#define EG_TAGS_MAX 64u

#define EG_DESKS_MAX 64u           /* in the pool */
#define EG_LANES_MAX 8u            /* on a desk */
#define EG_LANE_ENTRIES 1024u      /* outstanding entries of a lane */
#define EG_LANE_RESULTS 16384u     /* outstanding operations of a lane */
#define EG_EPOCHS_MAX 1040u        /* reading threads of a process */
#define EG_COUNTERS_MAX 1024u      /* metric words of a process */
#define EG_ACCESS_RING 8192u       /* access events awaiting the writer */

#define EG_NONE UINT32_MAX         /* no slot, chunk, space, node */

#endif
