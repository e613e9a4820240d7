/* Why attention scores, weights or results are wrong. */
#include "locate/cause_priv.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Attention with a fault. Shifts: cell c holds what belongs to token c - shift. */
struct twist {
    const char *what;
    bool modulo; /* head h reads KV head h % n_kv_heads */
    int k_shift, v_shift;
    int reach;    /* sees cells up to its position + reach */
    double scale; /* of the scores, relative */
    bool uniform, raw_q, raw_k;
    bool no_window, no_cap, no_sinks;
};

static const struct twist twists[] = {
    {.what = "head h reads KV head h % n_kv_heads, not h / (n_heads / n_kv_heads)",
     .modulo = true,
     .scale = 1},
    {.what = "K and V one cell too far: the KV slot is off by one",
     .k_shift = 1,
     .v_shift = 1,
     .scale = 1},
    {.what = "K one cell too far: the KV slot is off by one", .k_shift = 1, .scale = 1},
    {.what = "V one cell too far: the KV slot is off by one", .v_shift = 1, .scale = 1},
    {.what = "K and V one cell too near: the KV slot is off by one",
     .k_shift = -1,
     .v_shift = -1,
     .scale = 1},
    {.what = "mask shifted: a token sees the one after it", .reach = 1, .scale = 1},
    {.what = "mask shifted: a token does not see itself", .reach = -1, .scale = 1},
    {.what = "no causal mask", .reach = 1 << 20, .scale = 1},
    {.what = "attention weights collapsed to uniform", .uniform = true, .scale = 1},
    {.what = "K not rotated", .raw_k = true, .scale = 1},
    {.what = "Q not rotated", .raw_q = true, .scale = 1},
    {.what = "sliding window ignored", .no_window = true, .scale = 1},
    {.what = "soft cap of the scores ignored", .no_cap = true, .scale = 1},
    {.what = "attention sinks ignored", .no_sinks = true, .scale = 1},
    {.what = "scale 1/sqrt(head_dim) missing", .scale = -1},
    {.what = "scale 1/sqrt(head_dim) applied twice", .scale = -2},
};

struct sources {
    const double *q, *k, *v, *raw_q, *raw_k; /* k and v as the cache gives them back */
    const float *sinks;                      /* (n_heads), or NULL */
};

/* Row of the cache that cell c shows: NULL = never written. */
static const double *cell(const double *x, size_t n, size_t width, size_t c, int shift)
{
    const size_t from = c - (size_t)shift;
    return from < n ? x + from * width : NULL;
}

/* Scores of head h of token r (n): hidden ones -inf, cells never written NaN. */
static void scores_of(const struct trial *t, const struct twist *w, const struct sources *in,
                      size_t r, size_t h, double *z)
{
    const struct ref_shape *s = &t->s->m->shape;
    const size_t n = t->s->n_tokens, d = s->head_dim, width = s->n_kv_heads * d;
    const size_t group = w->modulo ? h % s->n_kv_heads : h / (s->n_heads / s->n_kv_heads);
    const double *q = (w->raw_q ? in->raw_q : in->q) + (r * s->n_heads + h) * d;
    const double root = sqrt((double)d);
    const struct ref_hyper hyper = ref_model_hyper(t->s->m->ref, t->s->layer);
    const double scale = hyper.kq_scale * (w->scale == -1   ? root
                                           : w->scale == -2 ? 1 / root
                                                            : w->scale);
    for (size_t c = 0; c < n; c++) {
        z[c] = -INFINITY;
        if ((int64_t)c > (int64_t)r + w->reach) continue;
        if (hyper.window && !w->no_window && c + hyper.window <= r) continue;
        const double *k = cell(w->raw_k ? in->raw_k : in->k, n, width, c, w->k_shift);
        z[c] = NAN;
        if (!k) continue;
        z[c] = 0;
        for (size_t i = 0; i < d; i++) z[c] += scale * q[i] * k[group * d + i];
        if (hyper.attn_cap != 0 && !w->no_cap) z[c] = hyper.attn_cap * tanh(z[c] / hyper.attn_cap);
        if (w->uniform) z[c] = 0;
    }
}

/* NaN scores do not take part. sink: one more score, -inf without one. */
static void softmax(double *z, size_t n, double sink)
{
    double max = sink, sum = 0;
    for (size_t c = 0; c < n; c++) {
        if (isnan(z[c])) z[c] = -INFINITY;
        max = fmax(max, z[c]);
    }
    if (sink > -INFINITY) sum = exp(sink - max);
    for (size_t c = 0; c < n; c++) sum += z[c] = max == -INFINITY ? 0 : exp(z[c] - max);
    for (size_t c = 0; c < n; c++) z[c] = sum > 0 ? z[c] / sum : 0;
}

static void mix_head(const struct trial *t, const struct twist *w, const struct sources *in,
                     size_t h, const double *p, double *out)
{
    const struct ref_shape *s = &t->s->m->shape;
    const size_t n = t->s->n_tokens, d = s->head_dim, width = s->n_kv_heads * d;
    const size_t group = w->modulo ? h % s->n_kv_heads : h / (s->n_heads / s->n_kv_heads);
    for (size_t i = 0; i < d; i++) out[i] = 0;
    for (size_t c = 0; c < n; c++) {
        const double *v = cell(in->v, n, width, c, w->v_shift);
        for (size_t i = 0; v && i < d; i++) out[i] += p[c] * v[group * d + i];
    }
}

static void try_twist(struct trial *t, const struct twist *w, const struct sources *in, double *out,
                      double *z)
{
    const struct ref_shape *s = &t->s->m->shape;
    const size_t n = t->s->n_tokens, d = s->head_dim;
    for (size_t r = 0; r < n; r++)
        for (size_t h = 0; h < s->n_heads; h++) {
            scores_of(t, w, in, r, h, z);
            const bool sinks = in->sinks && !w->no_sinks;
            if (t->s->site != SITE_SCORES) softmax(z, n, sinks ? (double)in->sinks[h] : -INFINITY);
            if (t->s->site == SITE_ATTN)
                mix_head(t, w, in, h, z, out + (r * s->n_heads + h) * d);
            else
                memcpy(out + (r * s->n_heads + h) * n, z, n * sizeof *z);
        }
    cause_try_whole(t, out, "%s", w->what);
}

/* V alone can be wrong where the weights are given. */
static void try_uniform_weights(struct trial *t)
{
    const size_t n = t->s->n_tokens;
    for (size_t r = 0; r < t->n_rows; r++)
        for (size_t c = 0; c < t->n_cols; c++) {
            const size_t cell_index = t->cols[c] % n, seen = t->rows[r] + 1;
            t->guess[r * t->n_cols + c] = cell_index < seen ? 1 / (double)seen : 0;
        }
    cause_try(t, "attention weights collapsed to uniform");
    for (size_t r = 0; r < t->n_rows; r++)
        for (size_t c = 0; c < t->n_cols; c++) t->guess[r * t->n_cols + c] = 1 / (double)n;
    cause_try(t, "uniform over all cells, hidden ones too");
}

/* What a cache gives back; NULL: no memory, nothing there, or values that do not fill its
 * blocks. */
static double *stored(enum tensor_type t, const double *x, size_t n)
{
    double *y = x ? alloc_array(n, sizeof *y) : NULL;
    if (!y) return NULL;
    memcpy(y, x, n * sizeof *y);
    if (site_cached(t, y, n)) return y;
    free(y);
    return NULL;
}

/* What the attention of the site reads where the cache is of a type. False: no memory, or not
 * seen. */
static bool read_cache(struct sources *in, const struct trial *t, enum tensor_type type)
{
    const struct ref_shape *s = &t->s->m->shape;
    const size_t n = t->s->n_tokens * s->n_kv_heads * s->head_dim;
    const struct ref_site scores = ref_site_of(t->s->m->ref, SITE_SCORES, t->s->layer);
    in->k = stored(type, cause_value(t, scores.in[1]), n);
    in->v = stored(type, cause_value(t, SITE_V), n);
    in->raw_k = stored(type, cause_value(t, SITE_K), n);
    return in->k && in->v && in->raw_k;
}

static void free_cache(struct sources *in)
{
    free((void *)(uintptr_t)in->k);
    free((void *)(uintptr_t)in->v);
    free((void *)(uintptr_t)in->raw_k);
}

static void try_caches(struct trial *t, struct sources in, double *out, double *z)
{
    char what[96];
    const struct twist plain = {.what = what, .scale = 1};
    const char *own = type_by_id(t->s->precision.kv)->name;
    for (const struct type_spec *o = type_next(NULL); o; o = type_next(o)) {
        if (o->id == t->s->precision.kv || !ref_cache_type(o->id)) continue;
        snprintf(what, sizeof what, "a cache of %s, where %s is declared", o->name, own);
        if (read_cache(&in, t, o->id)) try_twist(t, &plain, &in, out, z);
        free_cache(&in);
    }
}

void cause_attention(struct trial *t)
{
    const struct ref_shape *s = &t->s->m->shape;
    const size_t n = t->s->n_tokens;
    const struct ref_site scores = ref_site_of(t->s->m->ref, SITE_SCORES, t->s->layer);
    if (t->s->m->hyper.latent) return; /* values and heads have other sizes */
    struct sources in = {.q = cause_value(t, scores.in[0]),
                         .sinks = ref_site_of(t->s->m->ref, SITE_ATTN, t->s->layer).sinks,
                         .raw_q = cause_value(t, SITE_Q)};
    double *out = alloc_array(n * s->n_heads * (n + s->head_dim), sizeof *out);
    double *z = alloc_array(n, sizeof *z);
    const bool have = read_cache(&in, t, t->s->precision.kv) && in.q && in.raw_q && out && z;
    for (size_t i = 0; have && i < sizeof twists / sizeof *twists; i++)
        if (t->s->site == SITE_ATTN || twists[i].v_shift == 0 || twists[i].k_shift != 0)
            try_twist(t, &twists[i], &in, out, z);
    if (have) try_caches(t, in, out, z);
    if (t->s->site == SITE_WEIGHTS) try_uniform_weights(t);
    free_cache(&in);
    free(out);
    free(z);
}
