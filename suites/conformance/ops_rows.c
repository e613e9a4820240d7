/* Cases of operations over rows: norms, softmax, argmax. */
#include "conformance/ops.h"
#include "judge/bounds.h"
#include "judge/compare.h"
#include "reference/ref.h"
#include "harness/random.h"

#include <math.h>

static const struct axes row_axes = {.row = "row", .col = "element"};

void ops_compare_in_place(struct rig *g, struct view v, const float *first, size_t rows, size_t n)
{
    bool failed = g->t->result.status == CASE_FAIL; /* the first result says enough */
    const float *again = failed ? NULL : rig_get(g, v, rows * n);
    if (!again) return;
    compare_bits_on(&g->t->result, again, first, rows, n, &row_axes);
    if (g->t->result.bad && !*g->t->result.message)
        test_fail(g->t, "in place, the result differs from that in a buffer of its own");
}

struct norm {
    float *w, *b;
    double *y, *mag;
};

/* Weights far from 1, row by row different ones. */
static bool norm_make(struct norm *m, struct test *t, const struct op_row *row, const float *x,
                      struct rng *r)
{
    size_t n = row->n, all = row->rows * n, w_rows = row->w_rows;
    double *wide = ops_widen(t, x, all);
    *m = (struct norm){.w = test_alloc(t, w_rows * n, sizeof *m->w),
                       .b = test_alloc(t, w_rows * n, sizeof *m->b),
                       .y = test_alloc(t, all, sizeof *m->y),
                       .mag = test_alloc(t, all, sizeof *m->mag)};
    if (!wide || !m->w || !m->b || !m->y || !m->mag) return false;
    for (size_t i = 0; i < w_rows * n; i++) m->w[i] = (float)(0.3 + 1.5 * rng_uniform(r));
    input_fill(INPUT_gauss, r, m->b, w_rows, n);
    for (size_t i = 0; i < row->rows; i++) {
        const size_t at = i * n, which = i % w_rows * n;
        const float *b = row->bias ? m->b + which : NULL;
        if (row->op == OP_rms_norm)
            ref_rms_norm(wide + at, m->w + which, 1, n, (double)row->eps, m->y + at, m->mag + at);
        else
            ref_layer_norm(wide + at, m->w + which, b, 1, n, (double)row->eps, m->y + at,
                           m->mag + at);
    }
    return true;
}

static enum status call_norm(struct rig *g, enum op op, const struct op_norm *a)
{
    return op == OP_rms_norm ? g->ops->rms_norm(g->b, a, &g->e)
                             : g->ops->layer_norm(g->b, a, &g->e);
}

static void run_norm(struct test *t, const struct test_case *c, const float *x, struct rng *r)
{
    const struct op_row *row = c->arg;
    size_t rows = row->rows, n = row->n, w_bytes = row->w_rows * n * sizeof(float);
    struct norm m;
    struct rig g;
    if (!norm_make(&m, t, row, x, r) || !rig_open(&g, t, c)) return;
    struct op_norm a = {.x = rig_input(&g, x, rows * n * sizeof *x),
                        .w = rig_input(&g, m.w, w_bytes),
                        .out = rig_output(&g, rows * n),
                        .rows = (uint32_t)rows,
                        .n = (uint32_t)n,
                        .w_rows = row->w_rows,
                        .eps = row->eps};
    if (row->bias) a.b = rig_input(&g, m.b, w_bytes);
    bool has = row->op == OP_rms_norm ? g.ops->rms_norm != NULL : g.ops->layer_norm != NULL;
    if (rig_has(&g, has, c->op)) rig_did(&g, call_norm(&g, row->op, &a));
    float *got = rig_get(&g, a.out, rows * n);
    if (got)
        compare(&t->result, &(struct comparison){.cls = op_table[row->op].tol,
                                                 .got = got,
                                                 .want = m.y,
                                                 .mag = m.mag,
                                                 .rows = rows,
                                                 .cols = n,
                                                 .n = n,
                                                 .axes = &row_axes});
    a.x = a.out = rig_inout(&g, x, rows * n * sizeof *x);
    if (g.ok && rig_did(&g, call_norm(&g, row->op, &a)))
        ops_compare_in_place(&g, a.out, got, rows, n);
    rig_close(&g);
}

static void softmax_magnitude(const double *x, const float *sinks, size_t n_sinks, const double *y,
                              size_t rows, size_t n, double *mag)
{
    for (size_t row = 0; row < rows; row++) {
        double top = sinks ? (double)sinks[row % n_sinks] : -INFINITY;
        for (size_t i = 0; i < n; i++) top = fmax(top, x[row * n + i]);
        for (size_t i = row * n; i < (row + 1) * n; i++)
            mag[i] = bound_softmax_magnitude(y[i], top - x[i]);
    }
}

/* Sinks: of the size of the scores; the first one far above them, the second far below. */
static float *make_sinks(struct test *t, uint32_t n, struct rng *r)
{
    float *sinks = n ? test_alloc(t, n, sizeof *sinks) : NULL;
    for (uint32_t i = 0; sinks && i < n; i++)
        sinks[i] = (float)(2 * rng_gauss(r) + (i == 0 ? 9 : i == 1 ? -30 : 0));
    return sinks;
}

static void run_softmax(struct test *t, const struct test_case *c, const float *x, struct rng *r)
{
    const struct op_row *row = c->arg;
    size_t rows = row->rows, n = row->n;
    double *wide = ops_widen(t, x, rows * n), *y = test_alloc(t, rows * n, sizeof *y);
    double *mag = test_alloc(t, rows * n, sizeof *mag);
    float *sinks = make_sinks(t, row->n_sinks, r);
    if (!wide || !y || !mag || (row->n_sinks && !sinks)) return;
    ref_softmax_sinks(wide, sinks, row->n_sinks, rows, n, y);
    softmax_magnitude(wide, sinks, row->n_sinks, y, rows, n, mag);
    struct rig g;
    if (!rig_open(&g, t, c)) return;
    struct op_softmax a = {.x = rig_input(&g, x, rows * n * sizeof *x),
                           .out = rig_output(&g, rows * n),
                           .rows = (uint32_t)rows,
                           .n = (uint32_t)n,
                           .n_sinks = row->n_sinks};
    if (sinks) a.sinks = rig_input(&g, sinks, row->n_sinks * sizeof *sinks);
    if (rig_has(&g, g.ops->softmax, c->op)) rig_did(&g, g.ops->softmax(g.b, &a, &g.e));
    float *got = rig_get(&g, a.out, rows * n);
    if (got)
        compare(&t->result, &(struct comparison){.cls = TOL_REDUCE,
                                                 .got = got,
                                                 .want = y,
                                                 .mag = mag,
                                                 .rows = rows,
                                                 .cols = n,
                                                 .n = n,
                                                 .axes = &row_axes});
    a.x = a.out = rig_inout(&g, x, rows * n * sizeof *x);
    if (g.ok && rig_did(&g, g.ops->softmax(g.b, &a, &g.e)))
        ops_compare_in_place(&g, a.out, got, rows, n);
    rig_close(&g);
}

static void run_argmax(struct test *t, const struct test_case *c, const float *x)
{
    const struct op_row *row = c->arg;
    size_t rows = row->rows, n = row->n;
    double *wide = ops_widen(t, x, rows * n);
    int32_t *want = test_alloc(t, rows, sizeof *want);
    if (!wide || !want) return;
    for (size_t i = 0; i < rows; i++) want[i] = (int32_t)ref_argmax(wide + i * n, n);
    struct rig g;
    if (!rig_open(&g, t, c)) return;
    struct op_rows a = {.x = rig_input(&g, x, rows * n * sizeof *x),
                        .out = rig_output(&g, rows),
                        .rows = (uint32_t)rows,
                        .n = (uint32_t)n};
    if (rig_has(&g, g.ops->argmax, c->op)) rig_did(&g, g.ops->argmax(g.b, &a, &g.e));
    int32_t *got = rig_get_bytes(&g, a.out, rows * sizeof *got);
    if (got) compare_bytes(&t->result, got, want, rows * sizeof *want);
    rig_close(&g);
}

void ops_run_rows(struct test *t, const struct test_case *c)
{
    const struct op_row *row = c->arg;
    struct rng r = rng_of(t);
    float *x = test_alloc(t, (size_t)row->rows * row->n, sizeof *x);
    if (!x) return;
    input_fill(row->input, &r, x, row->rows, row->n);
    if (row->op == OP_rms_norm || row->op == OP_layer_norm)
        run_norm(t, c, x, &r);
    else if (row->op == OP_softmax)
        run_softmax(t, c, x, &r);
    else
        run_argmax(t, c, x);
}
