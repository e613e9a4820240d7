/* Tensors of two files compared by name, or two arrays, without a model: values may differ by a
 * share of their rms. */
#ifndef LOCATE_TABLES_H
#define LOCATE_TABLES_H

#include "engine/gguf/gguf.h"
#include "trace/npy.h"

struct tables {
    double tolerance; /* share of the rms */
    bool all;         /* print a line for every tensor, not for those that differ */
    size_t n, n_bad;
    char first[256]; /* that differs, in words */
};

/* Tensors that both have and that have values. Another shape is an error. */
enum status tables_tensors(struct tables *k, const struct gguf *x, const struct gguf *y,
                           struct err *e);
enum status tables_arrays(struct tables *k, const struct npy *x, const struct npy *y,
                          struct err *e);

#endif
