/* The command line of engram-server, around any table of process kinds. */
#ifndef MASTER_OPTIONS_H
#define MASTER_OPTIONS_H

#include "master/kinds.h"

/* The whole program; returns its exit status (engram-server(8)). */
int options_run(int argc, char *argv[], const struct kinds *kinds);

#endif
