/* Attention over explicit cells: causal mask by position, windows, grouped key and value heads,
 * soft caps, sinks. */
#include "reference/ops_priv.h"

#include <math.h>

bool ref_attention_sees(const struct ref_attention *a, size_t token, size_t cell)
{
    const int32_t at = a->cell_pos[cell], pos = a->pos[token];
    const int32_t first = a->first ? a->first[token] : 0;
    return at >= first && at >= 0 && at <= pos &&
           (a->window == 0 || (int64_t)pos - at < (int64_t)a->window);
}

static double score(const struct ref_attention *a, const double *q, size_t kv_head, size_t cell)
{
    const double *k = a->k + (cell * a->n_kv_heads + kv_head) * a->head_dim;
    const double s = ref_dot(q, k, a->head_dim) * a->scale;
    return a->cap != 0 ? ref_softcap(s, a->cap) : s;
}

/* scores and mag_scores of one head of one token, where they are wanted; returns the largest
 * score, the head's sink among them, -inf if no cell is visible, NaN if a score is. */
static double score_row(const struct ref_attention *a, size_t row, const double *q, size_t token,
                        size_t kv_head)
{
    double max = a->sinks ? (double)a->sinks[row % a->n_heads] : -INFINITY;
    for (size_t c = 0; c < a->n_cells; c++) {
        const bool seen = ref_attention_sees(a, token, c);
        const double s = seen ? score(a, q, kv_head, c) : -INFINITY;
        if (!(s <= max)) max = s;
        if (a->scores) a->scores[row * a->n_cells + c] = s;
        if (a->weights) a->weights[row * a->n_cells + c] = s;
        if (a->mag_scores)
            a->mag_scores[row * a->n_cells + c] =
                !seen ? 0
                      : fabs(a->scale) *
                            ref_dot_abs(q, a->k + (c * a->n_kv_heads + kv_head) * a->head_dim,
                                        a->head_dim);
    }
    return max;
}

/* Row = one head of one token. Weights are made unnormalised first and divided by their sum at
 * the end; without a place to keep them, scores are computed a second time. */
static void attention_row(void *ctx, size_t row)
{
    const struct ref_attention *a = ctx;
    const size_t token = row / a->n_heads, head = row % a->n_heads;
    const size_t kv_head = head / (a->n_heads / a->n_kv_heads), n = ref_attention_value_dim(a);
    const double *q = a->q + row * a->head_dim;
    double *out = a->out + row * n, *mag = a->mag ? a->mag + row * n : NULL;
    double *weights = a->weights ? a->weights + row * a->n_cells : NULL;
    const double max = score_row(a, row, q, token, kv_head);
    double sum = a->sinks ? exp((double)a->sinks[head] - max) : 0;

    for (size_t i = 0; i < n; i++) out[i] = 0;
    for (size_t i = 0; mag && i < n; i++) mag[i] = 0;
    for (size_t c = 0; c < a->n_cells; c++) {
        if (!ref_attention_sees(a, token, c)) {
            if (weights) weights[c] = 0;
            continue;
        }
        const double *v = a->v + (c * a->n_kv_heads + kv_head) * n;
        const double e = exp((weights ? weights[c] : score(a, q, kv_head, c)) - max);
        if (weights) weights[c] = e;
        sum += e;
        for (size_t i = 0; i < n; i++) out[i] += e * v[i];
        for (size_t i = 0; mag && i < n; i++) mag[i] += e * fabs(v[i]);
    }
    if (sum == 0) return; /* sees nothing: the largest weight of a row that does is 1 */
    for (size_t c = 0; weights && c < a->n_cells; c++) weights[c] /= sum;
    for (size_t i = 0; i < n; i++) out[i] /= sum;
    for (size_t i = 0; mag && i < n; i++) mag[i] /= sum;
}

void ref_attention(const struct ref_attention *a)
{
    struct ref_attention copy = *a;
    ref_parallel(a->n_tokens * a->n_heads, attention_row, &copy);
}
