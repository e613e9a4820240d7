/* What the cases of the gguf suite share: descriptions and comparisons of containers. */
#ifndef GGUF_UTIL_H
#define GGUF_UTIL_H

#include "engine/gguf/gguf.h"
#include "harness/harness.h"

/* "OPTIONS->vectors/gguf/KIND/NAME.ENDING"; in t's arena. */
const char *container_vector_path(struct test *t, const char *kind, const char *name,
                                  const char *ending);

/* Everything a reader sees, a line each, as vectors/make/gguf_cases.py writes it; malloc'd. Reads
 * every value and every byte of data. NULL: no memory. */
char *container_describe(const struct gguf *g, bool header_only);

/* Fails the case where the metadata or the tensors of the two differ (offsets may). */
void container_check_same(struct test *t, const struct gguf *want, const struct gguf *got);

/* All keys and tensors of g into a writer; NULL after failing the case. */
struct gguf_writer *container_rewrite(struct test *t, const struct gguf *g);

/* A refusal has to be one line that is not empty. */
void container_check_message(struct test *t, const struct err *e);

/* Cases of the files of these names. */
void container_collect_written(struct case_list *l, char *const *valid, size_t n);
void container_collect_split(struct case_list *l);
void container_collect_getters(struct case_list *l);
void container_collect_info(struct case_list *l);

#endif
