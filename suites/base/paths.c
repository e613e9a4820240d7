/* Directories that programs use; see paths.h. */
#include "base/paths.h"
#include "reports/build_info.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static bool make_dirs(char *path)
{
    for (char *p = path + 1; *p; p++) {
        if (*p != '/') continue;
        *p = 0;
        bool ok = mkdir(path, 0777) == 0 || errno == EEXIST;
        *p = '/';
        if (!ok) return false;
    }
    return mkdir(path, 0777) == 0 || errno == EEXIST;
}

enum status path_make(const char *path, struct err *e)
{
    char copy[PATH_MAX];
    if (strlen(path) >= sizeof copy) return fail(e, ST_IO, "%s: the path is too long", path);
    strcpy(copy, path);
    if (!*path || !make_dirs(copy))
        return fail(e, ST_IO, "%s: cannot make the directory: %s", path, strerror(errno));
    struct stat st;
    if (stat(path, &st) != 0 || !S_ISDIR(st.st_mode))
        return fail(e, ST_IO, "%s: is not a directory", path);
    if (access(path, W_OK) != 0)
        return fail(e, ST_IO, "%s: the directory is not writable: %s", path, strerror(errno));
    return ST_OK;
}

enum status path_cache(char *out, size_t cap, struct err *e)
{
    const char *own = getenv("ASSAY_CACHE"), *xdg = getenv("XDG_CACHE_HOME"),
               *home = getenv("HOME");
    int n;
    if (own && *own)
        n = snprintf(out, cap, "%s", own);
    else if (xdg && *xdg)
        n = snprintf(out, cap, "%s/assay", xdg);
    else if (home && *home)
        n = snprintf(out, cap, "%s/.cache/assay", home);
    else
        n = snprintf(out, cap, "/tmp/assay-cache-%ld", (long)getuid());
    if (n < 0 || (size_t)n >= cap) return fail(e, ST_IO, "the cache directory's path is too long");
    return path_make(out, e);
}

const char *path_vectors(const char *option)
{
    const char *env = getenv("ASSAY_VECTORS");
    if (option) return option;
    if (env && *env) return env;
    const char *tree = build_info.vectors_source;
    return access(tree, R_OK) == 0 ? tree : build_info.vectors_installed;
}
