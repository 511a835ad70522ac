/* Makes a living process of a server try to write what it may only read.
 *
 * A test of its own copy of the code would show what a well-made reader does; this
 * takes the real worker, with the maps and descriptors it has after start-up, and
 * lets its main thread execute one system call or one store instruction. Nothing
 * is written into its text: a `syscall` and a store instruction are looked for in
 * what it has mapped executable.
 *
 *	shm_inject PID maps          mprotect(PROT_WRITE) of every map of the store and of desks,
 *	                             and a writable shared mmap of every descriptor; it lives on
 *	shm_inject PID store NAME    a store to the first byte of that map (heap, slot, desk-1, ...)
 *
 * Prints one line for each attempt, for t/thesis.t. Exit status 77: cannot be done
 * here, with the reason. For Linux on x86-64.
 */
#include <stdio.h>

#if !defined(__linux__) || !defined(__x86_64__)

int main(void)
{
	puts("only written for Linux on x86-64");
	return 77;
}

#else

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

enum { CANNOT = 77, MAPS_MAX = 4096, PAGE = 4096 };

struct map { uint64_t start, end; char perms[5], name[64]; };

struct victim {
	pid_t pid;
	int mem;                       /* /proc/PID/mem */
	int held;                      /* a signal that came meanwhile; delivered at the end */
	struct user_regs_struct saved;
	struct map maps[MAPS_MAX];
	unsigned n_maps;
};

static void die(int status, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vprintf(fmt, args);
	va_end(args);
	putchar('\n');
	exit(status);
}

/* ---- what it has mapped */

/* "heap" of /dev/shm/engram-1234-heap, "desk-1" of /memfd:engram-desk-1 (deleted);
 * empty for anything else. */
static void short_name(const char *path, char out[64])
{
	static const char memfd[] = "/memfd:engram-", shm[] = "/dev/shm/engram-";
	const char *from = NULL;

	if (strncmp(path, memfd, sizeof memfd - 1) == 0)
		from = path + sizeof memfd - 1;
	else if (strncmp(path, shm, sizeof shm - 1) == 0)
		from = strrchr(path, '-') + 1;
	snprintf(out, 64, "%.*s", from ? (int)strcspn(from, " \n") : 0, from ? from : "");
}

static void read_maps(struct victim *v)
{
	char path[64], line[4096];
	FILE *in;

	snprintf(path, sizeof path, "/proc/%d/maps", (int)v->pid);
	in = fopen(path, "re");
	if (in == NULL)
		die(CANNOT, "%s: %s", path, strerror(errno));
	while (v->n_maps < MAPS_MAX && fgets(line, sizeof line, in) != NULL) {
		struct map *m = &v->maps[v->n_maps];
		int at = 0;

		if (sscanf(line, "%lx-%lx %4s %*s %*s %*s %n", &m->start, &m->end, m->perms, &at) < 3)
			die(1, "a map that cannot be read: %s", line);
		short_name(line + at, m->name);
		v->n_maps++;
	}
	fclose(in);
}

/* Address of these bytes in something executable. */
static uint64_t find_code(const struct victim *v, const char *bytes, size_t n)
{
	static char page[16 * PAGE];

	for (unsigned i = 0; i < v->n_maps; i++) {
		const struct map *m = &v->maps[i];

		if (m->perms[0] != 'r' || m->perms[2] != 'x')
			continue;
		for (uint64_t at = m->start; at < m->end; at += sizeof page) {
			size_t want = m->end - at < sizeof page ? m->end - at : sizeof page;
			ssize_t got = pread(v->mem, page, want, (off_t)at);
			const char *found = got > 0 ? memmem(page, (size_t)got, bytes, n) : NULL;

			if (found != NULL)
				return at + (uint64_t)(found - page);
		}
	}
	die(1, "no instruction of that kind is mapped");
	return 0;
}

/* ---- tracing its main thread */

static void trace(struct victim *v, enum __ptrace_request request, void *data)
{
	if (ptrace(request, v->pid, NULL, data) != 0)
		die(1, "ptrace request %d: %s", (int)request, strerror(errno));
}

/* Until it stops for us; other signals are kept for later. Returns the signal. */
static int await_stop(struct victim *v, enum __ptrace_request go_on)
{
	int status;

	while (true) {
		if (waitpid(v->pid, &status, __WALL) != v->pid)
			die(1, "waitpid: %s", strerror(errno));
		if (!WIFSTOPPED(status))
			die(1, "the process ended meanwhile");
		if (WSTOPSIG(status) == SIGTRAP || WSTOPSIG(status) == SIGSEGV || WSTOPSIG(status) == SIGBUS)
			return WSTOPSIG(status);
		v->held = WSTOPSIG(status);
		trace(v, go_on, NULL);
	}
}

static void seize(struct victim *v)
{
	char path[64];

	snprintf(path, sizeof path, "/proc/%d/mem", (int)v->pid);
	v->mem = open(path, O_RDONLY | O_CLOEXEC);
	if (v->mem < 0)
		die(errno == EACCES || errno == EPERM ? CANNOT : 1, "%s: %s", path, strerror(errno));
	if (ptrace(PTRACE_SEIZE, v->pid, NULL, NULL) != 0)
		die(errno == EPERM || errno == ENOSYS ? CANNOT : 1, "processes may not be traced here: %s", strerror(errno));
	trace(v, PTRACE_INTERRUPT, NULL);
	if (await_stop(v, PTRACE_CONT) != SIGTRAP)
		die(1, "it does not stop as asked");
	trace(v, PTRACE_GETREGS, &v->saved);
}

/* The kernel's own codes for "begin this system call again" never reach a
 * process; having taken its thread out of one, we do what the kernel would do. */
static struct user_regs_struct resumed(const struct victim *v)
{
	enum { RESTARTSYS = 512, RESTARTNOINTR = 513, RESTARTNOHAND = 514, RESTART_BLOCK = 516 };
	struct user_regs_struct r = v->saved;
	long code = -(long)r.rax;

	if ((long)r.orig_rax >= 0 && code >= RESTARTSYS && code <= RESTART_BLOCK && code != 515) {
		r.rax = code == RESTART_BLOCK ? SYS_restart_syscall : r.orig_rax;
		r.rip -= 2;
	}
	r.orig_rax = (unsigned long long)-1;
	return r;
}

static void release(struct victim *v)
{
	struct user_regs_struct r = resumed(v);

	trace(v, PTRACE_SETREGS, &r);
	trace(v, PTRACE_DETACH, (void *)(intptr_t)v->held);
}

/* One system call in its name; the result, negative for an error. */
static long call(struct victim *v, long number, const uint64_t arg[6])
{
	struct user_regs_struct r = v->saved;

	r.rip = find_code(v, "\x0f\x05", 2);
	r.rax = (unsigned long long)number;
	r.orig_rax = (unsigned long long)-1;
	r.rdi = arg[0], r.rsi = arg[1], r.rdx = arg[2], r.r10 = arg[3], r.r8 = arg[4], r.r9 = arg[5];
	trace(v, PTRACE_SETREGS, &r);
	trace(v, PTRACE_SINGLESTEP, NULL);
	if (await_stop(v, PTRACE_SINGLESTEP) != SIGTRAP)
		die(1, "the system call did not come back");
	trace(v, PTRACE_GETREGS, &r);
	return (long)r.rax;
}

/* ---- attempts */

static const char *result(long r)
{
	return r >= 0 || r < -PAGE ? "allowed" : strerrorname_np((int)-r);
}

static void try_maps(struct victim *v)
{
	for (unsigned i = 0; i < v->n_maps; i++) {
		const struct map *m = &v->maps[i];
		uint64_t arg[6] = { m->start, PAGE, PROT_READ | PROT_WRITE };
		long r;

		if (*m->name == '\0')
			continue;
		r = call(v, SYS_mprotect, arg);
		printf("map %s %s mprotect %s\n", m->name, m->perms, result(r));
		arg[2] = PROT_READ;
		if (r == 0 && m->perms[1] != 'w')
			(void)call(v, SYS_mprotect, arg);
	}
}

static void try_fd(struct victim *v, const char *number)
{
	uint64_t arg[6] = { 0, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, strtoull(number, NULL, 10), 0 };
	char path[300], to[512];
	ssize_t n;
	long r;

	snprintf(path, sizeof path, "/proc/%d/fd/%s", (int)v->pid, number);
	n = readlink(path, to, sizeof to - 1);
	if (n < 0)
		return;                /* closed by another thread meanwhile */
	to[n] = '\0';
	r = call(v, SYS_mmap, arg);
	printf("fd %s %s mmap %s\n", number, to, result(r));
	arg[0] = (uint64_t)r;
	if (r >= 0)
		(void)call(v, SYS_munmap, arg);
}

static void try_fds(struct victim *v)
{
	char path[64];
	struct dirent *entry;
	DIR *dir;

	snprintf(path, sizeof path, "/proc/%d/fd", (int)v->pid);
	dir = opendir(path);
	if (dir == NULL)
		die(CANNOT, "%s: %s", path, strerror(errno));
	while ((entry = readdir(dir)) != NULL)
		if (entry->d_name[0] != '.')
			try_fd(v, entry->d_name);
	closedir(dir);
}

/* mov %al,(%rdi): the byte there becomes another one, or the process dies. */
static int try_store(struct victim *v, const char *name)
{
	struct user_regs_struct r = v->saved;
	const struct map *m = v->maps, *end = v->maps + v->n_maps;
	siginfo_t info;
	uint8_t byte;
	int number;

	while (m < end && strcmp(m->name, name) != 0)
		m++;
	if (m == end)
		die(1, "%s is not mapped", name);
	if (pread(v->mem, &byte, 1, (off_t)m->start) != 1)
		die(1, "%s cannot be read: %s", name, strerror(errno));
	r.rip = find_code(v, "\x88\x07", 2);
	r.rax = (uint8_t)~byte;
	r.rdi = m->start;
	r.orig_rax = (unsigned long long)-1;
	trace(v, PTRACE_SETREGS, &r);
	trace(v, PTRACE_SINGLESTEP, NULL);
	number = await_stop(v, PTRACE_SINGLESTEP);
	if (number == SIGTRAP) {
		printf("store %s allowed\n", name);
		release(v);
		return 0;
	}
	trace(v, PTRACE_GETSIGINFO, &info);
	printf("store %s SIG%s %s\n", name, sigabbrev_np(number), info.si_code != SEGV_ACCERR ? "for another reason"
	       : (uint64_t)info.si_addr != m->start ? "at another address" : "SEGV_ACCERR");
	trace(v, PTRACE_DETACH, (void *)(intptr_t)number);
	return 0;
}

int main(int argc, char **argv)
{
	static struct victim v;
	bool store = argc == 4 && strcmp(argv[2], "store") == 0;

	if (!store && !(argc == 3 && strcmp(argv[2], "maps") == 0))
		die(2, "usage: shm_inject PID maps | shm_inject PID store NAME");
	v.pid = (pid_t)atoi(argv[1]);
	seize(&v);
	read_maps(&v);
	if (store)
		return try_store(&v, argv[3]);
	try_maps(&v);
	try_fds(&v);
	release(&v);
	return 0;
}

#endif
