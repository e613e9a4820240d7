/* SHA-256 of memory and files; see hash.h. */
#include "reports/hash.h"

#include <errno.h>
#include <sha2.h>
#include <string.h>
#include <sys/types.h>

void hash_bytes(const void *data, size_t n, char out[HASH_TEXT])
{
    SHA256Data(data, n, out);
}

enum status hash_file(const char *path, char out[HASH_TEXT], struct err *e)
{
    if (!SHA256File(path, out)) return fail(e, ST_IO, "%s: %s", path, strerror(errno));
    return ST_OK;
}
