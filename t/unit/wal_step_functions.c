/* Which functions killstep owes: every one that a *_write.h declares, read from the
 * headers themselves, with its place in this very program. */
#include "t/unit/wal_step.h"

#include <ctype.h>
#include <elf.h>
#include <fcntl.h>
#include <glob.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shm/heap_write.h"

static char *slurp(const char *path)
{
	FILE *in = fopen(path, "re");
	char *text = calloc(1, 65536);

	EG_ASSERT(text != NULL && in != NULL);
	(void)!fread(text, 1, 65535, in);
	fclose(in);
	return text;
}

/* Comments, preprocessor lines and the insides of braces become blanks. A brace's
 * own place becomes '{' (a definition) or stays out of the way (a struct). */
static void bare(char *t)
{
	unsigned depth = 0;

	for (char *p = t; *p != '\0'; p++) {
		if (p[0] == '/' && p[1] == '*') {
			char *stop = strstr(p, "*/");

			EG_ASSERT(stop != NULL);
			memset(p, ' ', (size_t)(stop + 2 - p));
		}
		if (*p == '#')
			while (p[1] != '\0' && *p != '\n')
				*p++ = ' ';
		depth += *p == '{';
		if (*p == '}' && --depth == 0)
			*p = '}';
		else if (depth > 0 && !(*p == '{' && depth == 1))
			*p = ' ';
	}
}

/* One declaration, ended by ';' or '}'. */
static void declaration(struct step_tally *t, char *d, const char *header)
{
	char *paren = strchr(d, '('), *from, *to;
	bool body = strchr(d, '{') != NULL;
	struct step_function *f;

	while (isspace((unsigned char)*d))
		d++;
	if (paren == NULL || strncmp(d, "typedef", 7) == 0 || strncmp(d, "extern", 6) == 0)
		return;
	if (body && strchr(d, '{') < paren)
		return;                    /* a struct or an enum */
	for (to = paren; to > d && isspace((unsigned char)to[-1]); to--)
		;
	for (from = to; from > d && (isalnum((unsigned char)from[-1]) || from[-1] == '_'); from--)
		;
	if (from == to || strstr(d, "_Static_assert") != NULL)
		return;
	EG_ASSERT(t->n_functions < STEP_FUNCTIONS);
	f = &t->functions[t->n_functions++];
	snprintf(f->name, sizeof f->name, "%.*s", (int)(to - from), from);
	snprintf(f->header, sizeof f->header, "%s", header);
	f->is_inline = strstr(d, "inline") != NULL;
}

static void read_header(struct step_tally *t, const char *path, const char *top)
{
	char *text = slurp(path);

	bare(text);
	for (char *d = text, *p = text; *p != '\0'; p++)
		if (*p == ';' || *p == '}') {
			*p = '\0';
			declaration(t, d, path + strlen(top) + 1);
			d = p + 1;
		}
	free(text);
}

static int find_base(struct dl_phdr_info *info, size_t size, void *arg)
{
	(void)size;
	*(uint64_t *)arg = info->dlpi_addr;
	return 1;                          /* the program itself comes first */
}

static void read_symbols(struct step_tally *t)
{
	int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	uint64_t base = 0;
	struct stat st;
	const uint8_t *file;
	const Elf64_Ehdr *head;
	const Elf64_Shdr *sections;

	EG_ASSERT(fd >= 0 && fstat(fd, &st) == 0);
	file = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	close(fd);
	EG_ASSERT(file != MAP_FAILED);
	dl_iterate_phdr(find_base, &base);
	head = (const void *)file;
	sections = (const void *)(file + head->e_shoff);
	for (unsigned i = 0; i < head->e_shnum; i++) {
		const Elf64_Sym *sym = (const void *)(file + sections[i].sh_offset);
		const char *names;

		if (sections[i].sh_type != SHT_SYMTAB)
			continue;
		names = (const char *)file + sections[sections[i].sh_link].sh_offset;
		for (size_t n = sections[i].sh_size / sizeof *sym; n-- > 0; sym++)
			for (unsigned k = 0; k < t->n_functions; k++)
				if (ELF64_ST_TYPE(sym->st_info) == STT_FUNC
				    && strcmp(names + sym->st_name, t->functions[k].name) == 0) {
					t->functions[k].entry = base + sym->st_value;
					t->functions[k].code_bytes = sym->st_size;
				}
	}
	munmap((void *)(uintptr_t)file, (size_t)st.st_size);
}

bool step_functions(struct step_tally *t, const char *top)
{
	static const char *const where[] = { "*/*_write.h", "*/*/*_write.h" };
	char pattern[1024];
	bool ok = true;

	for (unsigned i = 0; i < 2; i++) {
		glob_t found;

		snprintf(pattern, sizeof pattern, "%s/%s", top, where[i]);
		if (glob(pattern, 0, NULL, &found) != 0)
			continue;
		for (size_t k = 0; k < found.gl_pathc; k++)
			read_header(t, found.gl_pathv[k], top);
		globfree(&found);
	}
	read_symbols(t);
	for (unsigned k = 0; k < t->n_functions; k++)
		if (t->functions[k].entry == 0 && !t->functions[k].is_inline) {
			printf("# %s of %s is not in this program\n", t->functions[k].name, t->functions[k].header);
			ok = false;
		}
	return ok && t->n_functions > 0;
}
