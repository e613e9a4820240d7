/* Directories that programs use: the cache, the golden data, and making them. */
#ifndef PATHS_H
#define PATHS_H

#include "engine/base/base.h"

/* Makes a directory and its parents. ST_IO, naming the path, if that fails or if the directory is
 * not writable. */
enum status path_make(const char *path, struct err *e);

/* The directory for caches: $ASSAY_CACHE, else $XDG_CACHE_HOME/assay, else ~/.cache/assay. It is
 * created if it is not there. */
enum status path_cache(char *out, size_t cap, struct err *e);

/* The directory of the golden data: option if not NULL, else $ASSAY_VECTORS, else that of the
 * source tree, else the installed one. */
const char *path_vectors(const char *option);

#endif
