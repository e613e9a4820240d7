/* Cases of operations over rows (norm, softmax, argmax) and element by element. */
#include "ops.h"
#include "compare.h"
#include "ref.h"

#include <float.h>
#include <math.h>
#include <string.h>

static const struct axes row_axes = {.row = "row", .col = "element"};

/* The same operation once more with its output in place of an input: the same bits are due. */
static void compare_in_place(struct rig *g, struct view v, const float *first, size_t rows,
                             size_t n)
{
    bool failed = g->t->result.status == CASE_FAIL; /* the first result says enough */
    const float *again = failed ? NULL : rig_get(g, v, rows * n);
    if (!again) return;
    compare_bits_on(&g->t->result, again, first, rows, n, &row_axes);
    if (g->t->result.bad && !*g->t->result.message)
        test_fail(g->t, "in place, the result differs from that in a buffer of its own");
}

static void run_norm(struct test *t, const struct test_case *c, const float *x, struct rng *r)
{
    const struct op_row *row = c->arg;
    size_t rows = row->rows, n = row->n;
    float *w = test_alloc(t, n, sizeof *w);
    double *y = test_alloc(t, rows * n, sizeof *y), *mag = test_alloc(t, rows * n, sizeof *mag);
    double *wide = widen(t, x, rows * n);
    if (!w || !y || !mag || !wide) return;
    for (size_t i = 0; i < n; i++) w[i] = (float)(0.3 + 1.5 * rng_uniform(r)); /* far from 1 */
    ref_rms_norm(wide, w, rows, n, (double)row->eps, y, mag);
    struct rig g;
    if (!rig_open(&g, t, c)) return;
    struct op_norm a = {.x = rig_input(&g, x, rows * n * sizeof *x),
                        .w = rig_input(&g, w, n * sizeof *w),
                        .out = rig_output(&g, rows * n),
                        .rows = (uint32_t)rows,
                        .n = (uint32_t)n,
                        .w_rows = 1,
                        .eps = row->eps};
    if (rig_has(&g, g.ops->rms_norm, c->op)) rig_did(&g, g.ops->rms_norm(g.b, &a, &g.e));
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
    if (g.ok && rig_did(&g, g.ops->rms_norm(g.b, &a, &g.e)))
        compare_in_place(&g, a.out, got, rows, n);
    rig_close(&g);
}

/* exp amplifies the rounding of its argument: p has relative error (2 |x - max| + const) u. */
static void softmax_magnitude(const double *x, const double *y, size_t rows, size_t n, double *mag)
{
    for (size_t row = 0; row < rows; row++) {
        double top = -INFINITY;
        for (size_t i = 0; i < n; i++) top = fmax(top, x[row * n + i]);
        for (size_t i = row * n; i < (row + 1) * n; i++)
            mag[i] = y[i] == 0 ? 0 : y[i] * (1 + (top - x[i]) / 4);
    }
}

static void run_softmax(struct test *t, const struct test_case *c, const float *x)
{
    const struct op_row *row = c->arg;
    size_t rows = row->rows, n = row->n;
    double *wide = widen(t, x, rows * n), *y = test_alloc(t, rows * n, sizeof *y);
    double *mag = test_alloc(t, rows * n, sizeof *mag);
    if (!wide || !y || !mag) return;
    ref_softmax(wide, rows, n, y);
    softmax_magnitude(wide, y, rows, n, mag);
    for (size_t i = 0; i < rows * n; i++) mag[i] += 0x1p-102; /* results that underflow */
    struct rig g;
    if (!rig_open(&g, t, c)) return;
    struct op_softmax a = {.x = rig_input(&g, x, rows * n * sizeof *x),
                           .out = rig_output(&g, rows * n),
                           .rows = (uint32_t)rows,
                           .n = (uint32_t)n};
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
        compare_in_place(&g, a.out, got, rows, n);
    rig_close(&g);
}

static void run_argmax(struct test *t, const struct test_case *c, const float *x)
{
    const struct op_row *row = c->arg;
    size_t rows = row->rows, n = row->n;
    double *wide = widen(t, x, rows * n);
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

void run_rows(struct test *t, const struct test_case *c)
{
    const struct op_row *row = c->arg;
    struct rng r = rng_of(t);
    float *x = test_alloc(t, (size_t)row->rows * row->n, sizeof *x);
    if (!x) return;
    input_fill(row->input, &r, x, row->rows, row->n);
    if (row->op == OP_rms_norm)
        run_norm(t, c, x, &r);
    else if (row->op == OP_softmax)
        run_softmax(t, c, x);
    else
        run_argmax(t, c, x);
}

/* ---- element by element ------------------------------------------------------------------ */

struct flat {
    double *want, *floor; /* floor: absolute error admitted beside the ulps */
};

/* silu: exp(-x) overflows below -88.7, where the result is below 89 * FLT_MIN. gelu: 1 + tanh
 * cancels for negative x, so a rounding of tanh (u) is worth |x| u in the result. */
static void expect(enum op op, const float *a, const float *b, float factor, size_t n,
                   struct flat *f)
{
    for (size_t i = 0; i < n; i++) {
        double x = (double)a[i], gain = 1;
        if (op == OP_silu_mul || op == OP_gelu_mul) gain = (double)b[i];
        switch (op) {
        case OP_silu:
        case OP_silu_mul:
            f->want[i] = ref_silu(x) * gain;
            f->floor[i] = 8 * (double)FLT_MIN * (1 + fabs(x * gain));
            break;
        case OP_gelu:
        case OP_gelu_mul:
            f->want[i] = ref_gelu(x) * gain;
            f->floor[i] = 4 * 0x1p-24 * fabs(x * gain);
            break;
        case OP_add:
            f->want[i] = (double)(a[i] + b[i]);
            break;
        default:
            f->want[i] = (double)(factor * a[i]);
            break;
        }
    }
}

static enum status call_flat(struct rig *g, enum op op, struct view a, struct view b,
                             struct view out, uint32_t n, float factor)
{
    struct op_unary unary = {a, out, n};
    struct op_binary binary = {a, b, out, n};
    struct op_scale scale = {a, out, n, factor};
    switch (op) {
    case OP_silu:
        return g->ops->silu(g->b, &unary, &g->e);
    case OP_gelu:
        return g->ops->gelu(g->b, &unary, &g->e);
    case OP_silu_mul:
        return g->ops->silu_mul(g->b, &binary, &g->e);
    case OP_gelu_mul:
        return g->ops->gelu_mul(g->b, &binary, &g->e);
    case OP_add:
        return g->ops->add(g->b, &binary, &g->e);
    default:
        return g->ops->scale(g->b, &scale, &g->e);
    }
}

static bool has_flat(const struct backend_ops *ops, enum op op)
{
    switch (op) {
    case OP_silu:
        return ops->silu;
    case OP_gelu:
        return ops->gelu;
    case OP_silu_mul:
        return ops->silu_mul;
    case OP_gelu_mul:
        return ops->gelu_mul;
    case OP_add:
        return ops->add;
    default:
        return ops->scale;
    }
}

void run_flat(struct test *t, const struct test_case *c)
{
    const struct op_row *row = c->arg;
    size_t n = row->n;
    struct rng r = rng_of(t);
    float *x = test_alloc(t, n, sizeof *x), *y = test_alloc(t, n, sizeof *y);
    struct flat f = {test_alloc(t, n, sizeof(double)), test_alloc(t, n, sizeof(double))};
    if (!x || !y || !f.want || !f.floor) return;
    input_fill(row->input, &r, x, 1, n);
    input_fill(INPUT_gauss, &r, y, 1, n);
    float factor = 0.3f;
    expect(row->op, x, y, factor, n, &f);
    struct rig g;
    if (!rig_open(&g, t, c)) return;
    struct view a = rig_input(&g, x, n * sizeof *x), b = rig_input(&g, y, n * sizeof *y);
    struct view out = rig_output(&g, n);
    if (rig_has(&g, has_flat(g.ops, row->op), c->op))
        rig_did(&g, call_flat(&g, row->op, a, b, out, (uint32_t)n, factor));
    float *got = rig_get(&g, out, n);
    if (got)
        compare(&t->result, &(struct comparison){.cls = op_table[row->op].tol,
                                                 .got = got,
                                                 .want = f.want,
                                                 .mag = f.floor,
                                                 .rows = 1,
                                                 .cols = n,
                                                 .n = 1,
                                                 .axes = &row_axes});
    bool binary = row->op == OP_silu_mul || row->op == OP_gelu_mul || row->op == OP_add;
    for (int second = 0; g.ok && second <= binary; second++) {
        struct view in = rig_inout(&g, second ? y : x, n * sizeof *x);
        if (!g.ok) break;
        if (rig_did(&g, call_flat(&g, row->op, second ? a : in, second ? in : b, in, (uint32_t)n,
                                  factor)))
            compare_in_place(&g, in, got, 1, n);
    }
    rig_close(&g);
}
