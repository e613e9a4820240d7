/* Cases of mixtures of experts: route, matmul_id, moe_sum. */
#include "conformance/ops.h"
#include "judge/bounds.h"
#include "judge/compare.h"
#include "reference/ref.h"
#include "harness/random.h"

#include <math.h>
#include <string.h>

/* ---- route ------------------------------------------------------------------------------- */

struct routing {
    struct ref_router how;
    const struct op_row *row;
    float *logits;                                     /* (n_tokens, n_experts) */
    double *wide, *probs, *noise, *selection, *scores; /* of one token; scores: of groups */
    uint32_t *ids;
    double *weights, *bounds; /* (n_tokens, n_used) */
};

static double top_of(const double *x, size_t n)
{
    double top = -INFINITY;
    for (size_t i = 0; i < n; i++) top = fmax(top, x[i]);
    return top;
}

static void probabilities(struct routing *g)
{
    const size_t n = g->how.n_experts;
    const double top = top_of(g->wide, n);
    if (g->how.gating == REF_GATING_SOFTMAX) ref_softmax(g->wide, 1, n, g->probs);
    for (size_t e = 0; e < n; e++) {
        const double x = g->wide[e];
        if (g->how.gating == REF_GATING_SIGMOID) g->probs[e] = ref_sigmoid(x);
        if (g->how.gating == REF_GATING_SOFTMAX_CHOSEN) g->probs[e] = x;
        const double relative = g->how.gating == REF_GATING_SOFTMAX ? bound_gate_softmax(top - x, n)
                                : g->how.gating == REF_GATING_SIGMOID ? bound_gate_sigmoid()
                                                                      : 0;
        const double bias = g->how.bias ? (double)g->how.bias[e] : 0;
        g->selection[e] = g->probs[e] + bias;
        g->noise[e] = bound_selection(relative * g->probs[e], g->selection[e], bias);
    }
}

/* Whether two groups' scores may be told apart. The error of a score: those of its two values, and
 * one rounding. Sums of different probabilities that are equal in double precision need not be so
 * in binary32: sigmoid(1) + sigmoid(-1) beside 2 sigmoid(0). */
static bool groups_clear(const struct routing *g)
{
    const size_t n = g->how.n_groups, size = n ? g->how.n_experts / n : 0;
    const bool exact = g->how.gating == REF_GATING_SOFTMAX_CHOSEN;
    double bests[REF_MAX_EXPERTS];
    for (size_t i = 0; i < n; i++) {
        double best = -INFINITY, second = -INFINITY;
        for (size_t e = i * size; e < (i + 1) * size; e++) {
            const double s = g->selection[e];
            second = fmax(second, fmin(best, s));
            best = fmax(best, s);
        }
        g->scores[i] = size > 1 ? best + second : best;
        bests[i] = best;
    }
    const double noise = top_of(g->noise, g->how.n_experts);
    for (size_t i = 0; n > 1 && i < n; i++)
        for (size_t k = 0; k < i; k++) {
            if (!bound_clear(g->scores[i], g->scores[k], bound_group_score(noise, g->scores[i])))
                return false;
            if (!exact && g->scores[i] == g->scores[k] && bests[i] != bests[k]) return false;
        }
    return true;
}

/* Whether rounding leaves the choice and its order alone: experts that a rounding could exchange
 * are either both refused or not there. */
static bool choice_clear(const struct routing *g, const uint32_t *ids, const double *weights)
{
    const uint32_t n = g->how.n_experts, used = g->how.n_used;
    bool chosen[REF_MAX_EXPERTS] = {false};
    for (uint32_t s = 0; s < used; s++) chosen[ids[s]] = true;
    for (uint32_t s = 0; s < used; s++) {
        const uint32_t a = ids[s];
        for (uint32_t b = 0; b < n; b++)
            if (!chosen[b] &&
                !bound_clear(g->selection[a], g->selection[b], g->noise[a] + g->noise[b]))
                return false;
        if (s &&
            !bound_clear(weights[s - 1], weights[s], bound_weight_order(g->wide[a], weights[s])))
            return false;
    }
    return groups_clear(g);
}

static void draw_logits(const struct op_row *row, struct rng *r, float *logits)
{
    input_fill(row->input, r, logits, 1, row->n_experts);
    for (size_t e = 0; e < row->n_experts; e++) {
        if (row->input == INPUT_gauss) logits[e] *= 2;
        /* sigmoids so small that the least divisor counts */
        if (row->input == INPUT_small) logits[e] = logits[e] * 1e4f - 13;
    }
}

static void weight_bounds(const struct routing *g, const uint32_t *ids, const double *weights,
                          double *bounds)
{
    const uint32_t used = g->how.n_used;
    double top = -INFINITY, worst = 0;
    for (uint32_t s = 0; s < used; s++) top = fmax(top, g->wide[ids[s]]);
    for (uint32_t s = 0; s < used; s++) {
        const uint32_t e = ids[s];
        const double top_all = top_of(g->wide, g->how.n_experts);
        bounds[s] = g->how.gating == REF_GATING_SIGMOID ? bound_gate_sigmoid()
                    : g->how.gating == REF_GATING_SOFTMAX
                        ? bound_gate_softmax(top_all - g->wide[e], g->how.n_experts)
                        : bound_gate_softmax(top - g->wide[e], used);
        worst = fmax(worst, bounds[s]);
    }
    for (uint32_t s = 0; s < used; s++) {
        if (g->how.normalise) bounds[s] = bound_normalised(bounds[s], worst, used);
        bounds[s] = bound_route_weight(bounds[s], weights[s]);
    }
}

static bool route_token(struct test *t, struct routing *g, size_t token, struct rng *r)
{
    const size_t n = g->how.n_experts, at = token * g->how.n_used;
    float *logits = g->logits + token * n;
    for (int tries = 0; tries < 200; tries++) {
        draw_logits(g->row, r, logits);
        for (size_t e = 0; e < n; e++) g->wide[e] = (double)logits[e];
        ref_route(&g->how, g->wide, g->ids + at, g->weights + at);
        probabilities(g);
        if (!choice_clear(g, g->ids + at, g->weights + at)) continue;
        weight_bounds(g, g->ids + at, g->weights + at, g->bounds + at);
        return true;
    }
    return test_check(t, false, "no logits found whose choice is beyond rounding");
}

/* Multiples of 1/2 beside integers, so that equal selection values of different weights occur. */
static float *route_bias(struct test *t, const struct op_row *row, struct rng *r)
{
    float *bias = row->bias ? test_alloc(t, row->n_experts, sizeof *bias) : NULL;
    for (size_t e = 0; bias && e < row->n_experts; e++)
        bias[e] =
            row->input == INPUT_ties ? 0.5f * (float)rng_below(r, 3) : (float)(0.3 * rng_gauss(r));
    return bias;
}

static bool routing_make(struct routing *g, struct test *t, const struct op_row *row)
{
    const size_t n = row->n_experts, tokens = row->rows, used = row->n_used;
    struct rng r = rng_of(t);
    float *bias = route_bias(t, row, &r);
    *g = (struct routing){.how = {.gating = (enum ref_gating)row->gating,
                                  .n_experts = row->n_experts,
                                  .n_used = row->n_used,
                                  .n_groups = row->n_groups,
                                  .n_groups_used = row->n_groups_used,
                                  .bias = bias,
                                  .normalise = row->normalise,
                                  .scale = (double)row->scale},
                          .row = row,
                          .logits = test_alloc(t, tokens * n, sizeof(float)),
                          .wide = test_alloc(t, n, sizeof(double)),
                          .probs = test_alloc(t, n, sizeof(double)),
                          .noise = test_alloc(t, n, sizeof(double)),
                          .selection = test_alloc(t, n, sizeof(double)),
                          .scores = test_alloc(t, n, sizeof(double)),
                          .ids = test_alloc(t, tokens * used, sizeof(uint32_t)),
                          .weights = test_alloc(t, tokens * used, sizeof(double)),
                          .bounds = test_alloc(t, tokens * used, sizeof(double))};
    if (t->result.status != CASE_PASS) return false;
    for (size_t i = 0; i < tokens; i++)
        if (!route_token(t, g, i, &r)) return false;
    return true;
}

static void judge_ids(struct test *t, const struct routing *g, const int32_t *got)
{
    static const struct axes axes = {.row = "token", .col = "slot"};
    const size_t rows = g->row->rows, used = g->how.n_used;
    float *x = test_alloc(t, rows * used, sizeof *x), *y = test_alloc(t, rows * used, sizeof *y);
    for (size_t i = 0; x && y && i < rows * used; i++) {
        memcpy(&x[i], &got[i], sizeof *x); /* what was never written is told by its bits */
        if (got[i] >= 0 && got[i] < REF_MAX_EXPERTS) x[i] = (float)got[i];
        y[i] = (float)g->ids[i];
    }
    if (x && y) compare_bits_on(&t->result, x, y, rows, used, &axes);
}

void ops_run_route(struct test *t, const struct test_case *c)
{
    const struct op_row *row = c->arg;
    struct routing m;
    struct rig g;
    if (!routing_make(&m, t, row) || !rig_open(&g, t, c)) return;
    const size_t n = (size_t)row->rows * row->n_experts, out = (size_t)row->rows * row->n_used;
    struct op_route a = {.logits = rig_input(&g, m.logits, n * sizeof *m.logits),
                         .ids = rig_output(&g, out),
                         .weights = rig_output(&g, out),
                         .n_tokens = row->rows,
                         .n_experts = row->n_experts,
                         .n_used = row->n_used,
                         .n_groups = row->n_groups,
                         .n_groups_used = row->n_groups_used,
                         .gating = row->gating,
                         .normalise = row->normalise,
                         .scale = row->scale};
    if (row->bias) a.bias = rig_input(&g, m.how.bias, row->n_experts * sizeof(float));
    if (rig_has(&g, g.ops->route, c->op)) rig_did(&g, g.ops->route(g.b, &a, &g.e));
    const int32_t *ids = rig_get_bytes(&g, a.ids, out * sizeof *ids);
    const float *weights = rig_get(&g, a.weights, out);
    if (ids && weights) {
        judge_ids(t, &m, ids);
        compare_within(&t->result, weights, m.weights, m.bounds, row->rows, row->n_used);
    }
    rig_close(&g);
}

/* ---- matmul_id --------------------------------------------------------------------------- */

static int32_t choose(const struct op_row *row, size_t token, size_t slot, struct rng *r)
{
    const size_t n = row->n_experts, i = token * row->n_used + slot;
    switch (row->choice) {
    case CHOICE_one:
        return (int32_t)(n - 1);
    case CHOICE_few:
        return (int32_t)(rng_below(r, 2) ? n / 2 : n - 1);
    case CHOICE_spread:
        return (int32_t)((i * 7 + token) % n);
    default:
        return (int32_t)rng_below(r, n);
    }
}

struct expert_product {
    enum tensor_type type;
    size_t m, k, n_cols, x_step; /* columns: slots of tokens; x_step: of which one x is for */
    uint8_t *w;
    float *x, *bias;
    int32_t *ids;
    double *y, *mag;
};

/* The columns of one expert, all at once. */
static bool expect_expert(struct test *t, struct expert_product *p, size_t expert)
{
    const size_t m = p->m, k = p->k;
    size_t n = 0;
    for (size_t i = 0; i < p->n_cols; i++) n += (size_t)p->ids[i] == expert;
    if (n == 0) return true;
    double *x = test_alloc(t, n * k, sizeof *x);
    double *y = test_alloc(t, n * m, sizeof *y), *mag = test_alloc(t, n * m, sizeof *mag);
    if (!x || !y || !mag) return false;
    for (size_t i = 0, at = 0; i < p->n_cols; i++) {
        if ((size_t)p->ids[i] != expert) continue;
        for (size_t j = 0; j < k; j++) x[at * k + j] = (double)p->x[i / p->x_step * k + j];
        at++;
    }
    ref_matmul(p->type, p->w + expert * m * type_bytes(type_by_id(p->type), k), m, k, x, n,
               p->bias ? p->bias + expert * m : NULL, y, mag);
    for (size_t i = p->n_cols; i-- > 0;) {
        if ((size_t)p->ids[i] != expert) continue;
        n--;
        memcpy(p->y + i * m, y + n * m, m * sizeof *y);
        memcpy(p->mag + i * m, mag + n * m, m * sizeof *mag);
    }
    return true;
}

static bool expert_product_make(struct expert_product *p, struct test *t, const struct op_row *row,
                                const struct type_spec *type)
{
    const size_t m = row->rows, k = ops_row_length(row, type), n = row->n_experts;
    struct rng r = rng_of(t);
    *p = (struct expert_product){.type = type->id, .m = m, .k = k};
    p->n_cols = (size_t)row->cols * row->n_used;
    p->x_step = row->x_per_slot ? 1 : row->n_used;
    const size_t n_x = p->n_cols / p->x_step;
    p->w = input_weights(t, &r, type->id, row->weights, n * m, k);
    p->x = test_alloc(t, n_x * k, sizeof *p->x);
    p->ids = test_alloc(t, p->n_cols, sizeof *p->ids);
    p->y = test_alloc(t, p->n_cols * m, sizeof *p->y);
    p->mag = test_alloc(t, p->n_cols * m, sizeof *p->mag);
    if (row->bias) p->bias = test_alloc(t, n * m, sizeof *p->bias);
    if (!p->w || !p->x || !p->ids || !p->y || !p->mag || (row->bias && !p->bias)) return false;
    input_fill(row->input, &r, p->x, n_x, k);
    if (row->bias) input_fill(INPUT_gauss, &r, p->bias, n, m);
    for (size_t i = 0; i < p->n_cols; i++)
        p->ids[i] = choose(row, i / row->n_used, i % row->n_used, &r);
    for (size_t e = 0; e < n; e++)
        if (!expect_expert(t, p, e)) return false;
    return true;
}

void ops_run_matmul_id(struct test *t, const struct test_case *c)
{
    static const struct axes axes = {.row = "slot", .col = "output row"};
    const struct op_row *row = c->arg;
    const struct type_spec *type = type_by_name(c->type);
    const size_t m = row->rows, k = ops_row_length(row, type);
    struct expert_product p;
    struct rig g;
    if (!ops_sizes_differ(t, m, row->cols, k)) return;
    if (!expert_product_make(&p, t, row, type) || !rig_open(&g, t, c)) return;
    struct op_matmul_id a = {.w = rig_weight(&g, type->id, p.w, row->n_experts * m, k),
                             .x = rig_input(&g, p.x, p.n_cols / p.x_step * k * sizeof *p.x),
                             .ids = rig_input(&g, p.ids, p.n_cols * sizeof *p.ids),
                             .out = rig_output(&g, p.n_cols * m),
                             .n_tokens = row->cols,
                             .n_used = row->n_used,
                             .n_experts = row->n_experts,
                             .x_per_slot = row->x_per_slot};
    a.w.n_out = (uint32_t)m;
    if (row->bias) a.bias = rig_input(&g, p.bias, row->n_experts * m * sizeof *p.bias);
    if (rig_has(&g, g.ops->matmul_id, c->op)) rig_did(&g, g.ops->matmul_id(g.b, &a, &g.e));
    float *got = rig_get(&g, a.out, p.n_cols * m);
    if (got)
        compare(&t->result, &(struct comparison){.cls = op_table[c->index].tol,
                                                 .got = got,
                                                 .want = p.y,
                                                 .mag = p.mag,
                                                 .rows = p.n_cols,
                                                 .cols = m,
                                                 .n = k,
                                                 .axes = &axes});
    rig_close(&g);
}

/* ---- moe_sum ----------------------------------------------------------------------------- */

void ops_run_moe_sum(struct test *t, const struct test_case *c)
{
    static const struct axes axes = {.row = "token", .col = "element"};
    const struct op_row *row = c->arg;
    const size_t tokens = row->rows, used = row->n_used, n = row->n;
    struct rng r = rng_of(t);
    float *x = test_alloc(t, tokens * used * n, sizeof *x);
    float *w = test_alloc(t, tokens * used, sizeof *w);
    double *y = test_alloc(t, tokens * n, sizeof *y), *mag = test_alloc(t, tokens * n, sizeof *mag);
    if (!x || !w || !y || !mag) return;
    input_fill(row->input, &r, x, tokens * used, n);
    for (size_t i = 0; i < tokens * used; i++) w[i] = (float)rng_uniform(&r);
    const double *x_wide = ops_widen(t, x, tokens * used * n),
                 *w_wide = ops_widen(t, w, tokens * used);
    struct rig g;
    if (!x_wide || !w_wide || !rig_open(&g, t, c)) return;
    ref_moe_sum(x_wide, w_wide, tokens, used, n, y, mag);
    struct op_moe_sum a = {.x = rig_input(&g, x, tokens * used * n * sizeof *x),
                           .weights = rig_input(&g, w, tokens * used * sizeof *w),
                           .out = rig_output(&g, tokens * n),
                           .n_tokens = row->rows,
                           .n_used = row->n_used,
                           .n = row->n};
    if (rig_has(&g, g.ops->moe_sum, c->op)) rig_did(&g, g.ops->moe_sum(g.b, &a, &g.e));
    float *got = rig_get(&g, a.out, tokens * n);
    if (got)
        compare(&t->result, &(struct comparison){.cls = op_table[c->index].tol,
                                                 .got = got,
                                                 .want = y,
                                                 .mag = mag,
                                                 .rows = tokens,
                                                 .cols = n,
                                                 .n = used,
                                                 .axes = &axes});
    rig_close(&g);
}
