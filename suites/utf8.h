/* UTF-8 that comes from users and models. */
#ifndef UTF8_H
#define UTF8_H

#include <stdbool.h>
#include <stddef.h>

/* Bytes at the beginning of s that are valid UTF-8 (no overlong forms, no surrogates). cut, if not
 * NULL: the rest is the beginning of a character that ends too early. */
size_t utf8_valid(const char *s, size_t len, bool *cut);

#endif
