/* What this program was built from and with (-v, -V). */
#ifndef MASTER_BUILD_H
#define MASTER_BUILD_H

#include <stdio.h>

void build_print(FILE *out);           /* -v: one line */
void build_print_all(FILE *out);       /* -V: libraries in use, compiler, flags */

#endif
