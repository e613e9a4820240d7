/* SHA-256 as text, by which reports name files and cases. The hash itself is libmd's. */
#ifndef HASH_H
#define HASH_H

#include "engine/base/base.h"

/* The size of a hash as text: 64 lower-case hex digits and a NUL. */
enum { HASH_TEXT = 65 };

/* Writes the hash of n bytes. */
void hash_bytes(const void *data, size_t n, char out[HASH_TEXT]);

/* Writes the hash of a regular file's bytes. ST_IO if the file cannot be read; out is then not
 * defined. */
enum status hash_file(const char *path, char out[HASH_TEXT], struct err *e);

#endif
