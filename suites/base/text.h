/* Texts that come from users, files and models: checks, escapes, width. */
#ifndef TEXT_H
#define TEXT_H

#include "engine/base/base.h"

/* The number of bytes at the beginning of s that are valid UTF-8 (no overlong forms, no
 * surrogates).
 * *cut, if cut is not NULL, says whether the rest is the beginning of a character that ends too
 * early. */
size_t text_valid(const char *s, size_t len, bool *cut);

/* ST_FORMAT, with the place, if the text is not valid UTF-8. */
enum status text_check(const char *s, size_t len, struct err *e);

/* Copies the next item of a comma list, cut where out is full, and moves *list behind it; false at
 * the end, or if *list is NULL. A comma at the end begins no item. */
bool list_next(const char **list, char *out, size_t cap);

/* True if a comma list has the name; false if list is NULL. */
bool list_has(const char *list, const char *name);

/* The text with everything escaped that a terminal or JSON cannot take: control characters, invalid
 * UTF-8, and with quote also " and \. At most max bytes of s are shown (0 = all), then "…". The
 * result is malloc'd; NULL if there is no memory. */
char *text_escape(const char *s, size_t len, bool quote, size_t max);

/* Prints a line on stdout with everything escaped that a terminal would act on. */
void text_print(const char *line);

/* The number of columns that a UTF-8 text takes on a terminal. */
size_t text_columns(const char *s, size_t len);

#endif
