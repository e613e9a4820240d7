/* Golden op vectors: norms, softmax, expert choice. The claims are in vectors_op_claims.c. */
#include "selftest/vectors_op.h"

#include <math.h>

void opvec_rms_norm(struct vec *v)
{
    const size_t n = (size_t)vec_dims(v, "x")[0], rows = (size_t)vec_dims(v, "x")[1];
    const double eps = vec_number(v, "eps"), *x = vec_wide(v, "x", rows * n);
    const float *w = vec_f32(v, "w", n);
    const double *want = vec_f64(v, "y", rows * n);
    double *y = vec_room(v, rows * n), *mag = vec_room(v, rows * n);
    double *bound = vec_room(v, rows * n), *size = vec_room(v, rows * n);
    if (!v->ok) return;
    ref_rms_norm(x, w, rows, n, eps, y, mag);
    for (size_t i = 0; i < rows * n; i++) {
        size[i] = fabs(want[i]);
        bound[i] = claim_rms_norm(n, size[i]);
    }
    vec_judge(v, &(struct vec_judged){"y", y, want, bound, rows, n});
    vec_judge(v, &(struct vec_judged){"magnitude", mag, size, bound, rows, n});
}

/* Magnitudes: what a rounding of the mean costs them in turn, rms(x) r at most. */
void opvec_layer_norm(struct vec *v)
{
    const size_t n = (size_t)vec_dims(v, "x")[0], rows = (size_t)vec_dims(v, "x")[1];
    const double eps = vec_number(v, "eps"), *x = vec_wide(v, "x", rows * n);
    const float *w = vec_f32(v, "w", n), *b = vec_has(v, "b") ? vec_f32(v, "b", n) : NULL;
    const double *want = vec_f64(v, "y", rows * n), *want_mag = vec_f64(v, "mag", rows * n);
    double *y = vec_room(v, rows * n), *mag = vec_room(v, rows * n);
    double *bound = vec_room(v, rows * n), *mag_bound = vec_room(v, rows * n);
    if (!v->ok) return;
    ref_layer_norm(x, w, b, rows, n, eps, y, mag);
    for (size_t row = 0; row < rows; row++) {
        double mean = 0, square = 0, all = 0;
        for (size_t i = row * n; i < (row + 1) * n; i++) mean += x[i] / (double)n;
        for (size_t i = row * n; i < (row + 1) * n; i++) {
            square += (x[i] - mean) * (x[i] - mean) / (double)n;
            all += x[i] * x[i] / (double)n;
        }
        const double gain = 1 + sqrt(all / (square + eps));
        for (size_t i = row * n; i < (row + 1) * n; i++) {
            bound[i] = claim_layer_norm(n, want_mag[i]);
            mag_bound[i] = gain * bound[i];
        }
    }
    vec_judge(v, &(struct vec_judged){"y", y, want, bound, rows, n});
    vec_judge(v, &(struct vec_judged){"magnitude", mag, want_mag, mag_bound, rows, n});
}

void opvec_softmax(struct vec *v)
{
    const size_t n = (size_t)vec_dims(v, "x")[0], rows = (size_t)vec_dims(v, "x")[1];
    const double *x = vec_wide(v, "x", rows * n), *want = vec_f64(v, "y", rows * n);
    const float *sinks = vec_has(v, "sinks") ? vec_f32(v, "sinks", rows) : NULL;
    double *y = vec_room(v, rows * n), *bound = vec_room(v, rows * n);
    if (!v->ok) return;
    if (sinks)
        ref_softmax_sinks(x, sinks, rows, rows, n, y);
    else
        ref_softmax(x, rows, n, y);
    for (size_t row = 0; row < rows; row++) {
        const double sink = sinks ? (double)sinks[row] : -INFINITY;
        const double max = fmax(sink, vec_row_max(x + row * n, n));
        for (size_t i = row * n; i < (row + 1) * n; i++)
            bound[i] = claim_softmax(n, max - x[i], want[i]);
    }
    vec_judge(v, &(struct vec_judged){"y", y, want, bound, rows, n});
}

/* ---- expert choice ----------------------------------------------------------------------- */

/* Error of the probability of one expert, relative, in units of u. */
static double gate_noise(const struct ref_router *r, const double *logits, const int32_t *ids,
                         size_t slot)
{
    const double x = logits[ids[slot]];
    double top = -INFINITY;
    if (r->gating == REF_GATING_SIGMOID) return claim_gate_sigmoid();
    if (r->gating == REF_GATING_SOFTMAX)
        return claim_gate_softmax(r->n_experts, vec_row_max(logits, r->n_experts), x);
    for (uint32_t i = 0; i < r->n_used; i++) top = fmax(top, logits[ids[i]]);
    return claim_gate_softmax(r->n_used, top, x);
}

static void route_bounds(const struct ref_router *r, const double *logits, const int32_t *ids,
                         const double *weights, double *bounds)
{
    double worst = 0;
    for (size_t i = 0; i < r->n_used; i++) {
        bounds[i] = gate_noise(r, logits, ids, i);
        worst = fmax(worst, bounds[i]);
    }
    for (size_t i = 0; i < r->n_used; i++)
        bounds[i] = claim_route(bounds[i], worst, r->normalise ? r->n_used : 0, weights[i]);
}

void opvec_route(struct vec *v)
{
    const size_t n = (size_t)vec_dims(v, "logits")[0], tokens = (size_t)vec_dims(v, "logits")[1];
    const size_t used = (size_t)vec_dims(v, "ids")[0];
    const struct ref_router r = {.gating = (enum ref_gating)vec_count(v, "gating"),
                                 .n_experts = (uint32_t)n,
                                 .n_used = (uint32_t)used,
                                 .n_groups = vec_count(v, "groups"),
                                 .n_groups_used = vec_count(v, "groups_used"),
                                 .bias = vec_has(v, "bias") ? vec_f32(v, "bias", n) : NULL,
                                 .normalise = vec_count(v, "normalise") != 0,
                                 .scale = vec_number(v, "scale")};
    const double *logits = vec_wide(v, "logits", tokens * n);
    const int32_t *ids = vec_i32(v, "ids", tokens * used);
    const double *want = vec_f64(v, "weights", tokens * used);
    uint32_t *got = test_alloc(v->t, used, sizeof *got);
    double *weights = vec_room(v, tokens * used), *bounds = vec_room(v, tokens * used);
    if (!v->ok || !got) return;
    for (size_t t = 0; t < tokens; t++) {
        ref_route(&r, logits + t * n, got, weights + t * used);
        for (size_t i = 0; i < used; i++)
            test_check(v->t, (int32_t)got[i] == ids[t * used + i],
                       "token %zu: slot %zu is expert %u, %d is due", t, i, got[i],
                       ids[t * used + i]);
        route_bounds(&r, logits + t * n, ids + t * used, want + t * used, bounds + t * used);
    }
    vec_judge(v, &(struct vec_judged){"weights", weights, want, bounds, tokens, used});
}
