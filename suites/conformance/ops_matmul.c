/* Cases of matrix products and row look-ups. */
#include "conformance/ops.h"
#include "judge/compare.h"
#include "reference/ref.h"
#include "harness/random.h"

size_t ops_row_length(const struct op_row *row, const struct type_spec *type)
{
    if (row->in_values) return row->n;
    return (size_t)row->n * (type->block_elems > 1 ? type->block_elems : 32);
}

bool ops_sizes_differ(struct test *t, size_t m, size_t n, size_t k)
{
    return test_check(t, (m != n && m != k && n != k) || m * n * k == 1,
                      "sizes %zu, %zu and %zu are not all different", m, n, k);
}

static const struct axes product_axes = {.row = "token", .col = "output row"};

void ops_run_matmul(struct test *t, const struct test_case *c)
{
    const struct op_row *row = c->arg;
    const struct type_spec *type = type_by_name(c->type);
    size_t m = row->rows, k = ops_row_length(row, type), n = row->cols;
    struct rng r = rng_of(t);
    if (!ops_sizes_differ(t, m, n, k)) return;
    uint8_t *w = input_weights(t, &r, type->id, row->weights, m, k);
    float *x = test_alloc(t, n * k, sizeof *x), *bias = test_alloc(t, m, sizeof *bias);
    double *y = test_alloc(t, n * m, sizeof *y), *mag = test_alloc(t, n * m, sizeof *mag);
    if (!w || !x || !bias || !y || !mag) return;
    input_fill(row->input, &r, x, n, k);
    input_fill(INPUT_gauss, &r, bias, 1, m);
    bool with_bias = rng_below(&r, 2);
    double *wide = ops_widen(t, x, n * k);
    if (!wide) return;
    ref_matmul(type->id, w, m, k, wide, n, with_bias ? bias : NULL, y, mag);

    struct rig g;
    if (!rig_open(&g, t, c)) return;
    struct op_matmul a = {.w = rig_weight(&g, type->id, w, m, k),
                          .x = rig_input(&g, x, n * k * sizeof *x),
                          .out = rig_output(&g, n * m),
                          .n_cols = (uint32_t)n};
    if (with_bias) a.bias = rig_input(&g, bias, m * sizeof *bias);
    bool vec = c->index == OP_matvec;
    if (rig_has(&g, vec ? g.ops->matvec : g.ops->matmul, c->op))
        rig_did(&g, vec ? g.ops->matvec(g.b, &a, &g.e) : g.ops->matmul(g.b, &a, &g.e));
    float *got = rig_get(&g, a.out, n * m);
    if (got)
        compare(&t->result, &(struct comparison){.cls = op_table[c->index].tol,
                                                 .got = got,
                                                 .want = y,
                                                 .mag = mag,
                                                 .rows = n,
                                                 .cols = m,
                                                 .n = k,
                                                 .axes = &product_axes});
    rig_close(&g);
}

void ops_run_lookup(struct test *t, const struct test_case *c)
{
    const struct op_row *row = c->arg;
    const struct type_spec *type = type_by_name(c->type);
    size_t m = row->rows, k = ops_row_length(row, type), n = row->cols;
    struct rng r = rng_of(t);
    uint8_t *w = input_weights(t, &r, type->id, row->weights, m, k);
    int32_t *ids = test_alloc(t, n, sizeof *ids);
    float *want = test_alloc(t, n * k, sizeof *want);
    if (!w || !ids || !want) return;
    for (size_t i = 0; i < n; i++) {
        ids[i] = (int32_t)(i == 0 ? m - 1 : i == 1 ? 0 : rng_below(&r, m));
        ref_decode(type->id, w + (size_t)ids[i] * type_bytes(type, k), k, want + i * k);
    }
    struct rig g;
    if (!rig_open(&g, t, c)) return;
    struct op_get_rows a = {.w = rig_weight(&g, type->id, w, m, k),
                            .ids = rig_input(&g, ids, n * sizeof *ids),
                            .out = rig_output(&g, n * k),
                            .n = (uint32_t)n};
    if (rig_has(&g, g.ops->get_rows, c->op)) rig_did(&g, g.ops->get_rows(g.b, &a, &g.e));
    float *got = rig_get(&g, a.out, n * k);
    struct axes axes = {"id", "element", type->block_elems, "block"};
    if (got) compare_bits_on(&t->result, got, want, n, k, &axes);
    rig_close(&g);
}
