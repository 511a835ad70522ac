/* Touches so many bytes of memory, in huge pages where they are to be had, and gives them back: before
 * a measurement on a virtual machine, whose host takes back what was not used for a while and
 * then gives it again a page at a time.
 *
 *	contrib/bench/touch BYTES
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

enum { PAGE = 4096 };

int main(int argc, char **argv)
{
	char *end = NULL;
	size_t bytes = argc == 2 ? strtoull(argv[1], &end, 10) : 0;
	void *at;

	if (end == NULL || *end != '\0' || bytes == 0) {
		fprintf(stderr, "usage: touch BYTES\n");
		return 2;
	}
	at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (at == MAP_FAILED) {
		perror("touch");
		return 1;
	}
	(void)madvise(at, bytes, MADV_HUGEPAGE);
	for (size_t i = 0; i < bytes; i += PAGE)
		((volatile char *)at)[i] = 1;
	return 0;
}
