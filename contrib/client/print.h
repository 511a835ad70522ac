/* What people read on stdout: text made safe, times, tables.
 *
 * Text from the server may hold anything, so control characters never reach a
 * terminal. Escape sequences of our own (bold heads) appear only when stdout is
 * a terminal and NO_COLOR is not set.
 */
#ifndef CONTRIB_CLIENT_PRINT_H
#define CONTRIB_CLIENT_PRINT_H

#include <jansson.h>
#include <stddef.h>

/* Columns of the terminal, 0 when stdout is none: then nothing is cut. */
unsigned print_columns(void);
/* Text in one line: controls and line breaks become blanks; cut to columns with
 * an ellipsis at the end, 0 = not cut. */
void print_line(const char *text, unsigned columns);
/* Columns that print_line would need. */
unsigned print_width(const char *text);
/* Text as it is, but without controls other than line break and tab. */
void print_block(const char *text);
/* A heading, bold on a terminal. */
void print_head(const char *text);
/* Any JSON value in few words: numbers short, objects as "name value, ...". */
void print_value(const json_t *value);
/* The value as it is in JSON, indented, for --json. */
void print_json(const json_t *value);
/* "1,234,567" in a static buffer of the caller. */
const char *print_count(double n, char out[32]);

/* A member of an object, other when it is missing or of another type. */
const char *text_of(const json_t *object, const char *name, const char *other);
double number_of(const json_t *object, const char *name, double other);

#endif
