/* Files of this folder that the program carries along; made by embed.cmake. */
#ifndef EMBEDDED_H
#define EMBEDDED_H

#include "engine/base/base.h"

struct embedded {
    const char *name;
    struct span bytes;
};
extern const struct embedded embedded_files[];
extern const size_t embedded_n;

/* The bytes of an embedded file, by its path in this folder ("page/page.css"). A name that does not
 * exist is a bug. */
struct span embedded_file(const char *name);

#endif
