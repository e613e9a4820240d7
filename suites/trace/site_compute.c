/* The operations of single sites, in double precision or less; see locate_site.h. */
#include "trace/site.h"
#include "judge/bounds.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- precision ----------------------------------------------------------------------------- */

enum tensor_type precision_type(const struct precision *p, enum tensor_type w)
{
    return p->activations == TYPE_ID_END ? type_by_id(w)->act : p->activations;
}

void precision_round(const struct precision *p, enum tensor_type w, double *x, size_t rows,
                     size_t n)
{
    const enum tensor_type act = precision_type(p, w);
    if (act != TYPE_F64) ref_round_activations(act, x, rows, n);
}

static float half(float x)
{
    return ref_f16_to_f32(ref_f32_to_f16(x));
}

/* The sum of products and that of their magnitudes, in parts that do not wait for each other. */
static double dot_exact(const float *w, const double *x, size_t n, double *mag)
{
    enum { PARTS = 8 };
    double sum[PARTS] = {0}, abs[PARTS] = {0};
    size_t i = 0;
    for (; i + PARTS <= n; i += PARTS)
        for (size_t p = 0; p < PARTS; p++) {
            double product = (double)w[i + p] * x[i + p];
            sum[p] += product;
            abs[p] += fabs(product);
        }
    for (; i < n; i++) {
        sum[i % PARTS] += (double)w[i] * x[i];
        abs[i % PARTS] += fabs((double)w[i] * x[i]);
    }
    for (size_t p = 1; p < PARTS; p++) {
        sum[0] += sum[p];
        abs[0] += abs[p];
    }
    *mag = abs[0];
    return sum[0];
}

static double dot_rounded(enum site_accumulate sum, const float *w, const double *x, size_t n)
{
    float low = 0;
    if (sum == SUM_F32)
        for (size_t i = 0; i < n; i++) low += w[i] * (float)x[i];
    else
        for (size_t i = 0; i < n; i++) low = half(low + half(w[i] * (float)x[i]));
    return (double)low;
}

/* ---- operations ---------------------------------------------------------------------------- */

struct linear_work {
    const struct site_weight *w;
    const double *x;
    size_t rows;
    enum site_accumulate sum;
    double *y, *mag;
    const double *step; /* (rows, n_in) or NULL; border as in struct site_job */
    double *border;
    enum tensor_type act;
};

/* What else an engine's rounding of x may add to the product with one row of weights: x that lies at the
 * border of two steps; and in Q8_1 the sum of a block. */
static double border_of(const struct linear_work *k, const float *row, const double *x,
                        const double *step)
{
    const size_t n = k->w->n_in, size = type_by_id(k->act)->block_elems;
    double sum = 0;
    for (size_t c = 0; c < n; c++) sum += fabs((double)row[c]) * step[c];
    for (size_t at = 0; k->act == TYPE_Q8_1 && at + size <= n; at += size) {
        double top = 0, block = 0;
        for (size_t c = at; c < at + size; c++) {
            top = fmax(top, fabs((double)row[c]));
            block += x[c];
        }
        sum += bound_q8_1_sum(top, block);
    }
    return fabs(k->w->scale) * sum;
}

static void linear_row(void *ctx, size_t i)
{
    const struct linear_work *k = ctx;
    const struct site_weight *w = k->w;
    const struct type_spec *t = type_by_id(w->type);
    float *row = malloc(w->n_in * sizeof *row);
    for (size_t r = 0; r < k->rows; r++) k->y[r * w->n_out + i] = NAN;
    if (!row) return;
    ref_decode(w->type, w->data + i * type_bytes(t, w->n_in), w->n_in, row);
    const double bias = w->bias ? (double)w->bias[i] : 0;
    for (size_t r = 0; r < k->rows; r++) {
        const double *x = k->x + r * w->n_in;
        double mag, dot = dot_exact(row, x, w->n_in, &mag);
        if (k->sum != SUM_F64) dot = dot_rounded(k->sum, row, x, w->n_in);
        k->y[r * w->n_out + i] = w->scale * dot + bias;
        if (k->mag) k->mag[r * w->n_out + i] = fabs(w->scale) * mag + fabs(bias);
        if (k->step) k->border[r * w->n_out + i] = border_of(k, row, x, k->step + r * w->n_in);
    }
    free(row);
}

static bool compute_linear(const struct site_job *j, double *out, double *mag)
{
    struct site_weight w;
    if (!site_weight(j->m, j->site, j->layer, &w)) return false;
    const enum tensor_type act = precision_type(&j->precision, w.type);
    double *x = alloc_array(2 * j->rows * w.n_in, sizeof *x), *step = x + j->rows * w.n_in;
    if (!x) return false;
    memcpy(x, j->in[0], j->rows * w.n_in * sizeof *x);
    const bool borders = j->border && act != TYPE_F64;
    if (borders) ref_round_borders(act, x, j->rows, w.n_in, step);
    precision_round(&j->precision, w.type, x, j->rows, w.n_in);
    enum site_accumulate sum = j->precision.sum;
    if (sum == SUM_OWN) sum = w.type == TYPE_F16 ? SUM_F16 : SUM_F64;
    struct linear_work k = {&w, x, j->rows, sum, out, mag, borders ? step : NULL, j->border, act};
    ref_parallel(w.n_out, linear_row, &k);
    free(x);
    return true;
}

/* Adds the row of a position to each token's, or, without, puts the token's there. */
static bool add_rows(const struct site_job *j, const struct site_weight *w, const int32_t *ids,
                     double factor, double *out)
{
    const struct type_spec *t = type_by_id(w->type);
    float *row = alloc_array(w->n_in, sizeof *row);
    for (size_t r = 0; row && r < j->rows; r++) {
        const size_t at = j->n_tokens - j->rows + r, id = ids ? (size_t)ids[at] : at;
        ref_decode(w->type, w->data + id * type_bytes(t, w->n_in), w->n_in, row);
        for (size_t i = 0; i < w->n_in; i++)
            out[r * w->n_in + i] =
                (ids ? 0 : out[r * w->n_in + i]) + factor * w->scale * (double)row[i];
    }
    free(row);
    return row != NULL;
}

static bool compute_embed(const struct site_job *j, double *out)
{
    struct site_weight w;
    if (!site_weight(j->m, j->site, 0, &w)) return false;
    if (!add_rows(j, &w, j->tokens, j->m->hyper.embd_scale, out)) return false;
    const struct gguf_tensor *pos = gguf_find_tensor(j->m->g, "position_embd.weight");
    if (!pos || !pos->data || !type_decodes(pos->type)) return true;
    w = (struct site_weight){
        .type = pos->type->id, .data = pos->data, .n_in = (size_t)pos->dims[0], .scale = 1};
    return add_rows(j, &w, NULL, 1, out);
}

static bool compute_norm(const struct site_job *j, double *out)
{
    struct site_norm w;
    if (!site_norm(j->m, j->site, j->layer, &w)) return false;
    const size_t groups = site_columns(j->m, j->site, j->n_tokens) / w.n;
    for (size_t g = 0; g < j->rows * groups; g++) {
        const float *weight = w.w + g % groups % w.n_rows * w.n;
        const float *bias = w.b ? w.b + g % groups % w.n_rows * w.n : NULL;
        const double *x = j->in[0] + g * w.n;
        if (w.layer_norm)
            ref_layer_norm(x, weight, bias, 1, w.n, j->m->hyper.norm_eps, out + g * w.n, NULL);
        else
            ref_rms_norm(x, weight, 1, w.n, j->m->hyper.norm_eps, out + g * w.n, NULL);
    }
    return true;
}

static int32_t *positions(size_t n)
{
    int32_t *pos = alloc_array(n, sizeof *pos);
    for (size_t i = 0; pos && i < n; i++) pos[i] = (int32_t)i;
    return pos;
}

static bool compute_rope(const struct site_job *j, double *out)
{
    const size_t n_heads = j->site == SITE_Q_ROPE ? j->m->shape.n_heads : j->m->shape.n_kv_heads;
    int32_t *pos = positions(j->n_tokens);
    if (!pos) return false;
    memcpy(out, j->in[0], j->rows * n_heads * j->m->shape.head_dim * sizeof *out);
    const struct ref_hyper h = ref_model_hyper(j->m->ref, j->layer);
    const size_t width = n_heads * j->m->shape.head_dim;
    ref_rope(&h.rope, out, pos + j->n_tokens - j->rows, j->rows, n_heads, j->m->shape.head_dim,
             NULL);
    for (size_t i = 0; i < j->rows * width && h.temperature != 0 && j->site == SITE_Q_ROPE; i++) {
        const size_t at = j->n_tokens - j->rows + i / width;
        out[i] *= log(floor((double)at / h.rope.n_ctx_orig) + 1) * h.temperature + 1;
    }
    free(pos);
    return true;
}

bool site_cached(enum tensor_type t, double *x, size_t n)
{
    const struct type_spec *type = type_by_id(t);
    float values[256];
    uint8_t bytes[sizeof values];
    if (t == TYPE_F32) return true;
    if (n % type->block_elems != 0) return false;
    for (size_t i = 0; i < n; i += type->block_elems) {
        for (size_t k = 0; k < type->block_elems; k++) values[k] = (float)x[i + k];
        if (!ref_cache_encode(t, values, type->block_elems, bytes)) return false;
        ref_decode(t, bytes, type->block_elems, values);
        for (size_t k = 0; k < type->block_elems; k++) x[i + k] = (double)values[k];
    }
    return true;
}

static double *cached(const struct site_job *j, const double *x)
{
    const size_t n = j->n_tokens * j->m->shape.n_kv_heads * j->m->shape.head_dim;
    double *copy = alloc_array(n, sizeof *copy);
    if (!copy) return NULL;
    memcpy(copy, x, n * sizeof *copy);
    if (site_cached(j->precision.kv, copy, n)) return copy;
    free(copy);
    return NULL;
}

/* Scores, or the whole of attention. */
static bool compute_attention(const struct site_job *j, double *out)
{
    const struct ref_shape *s = &j->m->shape;
    const struct ref_hyper h = ref_model_hyper(j->m->ref, j->layer);
    const bool scores = j->site == SITE_SCORES;
    const size_t n_scores = j->rows * s->n_heads * j->n_tokens;
    int32_t *pos = positions(j->n_tokens), *all = alloc_array(j->n_tokens, sizeof *all);
    double *k = cached(j, j->in[1]), *v = scores ? NULL : cached(j, j->in[2]);
    double *weights = alloc_array(n_scores, sizeof *weights);
    double *mixed = alloc_array(j->rows * s->n_heads * s->head_dim, sizeof *mixed);
    const bool ok = pos && all && k && (scores || v) && weights && mixed;
    for (size_t i = 0; all && i < j->n_tokens; i++) all[i] = (int32_t)j->n_tokens;
    if (ok)
        ref_attention(
            &(struct ref_attention){.q = j->in[0],
                                    .k = k,
                                    .v = scores ? k : v,
                                    .pos = j->show_hidden ? all : pos + j->n_tokens - j->rows,
                                    .cell_pos = pos,
                                    .n_tokens = j->rows,
                                    .n_heads = s->n_heads,
                                    .n_kv_heads = s->n_kv_heads,
                                    .head_dim = s->head_dim,
                                    .n_cells = j->n_tokens,
                                    .scale = h.kq_scale,
                                    .cap = h.attn_cap,
                                    .window = h.window,
                                    .sinks = site_sinks(j->m, j->layer),
                                    .scores = scores ? out : NULL,
                                    .weights = weights,
                                    .out = scores ? mixed : out});
    free(pos);
    free(all);
    free(k);
    free(v);
    free(weights);
    free(mixed);
    return ok;
}

/* A sink is one more score of its head, of which nothing is kept. */
static bool compute_softmax(const struct site_job *j, double *out)
{
    const size_t n = j->n_tokens, n_heads = j->m->shape.n_heads;
    const uint32_t window = ref_model_hyper(j->m->ref, j->layer).window;
    const float *sinks = site_sinks(j->m, j->layer);
    double *z = alloc_array(2 * (n + 1), sizeof *z), *p = z + n + 1;
    if (!z) return false;
    for (size_t i = 0; i < j->rows * n_heads; i++) {
        const size_t pos = n - j->rows + i / n_heads;
        for (size_t c = 0; c < n; c++) {
            const bool seen = c <= pos && (window == 0 || pos - c < window);
            z[c] = seen ? j->in[0][i * n + c] : -INFINITY;
        }
        z[n] = sinks ? (double)sinks[i % n_heads] : -INFINITY;
        ref_softmax(z, 1, n + 1, p);
        memcpy(out + i * n, p, n * sizeof *p);
    }
    free(z);
    return true;
}

/* RESID_1, RESID_2: the branch counts by a factor. */
static void compute_add(const struct site_job *j, size_t n, double *out, double *mag)
{
    const double factor = j->m->hyper.residual_scale;
    for (size_t i = 0; i < n; i++) out[i] = factor * j->in[0][i] + j->in[1][i];
    for (size_t i = 0; mag && i < n; i++) mag[i] = fabs(factor * j->in[0][i]) + fabs(j->in[1][i]);
}

static void compute_activation(const struct site_job *j, size_t n, double *out)
{
    const bool gated = site_fact_of(j->m, j->site, j->layer).n_in == 2;
    for (size_t i = 0; i < n; i++) {
        const double x = j->in[0][i];
        out[i] = (j->m->gelu ? ref_gelu(x) : ref_silu(x)) * (gated ? j->in[1][i] : 1);
    }
}

static void finish_logits(const struct site_model *m, size_t n, double *out, double *mag)
{
    for (size_t i = 0; i < n; i++) {
        out[i] *= m->hyper.logit_scale;
        if (mag) mag[i] *= fabs(m->hyper.logit_scale);
        if (m->hyper.logit_cap != 0)
            out[i] = m->hyper.logit_cap * tanh(out[i] / m->hyper.logit_cap);
        if (mag && m->hyper.logit_cap != 0) mag[i] += m->hyper.logit_cap;
    }
}

static bool compute(const struct site_job *j, size_t n, double *out, double *mag)
{
    switch (site_fact_of(j->m, j->site, j->layer).kind) {
    case KIND_NONE:
        return false;
    case KIND_EMBED:
        return compute_embed(j, out);
    case KIND_NORM:
        return compute_norm(j, out);
    case KIND_LINEAR:
        if (!compute_linear(j, out, mag)) return false;
        if (j->site == SITE_LOGITS) finish_logits(j->m, n, out, mag);
        return true;
    case KIND_ROPE:
        return compute_rope(j, out);
    case KIND_SCORES:
    case KIND_ATTENTION:
        return compute_attention(j, out);
    case KIND_SOFTMAX:
        return compute_softmax(j, out);
    case KIND_ADD:
        compute_add(j, n, out, mag);
        return true;
    case KIND_ACT:
        compute_activation(j, n, out);
        return true;
    }
    return false;
}

bool site_compute(const struct site_job *j, double *out, double *mag)
{
    const size_t n = j->rows * site_columns(j->m, j->site, j->n_tokens);
    const enum site_kind kind = site_fact_of(j->m, j->site, j->layer).kind;
    for (size_t i = 0; mag && i < n; i++) mag[i] = 0;
    if (!compute(j, n, out, mag)) return false;
    if (mag && (kind == KIND_NORM || kind == KIND_SOFTMAX || kind == KIND_ACT))
        for (size_t i = 0; i < n; i++) mag[i] = fabs(out[i]);
    return true;
}
