/* Where the source of an operation is: the rows of sources.def. */
#ifndef SOURCES_H
#define SOURCES_H

#include <stddef.h>

struct source {
    const char *suite, *op, *subject, *path, *symbol;
};
extern const struct source sources[];
extern const size_t n_sources;

struct source_place {
    char path[160], symbol[96];
};
/* Finds the source of a case by the parts of its name; absent parts are "". If no row fits, out
 * stays as it is. */
void source_find(struct source_place *out, const char *suite, const char *op, const char *type,
                 const char *subject);

#endif
