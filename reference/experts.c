/* Expert choice: gating, groups, top-k, weights. */
#include "reference/ops_priv.h"

#include <math.h>

void ref_gate(const struct ref_router *r, const double *logits, double *probs)
{
    for (uint32_t e = 0; e < r->n_experts; e++)
        probs[e] = r->gating == REF_GATING_SIGMOID ? ref_sigmoid(logits[e]) : logits[e];
    if (r->gating == REF_GATING_SOFTMAX) ref_softmax(logits, 1, r->n_experts, probs);
}

/* Index of the largest of n values that are not taken; the lowest among equals. NaN comes first,
 * so that it shows in what is chosen. */
static uint32_t largest(const double *x, const bool *taken, uint32_t n)
{
    uint32_t best = n;
    for (uint32_t i = 0; i < n; i++)
        if (!taken[i] && (best == n || x[i] > x[best] || (isnan(x[i]) && !isnan(x[best]))))
            best = i;
    return best;
}

double ref_group_score(const double *selection, uint32_t n, uint32_t best[2])
{
    bool taken[REF_MAX_EXPERTS] = {false};
    best[0] = largest(selection, taken, n);
    taken[best[0]] = true;
    best[1] = n > 1 ? largest(selection, taken, n) : best[0];
    return selection[best[0]] + (n > 1 ? selection[best[1]] : 0);
}

/* allowed: the experts of the groups that are kept. */
static void keep_groups(const struct ref_router *r, const double *selection, bool *allowed)
{
    const uint32_t size = r->n_experts / r->n_groups;
    double scores[REF_MAX_EXPERTS];
    bool kept[REF_MAX_EXPERTS] = {false};
    uint32_t best[2];
    for (uint32_t g = 0; g < r->n_groups; g++)
        scores[g] = ref_group_score(selection + g * size, size, best);
    for (uint32_t i = 0; i < r->n_groups_used; i++) kept[largest(scores, kept, r->n_groups)] = true;
    for (uint32_t e = 0; e < r->n_experts; e++) allowed[e] = kept[e / size];
}

void ref_choose(const struct ref_router *r, const double *probs, struct ref_choice *c)
{
    for (uint32_t e = 0; e < r->n_experts; e++) {
        c->selection[e] = probs[e] + (r->bias ? (double)r->bias[e] : 0);
        c->allowed[e] = true;
        c->chosen[e] = false;
    }
    if (r->n_groups > 1) keep_groups(r, c->selection, c->allowed);
    bool taken[REF_MAX_EXPERTS];
    for (uint32_t e = 0; e < r->n_experts; e++) taken[e] = !c->allowed[e];
    for (uint32_t i = 0; i < r->n_used; i++) {
        c->ids[i] = largest(c->selection, taken, r->n_experts);
        taken[c->ids[i]] = c->chosen[c->ids[i]] = true;
    }
}

static const double least_sum = 0x1p-14; /* the smallest normal f16 */

double ref_expert_weights(const struct ref_router *r, const double *probs, const uint32_t *ids,
                          double *weights)
{
    double sum = 0;
    for (uint32_t i = 0; i < r->n_used; i++) weights[i] = probs[ids[i]];
    if (r->gating == REF_GATING_SOFTMAX_CHOSEN) ref_softmax(weights, 1, r->n_used, weights);
    for (uint32_t i = 0; i < r->n_used; i++) sum += weights[i];
    sum = r->normalise ? fmax(sum, least_sum) : 0;
    for (uint32_t i = 0; i < r->n_used; i++) {
        if (r->normalise) weights[i] /= sum;
        if (r->scale != 0) weights[i] *= r->scale;
    }
    return sum;
}

/* By descending weight, the lower index first among equals. */
static void sort_by_weight(uint32_t n, uint32_t *ids, double *weights)
{
    for (uint32_t i = 1; i < n; i++) {
        const uint32_t id = ids[i];
        const double w = weights[i];
        uint32_t at = i;
        for (; at > 0 && (weights[at - 1] < w || (weights[at - 1] == w && ids[at - 1] > id));
             at--) {
            ids[at] = ids[at - 1];
            weights[at] = weights[at - 1];
        }
        ids[at] = id;
        weights[at] = w;
    }
}

void ref_route(const struct ref_router *r, const double *logits, uint32_t *ids, double *weights)
{
    double probs[REF_MAX_EXPERTS];
    struct ref_choice c;
    ref_gate(r, logits, probs);
    ref_choose(r, probs, &c);
    for (uint32_t i = 0; i < r->n_used; i++) ids[i] = c.ids[i];
    ref_expert_weights(r, probs, ids, weights);
    sort_by_weight(r->n_used, ids, weights);
}

void ref_moe_sum(const double *x, const double *weights, size_t n_tokens, size_t n_used, size_t n,
                 double *y, double *mag)
{
    for (size_t t = 0; t < n_tokens; t++)
        for (size_t i = 0; i < n; i++) {
            double sum = 0, size = 0;
            for (size_t s = t * n_used; s < (t + 1) * n_used; s++) {
                sum += weights[s] * x[s * n + i];
                size += fabs(weights[s] * x[s * n + i]);
            }
            y[t * n + i] = sum;
            if (mag) mag[t * n + i] = size;
        }
}
