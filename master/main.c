/* engram-server: the command line and the product's table of processes. */
#include "master/options.h"

int main(int argc, char *argv[])
{
	return options_run(argc, argv, &kinds_all);
}
