/* Cases of operations element by element, and of those that move or scale values: copy,
 * scale_rows. */
#include "conformance/ops.h"
#include "judge/bounds.h"
#include "judge/compare.h"
#include "reference/ref.h"
#include "harness/random.h"

#include <math.h>

static const struct axes row_axes = {.row = "row", .col = "element"};

/* ---- element by element ------------------------------------------------------------------ */

static double silu_of(double x, double y)
{
    (void)y;
    return ref_silu(x);
}
static double gelu_of(double x, double y)
{
    (void)y;
    return ref_gelu(x);
}
static double gelu_erf_of(double x, double y)
{
    (void)y;
    return ref_gelu_erf(x);
}
static double sigmoid_of(double x, double y)
{
    (void)y;
    return ref_sigmoid(x);
}
static double silu_mul_of(double x, double y)
{
    return ref_silu(x) * y;
}
static double gelu_mul_of(double x, double y)
{
    return ref_gelu(x) * y;
}
static double gelu_erf_mul_of(double x, double y)
{
    return ref_gelu_erf(x) * y;
}
static double add_of(double x, double y)
{
    return x + y; /* compared after one rounding */
}
static double scale_of(double x, double y)
{
    return x * y;
}

enum form { FORM_UNARY, FORM_BINARY, FORM_FACTOR };

/* want: the reference's value; y is the second operand or the factor. floor: what a device may lose
 * beside the ulps of the class (bounds.c); gain is what the function of x is multiplied by. */
static const struct flat_op {
    enum op op;
    enum form form;
    double (*want)(double x, double y), (*floor)(double x, double gain);
    double second; /* spread of the second operand; the factor's mean */
} flat_ops[] = {
    {OP_silu, FORM_UNARY, silu_of, bound_exp_floor, 1},
    {OP_gelu, FORM_UNARY, gelu_of, bound_tanh_floor, 1},
    {OP_gelu_erf, FORM_UNARY, gelu_erf_of, bound_tanh_floor, 1},
    {OP_sigmoid, FORM_UNARY, sigmoid_of, bound_sigmoid_floor, 1},
    {OP_softcap, FORM_FACTOR, ref_softcap, bound_cap_floor, 30},
    {OP_silu_mul, FORM_BINARY, silu_mul_of, bound_exp_floor, 1},
    {OP_gelu_mul, FORM_BINARY, gelu_mul_of, bound_tanh_floor, 1},
    {OP_gelu_erf_mul, FORM_BINARY, gelu_erf_mul_of, bound_tanh_floor, 1},
    {OP_swiglu_oai, FORM_BINARY, ref_clamped_swiglu, bound_swiglu_oai_floor, 5},
    {OP_add, FORM_BINARY, add_of, NULL, 1},
    {OP_scale, FORM_FACTOR, scale_of, NULL, 0.3},
};

static const struct flat_op *flat_op(enum op op)
{
    for (size_t i = 0; i < sizeof flat_ops / sizeof *flat_ops; i++)
        if (flat_ops[i].op == op) return &flat_ops[i];
    return NULL;
}

/* The slot of an operation, by its form. */
struct slot {
    enum status (*unary)(struct backend *b, const struct op_unary *a, struct err *e);
    enum status (*binary)(struct backend *b, const struct op_binary *a, struct err *e);
    enum status (*factor)(struct backend *b, const struct op_scale *a, struct err *e);
};

static struct slot slot_of(const struct backend_ops *ops, enum op op)
{
    switch (op) {
    case OP_silu:
        return (struct slot){.unary = ops->silu};
    case OP_gelu:
        return (struct slot){.unary = ops->gelu};
    case OP_gelu_erf:
        return (struct slot){.unary = ops->gelu_erf};
    case OP_sigmoid:
        return (struct slot){.unary = ops->sigmoid};
    case OP_softcap:
        return (struct slot){.factor = ops->softcap};
    case OP_silu_mul:
        return (struct slot){.binary = ops->silu_mul};
    case OP_gelu_mul:
        return (struct slot){.binary = ops->gelu_mul};
    case OP_gelu_erf_mul:
        return (struct slot){.binary = ops->gelu_erf_mul};
    case OP_swiglu_oai:
        return (struct slot){.binary = ops->swiglu_oai};
    case OP_add:
        return (struct slot){.binary = ops->add};
    default:
        return (struct slot){.factor = ops->scale};
    }
}

static enum status call_flat(struct rig *g, enum op op, struct view a, struct view b,
                             struct view out, uint32_t n, float factor)
{
    struct slot s = slot_of(g->ops, op);
    if (s.unary) return s.unary(g->b, &(struct op_unary){a, out, n}, &g->e);
    if (s.binary) return s.binary(g->b, &(struct op_binary){a, b, out, n}, &g->e);
    return s.factor(g->b, &(struct op_scale){a, out, n, factor}, &g->e);
}

/* In place of either operand. */
static void flat_in_place(struct rig *g, const struct flat_op *f, const float *x, const float *y,
                          float factor, const float *got, struct view a, struct view b, uint32_t n)
{
    for (int second = 0; g->ok && second <= (f->form == FORM_BINARY); second++) {
        struct view in = rig_inout(g, second ? y : x, n * sizeof *x);
        if (!g->ok) break;
        if (rig_did(g, call_flat(g, f->op, second ? a : in, second ? in : b, in, n, factor)))
            ops_compare_in_place(g, in, got, 1, n);
    }
}

void ops_run_flat(struct test *t, const struct test_case *c)
{
    const struct op_row *row = c->arg;
    const struct flat_op *f = flat_op(row->op);
    size_t n = row->n;
    struct rng r = rng_of(t);
    float *x = test_alloc(t, n, sizeof *x), *y = test_alloc(t, n, sizeof *y);
    double *want = test_alloc(t, n, sizeof *want), *floors = test_alloc(t, n, sizeof *floors);
    if (!x || !y || !want || !floors) return;
    input_fill(row->input, &r, x, 1, n);
    input_fill(INPUT_gauss, &r, y, 1, n);
    for (size_t i = 0; i < n; i++) y[i] *= (float)f->second;
    float factor = (float)(f->second * (1 + 0.5 * rng_uniform(&r)));
    for (size_t i = 0; i < n; i++) {
        double gain = f->form == FORM_UNARY ? 1 : f->form == FORM_FACTOR ? (double)factor : y[i];
        want[i] = f->want((double)x[i], gain);
        floors[i] = f->floor ? f->floor((double)x[i], gain) : 0;
    }
    struct rig g;
    if (!rig_open(&g, t, c)) return;
    struct view a = rig_input(&g, x, n * sizeof *x), b = rig_input(&g, y, n * sizeof *y);
    struct view out = rig_output(&g, n);
    struct slot slot = slot_of(g.ops, row->op);
    if (rig_has(&g, slot.unary || slot.binary || slot.factor, c->op))
        rig_did(&g, call_flat(&g, row->op, a, b, out, (uint32_t)n, factor));
    float *got = rig_get(&g, out, n);
    if (got) {
        compare(&t->result, &(struct comparison){.cls = op_table[row->op].tol,
                                                 .got = got,
                                                 .want = want,
                                                 .mag = floors,
                                                 .rows = 1,
                                                 .cols = n,
                                                 .n = 1,
                                                 .axes = &row_axes});
        flat_in_place(&g, f, x, y, factor, got, a, b, (uint32_t)n);
    }
    rig_close(&g);
}

/* ---- scale_rows, copy ---------------------------------------------------------------------- */

void ops_run_scale_rows(struct test *t, const struct test_case *c)
{
    const struct op_row *row = c->arg;
    size_t rows = row->rows, n = row->n;
    struct rng r = rng_of(t);
    float *x = test_alloc(t, rows * n, sizeof *x), *want = test_alloc(t, rows * n, sizeof *want);
    float *factors = test_alloc(t, rows, sizeof *factors);
    if (!x || !want || !factors) return;
    input_fill(row->input, &r, x, rows, n);
    input_fill(INPUT_gauss, &r, factors, 1, rows);
    for (size_t i = 0; i < rows * n; i++) want[i] = x[i] * factors[i / n];
    struct rig g;
    if (!rig_open(&g, t, c)) return;
    struct op_scale_rows a = {.x = rig_input(&g, x, rows * n * sizeof *x),
                              .factors = rig_input(&g, factors, rows * sizeof *factors),
                              .out = rig_output(&g, rows * n),
                              .rows = (uint32_t)rows,
                              .n = (uint32_t)n};
    if (rig_has(&g, g.ops->scale_rows, c->op)) rig_did(&g, g.ops->scale_rows(g.b, &a, &g.e));
    float *got = rig_get(&g, a.out, rows * n);
    if (got) compare_bits_on(&t->result, got, want, rows, n, &row_axes);
    a.x = a.out = rig_inout(&g, x, rows * n * sizeof *x);
    if (g.ok && rig_did(&g, g.ops->scale_rows(g.b, &a, &g.e)))
        ops_compare_in_place(&g, a.out, got, rows, n);
    rig_close(&g);
}

static size_t copy_index(const struct op_row *row, size_t r, size_t g, size_t i, bool out)
{
    return out ? r * row->out_row + g * row->out_group + i : r * row->x_row + g * row->x_group + i;
}

/* What lies between the places that are written stays as it was. */
void ops_run_copy(struct test *t, const struct test_case *c)
{
    const struct op_row *row = c->arg;
    size_t rows = row->rows, groups = row->groups, n = row->n;
    size_t n_x = copy_index(row, rows - 1, groups - 1, n, false);
    size_t n_out = copy_index(row, rows - 1, groups - 1, n, true);
    struct rng r = rng_of(t);
    float *x = test_alloc(t, n_x, sizeof *x), *want = test_alloc(t, n_out, sizeof *want);
    if (!x || !want) return;
    input_fill(INPUT_gauss, &r, x, 1, n_x);
    for (size_t i = 0; i < n_out; i++) want[i] = NAN;
    for (size_t i = 0; i < rows * groups * n; i++) {
        size_t at = i / n / groups, group = i / n % groups;
        want[copy_index(row, at, group, i % n, true)] = x[copy_index(row, at, group, i % n, false)];
    }
    struct rig g;
    if (!rig_open(&g, t, c)) return;
    struct op_copy a = {.x = rig_input(&g, x, n_x * sizeof *x),
                        .out = rig_output(&g, n_out),
                        .rows = row->rows,
                        .groups = row->groups,
                        .n = row->n,
                        .x_row = row->x_row,
                        .x_group = row->x_group,
                        .out_row = row->out_row,
                        .out_group = row->out_group};
    if (rig_has(&g, g.ops->copy, c->op)) rig_did(&g, g.ops->copy(g.b, &a, &g.e));
    float *got = rig_get(&g, a.out, n_out);
    struct axes axes = {"value", "value", row->out_group, "group"};
    if (got) compare_bits_on(&t->result, got, want, 1, n_out, &axes);
    rig_close(&g);
}
