/* Where the source of an operation is; the rows are in sources.def. */
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
/* Absent parts are "". Leaves out as it is if nothing fits. */
void source_find(struct source_place *out, const char *suite, const char *op, const char *type,
                 const char *subject);

#endif
