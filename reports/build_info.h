/* What this program was built from and with. CMake writes the values at every build. */
#ifndef BUILD_INFO_H
#define BUILD_INFO_H

#include <stdbool.h>

struct build_info {
    const char *version; /* of the project: "0.1.0" */
    const char *git;     /* commit hash, or "unknown" outside a checkout */
    bool dirty;          /* the tree had changes that are not committed */
    const char *compiler, *flags, *zlib;
    const char *vectors_source, *vectors_installed; /* folders of golden data: in the tree, and
                                                     * where an installed program looks */
};

extern const struct build_info build_info;

#endif
