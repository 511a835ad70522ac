/* Whatever the bytes are: our parser and jansson agree, and nothing is read out
 * of bounds. `make fuzz-json`, then t/fuzz/json -max_len=4096 FOLDER. */
#include <stdlib.h>

#include "common/err.h"
#include "common/json.h"
#include "t/unit/common_json_twin.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static struct arena arena;
	static bool ready;
	const char *why;
	struct json p;
	struct fault fault;
	float v[64];
	size_t n;

	if (!ready)
		arena_init(&arena, 1 << 16, 1 << 24);
	ready = true;
	why = twin_check((const char *)data, len, &arena);
	EG_ASSERT(why == NULL);
	json_init(&p, (const char *)data, len, &arena);
	if (json_floats(&p, v, 64, &n, &fault) == EG_E_OK)
		EG_ASSERT(n <= 64 && p.depth == 0);
	return 0;
}
