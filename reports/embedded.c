/* Finding embedded files; see embedded.h. */
#include "reports/embedded.h"

#include <assert.h>
#include <string.h>

struct span embedded_file(const char *name)
{
    for (size_t i = 0; i < embedded_n; i++)
        if (strcmp(embedded_files[i].name, name) == 0) return embedded_files[i].bytes;
    assert(false && "an embedded file that does not exist");
    return (struct span){0};
}
