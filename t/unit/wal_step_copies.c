/* Private copies of the store's regions for a check: calls are wrapped by the linker. */
#include "t/unit/wal_step.h"

#include <sys/mman.h>
#include <sys/stat.h>

bool step_private;
static struct { ino_t inode; uint8_t *base; size_t bytes; } kept[64];
static unsigned n_kept;

void *__real_mmap(void *at, size_t n, int prot, int flags, int fd, off_t offset);
void *__wrap_mmap(void *at, size_t n, int prot, int flags, int fd, off_t offset);
void *__wrap_mmap(void *at, size_t n, int prot, int flags, int fd, off_t offset)
{
	struct stat st;
	void *got;

	if (!step_private || fd < 0 || (flags & MAP_SHARED) == 0 || fstat(fd, &st) != 0)
		return __real_mmap(at, n, prot, flags, fd, offset);
	for (unsigned i = 0; i < n_kept; i++)
		if (kept[i].inode == st.st_ino) {
			got = mremap(kept[i].base, kept[i].bytes, n, MREMAP_MAYMOVE | MREMAP_FIXED, at);
			if (got != MAP_FAILED)
				kept[i].base = got;
			return got;
		}
	got = __real_mmap(at, n, prot, (flags & ~MAP_SHARED) | MAP_PRIVATE | MAP_NORESERVE, fd, offset);
	if (got != MAP_FAILED && n_kept < sizeof kept / sizeof kept[0]) {
		kept[n_kept].inode = st.st_ino;
		kept[n_kept].base = got;
		kept[n_kept++].bytes = n;
	}
	return got;
}

int __real_munmap(void *at, size_t n);
int __wrap_munmap(void *at, size_t n);
int __wrap_munmap(void *at, size_t n)
{
	for (unsigned i = 0; i < n_kept; i++)
		if (kept[i].base == at)
			return 0;          /* the copy is mapped again by the next writer */
	return __real_munmap(at, n);
}

void step_copies_forget(void) { n_kept = 0; }
