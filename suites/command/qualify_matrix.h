/* The outcome of `assay qualify --all-archs` for a terminal: per subject a matrix of architectures
 * and types, in as many parts as its width asks for. */
#ifndef QUALIFY_MATRIX_H
#define QUALIFY_MATRIX_H

#include "command/qualify_row.h"

struct qualify_matrix;

/* NULL: out of memory. */
struct qualify_matrix *qualify_matrix_new(size_t n_types);
void qualify_matrix_free(struct qualify_matrix *m);

/* The cells of one row of an architecture; `type` counts types in the order of the columns. */
void qualify_matrix_add(struct qualify_matrix *m, const char *arch, size_t type,
                        const struct qualify_row *row);
/* A cell that no subject got to: the model could not be made or opened. */
void qualify_matrix_fail(struct qualify_matrix *m, const char *arch, size_t type,
                         const char *type_name);

/* On stdout, at most `columns` wide. */
void qualify_matrix_print(const struct qualify_matrix *m, size_t columns);

#endif
