/* Texts that come from users, files and models: checks, escapes, width. */
#ifndef TEXT_H
#define TEXT_H

#include "engine/base/base.h"

/* The number of bytes at the beginning of s that are valid UTF-8 (no overlong forms, no
 * surrogates).
 * *cut, if cut is not NULL, says whether the rest is the beginning of a character that ends too
 * early. */
size_t text_valid(const char *s, size_t len, bool *cut);

/* The text with everything escaped that a terminal or JSON cannot take: control characters, invalid
 * UTF-8, and with quote also " and \. At most max bytes of s are shown (0 = all), then "…". The
 * result is malloc'd; NULL if there is no memory. */
char *text_escape(const char *s, size_t len, bool quote, size_t max);

/* Prints a line on stdout with everything escaped that a terminal would act on. */
void text_print(const char *line);

/* The number of columns that a UTF-8 text takes on a terminal. */
size_t text_columns(const char *s, size_t len);

#endif
