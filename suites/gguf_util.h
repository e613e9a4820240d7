/* What the cases of the gguf suite share: listing files, bytes before a forbidden page, temporary
 * directories, descriptions and comparisons of containers. */
#ifndef GGUF_UTIL_H
#define GGUF_UTIL_H

#include "gguf.h"
#include "harness.h"

/* Names without the ending of the files of a directory that have it, sorted; in the arena. False
 * if there is no such directory, or no such file in it. */
bool list_files(struct arena *a, const char *dir, const char *ending, char ***names, size_t *n);

/* "OPTIONS->vectors/gguf/KIND/NAME.ENDING"; in t's arena. */
const char *vector_path(struct test *t, const char *kind, const char *name, const char *ending);

/* Room for bytes that end where the program may not read on, in every build. */
struct fence {
    uint8_t *map;
    size_t map_size;
    uint8_t *end;
};
bool fence_open(struct test *t, struct fence *f, size_t cap);
/* The copy: it ends at f->end. */
struct span fence_put(const struct fence *f, const void *data, size_t n);
void fence_close(struct fence *f);

/* "DIR/NAME"; in t's arena. */
const char *path_in(struct test *t, const char *dir, const char *name);

/* An empty directory of this case. NULL fails the case. */
const char *temp_dir(struct test *t);
/* Removes the files in it and itself. */
void temp_remove(const char *dir);
size_t temp_count(struct test *t, const char *dir);

/* Everything a reader sees, a line each, as vectors/make/gguf_cases.py writes it; malloc'd. Reads
 * every value and every byte of data. NULL: no memory. */
char *describe(const struct gguf *g, bool header_only);

/* Fails the case where the metadata or the tensors of the two differ (offsets may). */
void check_same(struct test *t, const struct gguf *want, const struct gguf *got);

/* All keys and tensors of g into a writer; NULL after failing the case. */
struct gguf_writer *rewrite(struct test *t, const struct gguf *g);

/* A refusal has to be one line that is not empty. */
void check_message(struct test *t, const struct err *e);

/* Cases of the files of these names. */
void collect_written(struct case_list *l, char *const *valid, size_t n);
void collect_split(struct case_list *l);
void collect_getters(struct case_list *l);
void collect_info(struct case_list *l);

#endif
