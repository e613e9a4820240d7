/* Files of test cases: what a directory holds, and temporary directories. */
#ifndef FILES_H
#define FILES_H

#include "harness/harness.h"

/* The names, without the ending, of a directory's files that have the ending, sorted; the names are
 * in the arena. False if there is no such directory, or no such file in it. */
bool dir_list(struct arena *a, const char *dir, const char *ending, char ***names, size_t *n);

/* "DIR/NAME", in the arena of t. */
const char *dir_path(struct test *t, const char *dir, const char *name);

/* Makes an empty directory for this case. NULL, which fails the case, if that is impossible. */
const char *temp_dir(struct test *t);
/* Removes the files in the directory, and the directory. */
void temp_remove(const char *dir);
/* The number of files in the directory. */
size_t temp_count(struct test *t, const char *dir);

#endif
