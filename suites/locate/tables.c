/* See locate_tables.h. */
#include "locate/tables.h"
#include "judge/bounds.h"
#include "judge/compare.h"
#include "reference/ref.h"
#include "base/terminal.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static double *decoded(const struct gguf_tensor *t, struct err *e)
{
    const size_t n = (size_t)t->n_elems;
    float *x = alloc_array(n, sizeof *x);
    double *y = alloc_array(n, sizeof *y);
    if (!x || !y || !ref_decode(t->type->id, t->data, n, x)) {
        fail(e, ST_UNSUPPORTED, "tensor %.*s: type %s holds no values", (int)t->name.len,
             t->name.data, t->type->name);
        free(y);
        y = NULL;
    }
    for (size_t i = 0; y && i < n; i++) y[i] = (double)x[i];
    free(x);
    return y;
}

static enum status compare_values(struct tables *k, const char *name, const double *x,
                                  const double *y, size_t rows, size_t cols, struct err *e)
{
    const size_t n = rows * cols;
    float *got = alloc_array(n, sizeof *got);
    double *bound = alloc_array(n, sizeof *bound), sum = 0;
    struct case_result r = {.nmse_worst_row = NAN};
    enum status st = got && bound ? ST_OK : fail(e, ST_NOMEM, "no memory for %zu values", n);
    for (size_t i = 0; i < n; i++) sum += isfinite(x[i]) ? x[i] * x[i] : 0;
    for (size_t i = 0; st == ST_OK && i < n; i++) {
        got[i] = (float)y[i];
        bound[i] = bound_share(k->tolerance, sqrt(sum / (double)n));
    }
    if (st == ST_OK) {
        compare_within(&r, got, x, bound, rows, cols);
        k->n++;
        if (r.bad && k->n_bad++ == 0)
            snprintf(k->first, sizeof k->first, "%.60s: %zu of %zu values, %.80s", name, r.bad, n,
                     r.pattern);
        if (r.bad || k->all)
            printf("%s%-32.32s %10.3g %10.3g %9zu of %zu%s\n", r.bad ? terminal_color("red") : "",
                   name, r.error, sqrt(sum / (double)n), r.bad, n,
                   r.bad ? terminal_color("reset") : "");
    }
    free(got);
    free(bound);
    return st;
}

static enum status compare_tensor(struct tables *k, const struct gguf_tensor *x,
                                  const struct gguf_tensor *y, struct err *e)
{
    char name[64];
    snprintf(name, sizeof name, "%.*s", (int)x->name.len, x->name.data);
    if (memcmp(x->dims, y->dims, sizeof x->dims) != 0)
        return fail(e, ST_FORMAT, "tensor %s has another shape in the other file", name);
    if (x->n_elems == 0) return ST_OK;
    double *a = decoded(x, e), *b = a ? decoded(y, e) : NULL;
    enum status st = a && b ? compare_values(k, name, a, b, (size_t)(x->n_elems / x->dims[0]),
                                             (size_t)x->dims[0], e)
                            : e->st;
    free(a);
    free(b);
    return st;
}

enum status tables_arrays(struct tables *k, const struct npy *x, const struct npy *y, struct err *e)
{
    const size_t n = x->rows * x->cols;
    if (x->rows != y->rows || x->cols != y->cols)
        return fail(e, ST_FORMAT, "%zu x %zu values and %zu x %zu", x->rows, x->cols, y->rows,
                    y->cols);
    double *a = alloc_array(2 * n, sizeof *a);
    if (!a) return fail(e, ST_NOMEM, "no memory for %zu values", n);
    for (size_t i = 0; i < n; i++) a[i] = (double)x->values[i], a[n + i] = (double)y->values[i];
    enum status st = compare_values(k, "values", a, a + n, x->rows, x->cols, e);
    free(a);
    return st;
}

enum status tables_tensors(struct tables *k, const struct gguf *x, const struct gguf *y,
                           struct err *e)
{
    enum status st = ST_OK;
    for (size_t i = 0; i < x->n_tensors && st == ST_OK; i++) {
        char name[64];
        snprintf(name, sizeof name, "%.*s", (int)x->tensors[i].name.len, x->tensors[i].name.data);
        const struct gguf_tensor *other = gguf_find_tensor(y, name);
        if (other && type_decodes(other->type) && type_decodes(x->tensors[i].type))
            st = compare_tensor(k, &x->tensors[i], other, e);
    }
    return st;
}
