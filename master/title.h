/* What ps and top show of a process: the title (cmdline) and the name (comm).
 *
 * The title is written over the area of the arguments and the environment that
 * the kernel laid out at exec, which the kernel reads for /proc/PID/cmdline. So
 * title_init moves the environment away, and nobody may keep a pointer into
 * argv after the first title_set.
 */
#ifndef MASTER_TITLE_H
#define MASTER_TITLE_H

#include <stddef.h>

/* Once, first thing in main. */
void title_init(int argc, char *argv[]);
/* Title "engram-server: KIND", cut when the area is shorter (a program started
 * without environment), and the comm name. */
void title_set(const char *kind, const char *comm);

#endif
