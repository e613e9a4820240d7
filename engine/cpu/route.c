/* route: the choice of experts, in double; and moe_sum, which adds up what they gave. */
#include "engine/cpu/cpu.h"
#include "engine/cpu/exp.h"
#include "engine/cpu/simd.h"

#include <assert.h>
#include <math.h>
#include <string.h>

enum { MAX_EXPERTS = 1024 };

struct job {
    const struct op_route *a;
    const float *logits, *bias; /* (n_tokens, n_experts), (n_experts) or NULL */
    int32_t *ids;
    float *weights;
};

/* p[i] becomes e^(p[i] - largest), over the sum of all. */
static void softmax(double *p, size_t n)
{
    double max = -INFINITY, sum = 0.0;
    for (size_t i = 0; i < n; i++) max = p[i] > max ? p[i] : max;
    for (size_t i = 0; i < n; i++) p[i] = exp_wide(p[i] - max);
    for (size_t i = 0; i < n; i++) sum += p[i];
    for (size_t i = 0; i < n; i++) p[i] /= sum;
}

static void probabilities(const struct job *j, size_t token, double *p)
{
    size_t n = j->a->n_experts;
    const float *logits = j->logits + token * n;
    for (size_t i = 0; i < n; i++) p[i] = logits[i];
    if (j->a->gating == ROUTE_SOFTMAX) softmax(p, n);
    if (j->a->gating == ROUTE_SIGMOID) {
        for (size_t i = 0; i < n; i++) p[i] = sigmoid_wide(p[i]);
    }
}

/* The n_best largest of v, the lowest index among equals, into at. v is overwritten: those that
 * were taken are NaN, and only they. */
static void take_largest(double *v, size_t n, size_t n_best, int32_t *at)
{
    for (size_t i = 0; i < n; i++) v[i] = isnan(v[i]) ? -INFINITY : v[i];
    for (size_t k = 0; k < n_best; k++) {
        size_t best = 0;
        while (isnan(v[best])) best++;
        for (size_t i = best + 1; i < n; i++) best = v[i] > v[best] ? i : best;
        v[best] = NAN;
        at[k] = (int32_t)best;
    }
}

/* The two largest of v added up, or the only one. */
static double best_two(const double *v, size_t n)
{
    double first = -INFINITY, second = -INFINITY;
    for (size_t i = 0; i < n; i++) {
        second = v[i] > first ? first : v[i] > second ? v[i] : second;
        first = v[i] > first ? v[i] : first;
    }
    return n > 1 ? first + second : first;
}

/* Values of experts outside the best groups become -inf. */
static void keep_groups(const struct op_route *a, double *selection)
{
    double sums[MAX_EXPERTS];
    int32_t best[MAX_EXPERTS];
    size_t size = a->n_experts / a->n_groups;
    for (size_t g = 0; g < a->n_groups; g++) sums[g] = best_two(selection + g * size, size);
    take_largest(sums, a->n_groups, a->n_groups_used, best);
    for (size_t g = 0; g < a->n_groups; g++) {
        if (isnan(sums[g])) continue; /* taken */
        for (size_t i = 0; i < size; i++) selection[g * size + i] = -INFINITY;
    }
}

/* By descending weight, the lower expert first among equals. */
static void sort_slots(int32_t *ids, float *weights, size_t n)
{
    for (size_t i = 1; i < n; i++) {
        int32_t id = ids[i];
        float w = weights[i];
        size_t at = i;
        for (; at > 0 && (w > weights[at - 1] || (w == weights[at - 1] && id < ids[at - 1]));
             at--) {
            ids[at] = ids[at - 1];
            weights[at] = weights[at - 1];
        }
        ids[at] = id;
        weights[at] = w;
    }
}

static void route_token(const struct job *j, size_t token)
{
    const struct op_route *a = j->a;
    double p[MAX_EXPERTS], selection[MAX_EXPERTS], chosen[MAX_EXPERTS], sum = 0.0;
    int32_t *ids = j->ids + token * a->n_used;
    float *weights = j->weights + token * a->n_used;
    probabilities(j, token, p);
    for (size_t i = 0; i < a->n_experts; i++) selection[i] = j->bias ? p[i] + j->bias[i] : p[i];
    if (a->n_groups > 1) keep_groups(a, selection);
    take_largest(selection, a->n_experts, a->n_used, ids);
    for (size_t s = 0; s < a->n_used; s++) chosen[s] = p[ids[s]];
    if (a->gating == ROUTE_SOFTMAX_CHOSEN) softmax(chosen, a->n_used);
    for (size_t s = 0; s < a->n_used; s++) sum += chosen[s];
    double factor = a->normalise ? a->scale / (sum < 0x1p-14 ? 0x1p-14 : sum) : a->scale;
    for (size_t s = 0; s < a->n_used; s++) weights[s] = (float)(chosen[s] * factor);
    sort_slots(ids, weights, a->n_used);
}

static void route(void *ctx, size_t begin, size_t end, int thread)
{
    (void)thread;
    for (size_t token = begin; token < end; token++) route_token(ctx, token);
}

enum status cpu_route(struct backend *b, const struct op_route *a, struct err *e)
{
    struct cpu *c = cpu_of(b);
    size_t slots = (size_t)a->n_tokens * a->n_used;
    (void)e;
    assert(a->n_experts <= MAX_EXPERTS && a->n_used <= a->n_experts);
    struct job j = {.a = a,
                    .logits = cpu_floats(a->logits, (size_t)a->n_tokens * a->n_experts),
                    .bias = a->bias.buf ? cpu_floats(a->bias, a->n_experts) : NULL,
                    .ids = cpu_ints(a->ids, slots),
                    .weights = cpu_floats(a->weights, slots)};
    pool_run(c->pool, a->n_tokens, cpu_grain((size_t)a->n_experts * a->n_used), route, &j);
    cpu_count(c, "route", NULL, NULL);
    return ST_OK;
}

/* ---- moe_sum ----------------------------------------------------------------------------- */

struct sum_job {
    const float *x, *weights; /* (n_tokens, n_used, n), (n_tokens, n_used) */
    float *out;
    size_t n_used, n;
};

static void moe_sum(void *ctx, size_t begin, size_t end, int thread)
{
    const struct sum_job *j = ctx;
    (void)thread;
    for (size_t token = begin; token < end; token++) {
        float *out = j->out + token * j->n;
        memset(out, 0, j->n * sizeof *out);
        for (size_t s = 0; s < j->n_used; s++) {
            const float *x = j->x + (token * j->n_used + s) * j->n;
            float w = j->weights[token * j->n_used + s];
            for (size_t i = 0; i < j->n; i++) out[i] = madd(w, x[i], out[i]);
        }
    }
}

enum status cpu_moe_sum(struct backend *b, const struct op_moe_sum *a, struct err *e)
{
    struct cpu *c = cpu_of(b);
    size_t slots = (size_t)a->n_tokens * a->n_used;
    (void)e;
    struct sum_job j = {cpu_floats(a->x, slots * a->n), cpu_floats(a->weights, slots),
                        cpu_floats(a->out, (size_t)a->n_tokens * a->n), a->n_used, a->n};
    pool_run(c->pool, a->n_tokens, cpu_grain((size_t)a->n * a->n_used), moe_sum, &j);
    cpu_count(c, "moe_sum", NULL, NULL);
    return ST_OK;
}
