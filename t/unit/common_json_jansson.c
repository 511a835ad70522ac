/* The jansson side of the twins: it cannot share a file with common/json.h,
 * whose tokens have the same names as jansson's types. */
#include <jansson.h>

#include "common/buf.h"
#include "t/unit/common_json_twin.h"

static void trace(const json_t *j, struct buf *b)
{
	const char *key;
	json_t *value;
	size_t i;

	switch (json_typeof(j)) {
	case JSON_NULL: buf_putc(b, 'n'); break;
	case JSON_TRUE: buf_putc(b, 't'); break;
	case JSON_FALSE: buf_putc(b, 'f'); break;
	case JSON_INTEGER: buf_printf(b, "i%lld", (long long)json_integer_value(j)); break;
	case JSON_REAL: buf_printf(b, "d%a", json_real_value(j)); break;
	case JSON_STRING: twin_text(b, 's', json_string_value(j), json_string_length(j)); break;
	case JSON_ARRAY:
		buf_putc(b, '[');
		json_array_foreach(j, i, value)
			trace(value, b);
		buf_putc(b, ']');
		break;
	case JSON_OBJECT:
		buf_putc(b, '{');
		json_object_foreach((json_t *)(uintptr_t)j, key, value) {
			twin_text(b, 'k', key, strlen(key));
			trace(value, b);
		}
		buf_putc(b, '}');
		break;
	}
}

bool twin_jansson(const char *data, size_t len, struct buf *b)
{
	json_t *j = json_loadb(data, len, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);

	if (j == NULL)
		return false;
	trace(j, b);
	json_decref(j);
	return true;
}
