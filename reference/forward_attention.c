/* Attention of a forward pass, sequence by sequence, with error bounds (see forward_priv.h). */
#include "reference/forward_priv.h"
#include "reference/ops_priv.h"

#include <math.h>
#include <stdlib.h>

/* Queries of one sequence, and all its cells. The arrays named below are (n, n_heads, n_cells). */
struct block {
    const struct ref_pass *p;
    struct ref_attention a;
    const double *q_var, *k_var, *v_var;
    double *out_var, *out_local; /* (n, n_heads, value_dim) */
    double *score_local, *score_var, *weight_local, *weight_var;
    double *fused_var; /* of the weights, from exact q, k, v */
};
enum { N_PLAIN = 1, N_TRACKED = 7 }; /* arrays of a block: weights; scores and the five above */

/* Largest block in bytes, where no site wants a whole sequence. */
static const size_t block_limit = (size_t)64 << 20;

/* sum_d k^2 var(q) + q^2 var(k), eight partial sums as in ref_dot. */
static double dot_var(const double *q, const double *q_var, const double *k, const double *k_var,
                      size_t n)
{
    double s[8] = {0}, sum = 0;
    size_t i = 0;
    for (; i + 8 <= n; i += 8)
        for (size_t j = 0; j < 8; j++)
            s[j] += k[i + j] * k[i + j] * q_var[i + j] + q[i + j] * q[i + j] * k_var[i + j];
    for (; i < n; i++) s[i % 8] += k[i] * k[i] * q_var[i] + q[i] * q[i] * k_var[i];
    for (size_t j = 0; j < 8; j++) sum += s[j];
    return sum;
}

/* w = softmax(z): dw_i = w_i (dz_i - sum_j w_j dz_j), so with T = sum_j w_j^2 var(z_j)
 *     var(w_i) = w_i^2 ((1 - w_i)^2 var(z_i) + T - w_i^2 var(z_i)) + local_i^2.
 * z_var holds var(z), or its root where `root` is set. */
static void softmax_var(const double *w, const double *z_var, bool root, const double *local,
                        size_t n, double *w_var)
{
    double total = 0;
    for (size_t i = 0; i < n; i++) {
        w_var[i] = root ? z_var[i] * z_var[i] : z_var[i];
        total += w[i] * w[i] * w_var[i];
    }
    for (size_t i = 0; i < n; i++) {
        const double others = fmax(0, total - w[i] * w[i] * w_var[i]);
        w_var[i] =
            w[i] * w[i] * ((1 - w[i]) * (1 - w[i]) * w_var[i] + others) + local[i] * local[i];
    }
}

/* Scores: s = scale sum_d q k, local 8 sqrt(head_dim) u scale sum |q k|; with a cap z = cap
 * tanh(s / cap), dz = (1 - (z/cap)^2) ds.
 * Weights: local relative to w; with m the largest score, 2 |z - m| + 3 ulp for the exponential
 * (the least that a device promises), twice u (|z| + |m|) for scores rounded to binary32, sqrt(n) u
 * for the sum, 2 u for the division. An ulp is 2 u at most. A sink is one more score, exact.
 * Returns the number of cells seen. */
static size_t row_scores(const struct block *b, size_t row, size_t kv_head, size_t token)
{
    const struct ref_attention *a = &b->a;
    const size_t n = a->n_cells, d = a->head_dim;
    const double *scores = a->scores + row * n, *weights = a->weights + row * n;
    const double unit = 8 * sqrt((double)d) * REF_U;
    double max = a->sinks ? (double)a->sinks[row % a->n_heads] : -INFINITY;
    size_t n_seen = 0;
    for (size_t c = 0; c < n; c++) {
        const size_t at = (c * a->n_kv_heads + kv_head) * d;
        double *local = b->score_local + row * n + c, *var = b->score_var + row * n + c;
        if (!ref_attention_sees(a, token, c)) {
            *local = *var = 0;
            continue;
        }
        const double share = a->cap != 0 ? scores[c] / a->cap : 0, slope = 1 - share * share;
        const double gain = slope * a->scale;
        *local = *local * unit * slope + (a->cap != 0 ? ref_cap_local(a->cap) : 0); /* was mag */
        *var =
            gain * gain * dot_var(a->q + row * d, b->q_var + row * d, a->k + at, b->k_var + at, d) +
            *local * *local;
        max = fmax(max, scores[c]);
        n_seen++;
    }
    for (size_t c = 0; c < n; c++) {
        const double z = scores[c];
        const double relative =
            4 * fabs(z - max) + 2 * (fabs(z) + fabs(max)) + 8 + sqrt((double)n_seen);
        b->weight_local[row * n + c] =
            ref_attention_sees(a, token, c) ? REF_U * relative * weights[c] : 0;
    }
    return n_seen;
}

/* One head of one token. Output: y = sum_c w v: var = sum_c v^2 var(w) + w^2 var(v) + own^2, own
 * = 8 sqrt(n) u sum |w v|. local is that of the whole operation, scores and softmax with it, since
 * engines that fuse the three give nothing in between. */
static void row_dev(void *ctx, size_t row)
{
    const struct block *b = ctx;
    const struct ref_attention *a = &b->a;
    const size_t n = a->n_cells, d = ref_attention_value_dim(a), token = row / a->n_heads;
    const size_t kv_head = row % a->n_heads / (a->n_heads / a->n_kv_heads);
    const double *w = a->weights + row * n;
    const double *weight_local = b->weight_local + row * n;
    double *weight_var = b->weight_var + row * n, *fused_var = b->fused_var + row * n;
    double *var = b->out_var + row * d, *local = b->out_local + row * d;
    const double unit = 8 * sqrt((double)row_scores(b, row, kv_head, token)) * REF_U;

    softmax_var(w, b->score_var + row * n, false, weight_local, n, weight_var);
    softmax_var(w, b->score_local + row * n, true, weight_local, n, fused_var);
    for (size_t i = 0; i < d; i++) { /* local holds the magnitude */
        const double own = unit * local[i];
        var[i] = local[i] = own * own;
    }
    for (size_t c = 0; c < n; c++) {
        const double *v = a->v + (c * a->n_kv_heads + kv_head) * d;
        for (size_t i = 0; i < d && w[c] != 0; i++) local[i] += v[i] * v[i] * fused_var[c];
    }
    for (size_t c = 0; c < n; c++) fused_var[c] = weight_var[c]; /* done with: as they are mixed */
    ref_pass_noise(b->p, b->p->f->v_type, w, 1, n, fused_var);
    for (size_t c = 0; c < n; c++) {
        const size_t at = (c * a->n_kv_heads + kv_head) * d;
        for (size_t i = 0; i < d && w[c] != 0; i++)
            var[i] += a->v[at + i] * a->v[at + i] * fused_var[c] + w[c] * w[c] * b->v_var[at + i];
    }
    for (size_t i = 0; i < d; i++) local[i] = sqrt(local[i]);
}

/* Scores and weights of a whole sequence, the squares of their bounds turned into bounds. */
static void give_scores(const struct block *b, uint32_t layer)
{
    const struct ref_forward *f = b->p->f;
    const size_t cols = b->a.n_heads * b->a.n_cells, n = b->a.n_tokens * cols;
    struct ref_values v = {.site = SITE_SCORES,
                           .layer = layer,
                           .value = b->a.scores,
                           .local = b->score_local,
                           .dev = b->score_var,
                           .rows = b->a.n_tokens,
                           .cols = cols};
    for (size_t i = 0; i < n; i++) {
        b->score_var[i] = sqrt(b->score_var[i]);
        b->weight_var[i] = sqrt(b->weight_var[i]);
    }
    if (ref_pass_wants(b->p, SITE_SCORES, layer)) f->take(f->ctx, &v);
    v.site = SITE_WEIGHTS;
    v.value = b->a.weights;
    v.local = b->weight_local;
    v.dev = b->weight_var;
    if (ref_pass_wants(b->p, SITE_WEIGHTS, layer)) f->take(f->ctx, &v);
}

/* A sequence of n_cells tokens, n_queries at a time. */
static void sequence(struct block *b, uint32_t layer, bool give, size_t n_queries)
{
    const size_t n_cells = b->a.n_cells, width = b->a.n_heads * b->a.head_dim;
    const size_t out_width = b->a.n_heads * b->a.value_dim;
    for (size_t t = 0; t < n_cells; t += n_queries) {
        struct block part = *b;
        part.a.n_tokens = n_cells - t < n_queries ? n_cells - t : n_queries;
        part.a.q += t * width;
        part.a.pos += t;
        part.a.out += t * out_width;
        if (b->p->track) {
            part.a.mag += t * out_width;
            part.q_var += t * width;
            part.out_var += t * out_width;
            part.out_local += t * out_width;
        }
        ref_attention(&part.a);
        if (b->p->track) ref_parallel(part.a.n_tokens * part.a.n_heads, row_dev, &part);
        if (give) give_scores(&part, layer);
    }
}

/* Points a block at the tokens of one sequence. How wide a head is, and how many share keys and
 * values, shows in the columns. */
static struct block block_at(const struct ref_pass *p, uint32_t layer, size_t row,
                             const struct ref_vals *q, const struct ref_vals *k,
                             const struct ref_vals *v, struct ref_vals *out)
{
    const struct ref_model *m = p->m;
    const size_t n_heads = m->shape.n_heads, head_dim = q->cols / n_heads;
    const size_t n_kv_heads = k->cols / head_dim;
    struct block b = {.p = p,
                      .a = {.q = q->x + row * q->cols,
                            .k = k->x + row * k->cols,
                            .v = v->x + row * v->cols,
                            .pos = p->pos + row,
                            .cell_pos = p->pos + row,
                            .n_heads = n_heads,
                            .n_kv_heads = n_kv_heads,
                            .head_dim = head_dim,
                            .value_dim = v->cols / n_kv_heads,
                            .scale = m->kq_scale,
                            .cap = m->attn_cap,
                            .window = m->layers[layer].windowed ? m->window : 0,
                            .sinks = m->layers[layer].sinks,
                            .out = out->x + row * out->cols}};
    if (!p->track) return b;
    b.q_var = q->var + row * q->cols;
    b.k_var = k->var + row * k->cols;
    b.v_var = v->var + row * v->cols;
    b.out_var = out->var + row * out->cols;
    b.out_local = b.a.mag = p->local + row * out->cols;
    return b;
}

/* Gives a block its arrays of `place` values each. */
static void block_places(struct block *b, double *places, size_t place)
{
    b->a.weights = places;
    if (!b->p->track) return;
    b->a.scores = places + place;
    b->score_local = b->a.mag_scores = places + 2 * place;
    b->score_var = places + 3 * place;
    b->weight_local = places + 4 * place;
    b->weight_var = places + 5 * place;
    b->fused_var = places + 6 * place;
}

/* What a token takes from one whose experts might have been others is as uncertain. From the last
 * token back, so that each looks at the others as they came. */
static void spread_uncertainty(const struct block *b, bool *uncertain)
{
    for (size_t t = b->a.n_cells; t-- > 0;)
        for (size_t c = 0; c < t; c++)
            if (uncertain[c] && ref_attention_sees(&b->a, t, c)) uncertain[t] = true;
}

bool ref_pass_attend(struct ref_pass *p, uint32_t layer, const struct ref_vals *q,
                     const struct ref_vals *k, const struct ref_vals *v, struct ref_vals *out)
{
    const bool give =
        ref_pass_wants(p, SITE_SCORES, layer) || ref_pass_wants(p, SITE_WEIGHTS, layer);
    const size_t n_arrays = p->track ? N_TRACKED : N_PLAIN;
    size_t longest = 1;
    for (size_t i = 0; i < p->f->n_seqs; i++)
        if (p->f->lengths[i] > longest) longest = p->f->lengths[i];
    const size_t query_bytes = n_arrays * p->m->shape.n_heads * longest * sizeof(double);
    size_t n_queries = block_limit / query_bytes + 1;
    if (give || n_queries > longest) n_queries = longest;
    const size_t place = n_queries * p->m->shape.n_heads * longest;
    const struct ref_vals entering = ref_pass_entering(p, p->f->k_type, q);
    double *places = n_queries > SIZE_MAX / query_bytes ? NULL : malloc(n_queries * query_bytes);
    if (!places)
        return ref_fail(p->e, "out of memory: scores of %zu tokens in layer %u", longest, layer);
    for (size_t i = 0, row = 0; i < p->f->n_seqs; row += p->f->lengths[i++]) {
        struct block b = block_at(p, layer, row, &entering, k, v, out);
        b.a.n_cells = p->f->lengths[i];
        block_places(&b, places, place);
        if (b.a.n_cells > 0) sequence(&b, layer, give, n_queries);
        spread_uncertainty(&b, p->uncertain + row);
    }
    free(places);
    return true;
}
