/* Files of test cases; see files.h. */
#include "harness/files.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Copies the names into names unless it is NULL; returns their number. */
static size_t scan(struct arena *a, DIR *d, const char *ending, char **names, size_t cap)
{
    size_t n = 0, tail = strlen(ending);
    rewinddir(d);
    for (struct dirent *f; (f = readdir(d)) && (!names || n < cap);) {
        size_t len = strlen(f->d_name);
        if (f->d_name[0] == '.' || len <= tail || strcmp(f->d_name + len - tail, ending) != 0)
            continue;
        if (names && !(names[n] = arena_strdup(a, f->d_name, len - tail))) break;
        n++;
    }
    return n;
}

bool dir_list(struct arena *a, const char *dir, const char *ending, char ***names, size_t *n)
{
    *n = 0;
    DIR *d = opendir(dir);
    if (!d) return false;
    size_t cap = scan(a, d, ending, NULL, 0);
    *names = arena_alloc(a, cap, sizeof **names);
    if (*names) *n = scan(a, d, ending, *names, cap);
    closedir(d);
    if (*n) qsort(*names, *n, sizeof **names, by_text);
    return *n > 0;
}

const char *temp_dir(struct test *t)
{
    const char *base = getenv("TMPDIR");
    if (!base || !*base) base = "/tmp";
    size_t cap = strlen(base) + 32;
    char *p = test_alloc(t, cap, 1);
    if (!p) return NULL;
    snprintf(p, cap, "%s/assay-gguf-XXXXXX", base);
    return test_check(t, mkdtemp(p) != NULL, "%s: %s", p, strerror(errno)) ? p : NULL;
}

const char *dir_path(struct test *t, const char *dir, const char *name)
{
    size_t cap = strlen(dir) + strlen(name) + 2;
    char *p = test_alloc(t, cap, 1);
    if (p) snprintf(p, cap, "%s/%s", dir, name);
    return p;
}

void temp_remove(const char *dir)
{
    DIR *d = opendir(dir);
    if (!d) return;
    for (struct dirent *f; (f = readdir(d));) unlinkat(dirfd(d), f->d_name, 0);
    closedir(d);
    rmdir(dir);
}

size_t temp_count(struct test *t, const char *dir)
{
    char **names;
    size_t n;
    dir_list(&t->arena, dir, "", &names, &n);
    return n;
}
