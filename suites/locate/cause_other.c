/* Why a norm, RoPE, attention, an embedding, an activation or a sum is wrong. */
#include "locate/cause_priv.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- norms ----------------------------------------------------------------------------------- */

enum norm_fault {
    NORM_NO_WEIGHT,
    NORM_TWICE,
    NORM_PLUS_ONE,
    NORM_OUTSIDE,
    NORM_NONE,
    NORM_CENTRED,
    NORM_SUM,
    NORM_NO_BIAS,
    N_NORM_FAULTS
};

static const char *const norm_words[N_NORM_FAULTS] = {"norm weight missing",
                                                      "norm weight applied twice",
                                                      "1 added to the norm weight",
                                                      "epsilon outside the root: sqrt(mean) + eps",
                                                      "not normalised",
                                                      "mean subtracted first, as in LayerNorm",
                                                      "sum in place of mean",
                                                      "bias missing"};

/* x: the n values of a group; i: one of them, with weight w and bias b. centred: LayerNorm. */
static double norm_guess(enum norm_fault fault, const double *x, size_t n, size_t i, double w,
                         double b, double eps, bool centred)
{
    double squares = 0, sum = 0;
    for (size_t k = 0; k < n; k++) sum += x[k];
    const double mu = sum / (double)n, shift = centred ? mu : 0;
    for (size_t k = 0; k < n; k++) squares += (x[k] - shift) * (x[k] - shift);
    const double mean = squares / (double)n, r = 1 / sqrt(mean + eps), y = x[i] - shift;
    switch (fault) {
    case NORM_NO_WEIGHT:
        return y * r + b;
    case NORM_TWICE:
        return y * r * w * w + b;
    case NORM_PLUS_ONE:
        return y * r * (1 + w) + b;
    case NORM_OUTSIDE:
        return y / (sqrt(mean) + eps) * w + b;
    case NORM_NONE:
        return x[i];
    case NORM_CENTRED: /* or, of a LayerNorm, not */
        return centred ? x[i] / sqrt(mean + mu * mu + eps) * w + b
                       : (x[i] - mu) / sqrt(mean - mu * mu + eps) * w;
    case NORM_SUM:
        return y / sqrt(squares + eps) * w + b;
    case NORM_NO_BIAS:
        return y * r * w;
    case N_NORM_FAULTS:
        break;
    }
    return NAN;
}

/* The epsilon that the first token speaks of: (mean + e') = (mean + e) (want / got)^2, where want
 * and got are without the bias, and mean is that of the squares, in LayerNorm of x - mu. */
static void try_epsilon(struct trial *t, const double *x, const struct ref_norm *w)
{
    const double eps = t->s->m->hyper.norm_eps;
    const size_t n = w->n;
    double seen = -1;
    if (n != t->n_cols_all) return;
    for (size_t r = 0; r < t->n_rows; r++) {
        const double *row = x + t->rows[r] * n;
        double mu = 0, mean = 0, both = 0, own = 0;
        for (size_t k = 0; k < n && t->s->m->hyper.layer_norm; k++) mu += row[k] / (double)n;
        for (size_t k = 0; k < n; k++) mean += (row[k] - mu) * (row[k] - mu) / (double)n;
        for (size_t c = 0; c < t->n_cols; c++) {
            const double b = w->b ? (double)w->b[t->cols[c]] : 0;
            const double got = t->got[r * t->n_cols + c] - b;
            both += (t->want[r * t->n_cols + c] - b) * got;
            own += got * got;
        }
        const double ratio = both / own;
        if (r == 0) seen = (mean + eps) * ratio * ratio - mean;
        for (size_t c = 0; c < t->n_cols; c++) {
            const double b = w->b ? (double)w->b[t->cols[c]] : 0;
            t->guess[r * t->n_cols + c] =
                (t->want[r * t->n_cols + c] - b) * sqrt((mean + eps) / (mean + seen)) + b;
        }
    }
    if (seen >= 0) cause_try(t, "epsilon is %.3g, the file says %.3g", seen, eps);
}

void cause_norm(struct trial *t)
{
    const double *x = cause_input(t, 0);
    const struct ref_norm w = ref_site_of(t->s->m->ref, t->s->site, t->s->layer).norm;
    const bool layer_norm = t->s->m->hyper.layer_norm;
    if (!x || !w.w) return;
    for (int f = 0; f < N_NORM_FAULTS; f++) {
        if (f == NORM_NO_BIAS && !w.b) continue;
        for (size_t r = 0; r < t->n_rows; r++)
            for (size_t c = 0; c < t->n_cols; c++) {
                const size_t group = t->cols[c] / w.n, i = t->cols[c] % w.n;
                const size_t at = group % w.n_rows * w.n + i;
                t->guess[r * t->n_cols + c] =
                    norm_guess((enum norm_fault)f, x + t->rows[r] * t->n_cols_all + group * w.n,
                               w.n, i, (double)w.w[at], w.b ? (double)w.b[at] : 0,
                               t->s->m->hyper.norm_eps, layer_norm);
            }
        cause_try(t, "%s",
                  f == NORM_CENTRED && layer_norm ? "mean not subtracted, as in RMSNorm"
                                                  : norm_words[f]);
    }
    try_epsilon(t, x, &w);
}

/* ---- RoPE ------------------------------------------------------------------------------------ */

struct rope_trial {
    struct trial *t;
    const double *x;
    double *y;
    size_t n_heads;
};

static void try_rope(struct rope_trial *k, const struct ref_rope *how, int32_t shift, int32_t sign,
                     const char *what, double number)
{
    const struct ref_shape *s = &k->t->s->m->shape;
    const size_t n = k->t->s->n_tokens;
    int32_t *pos = alloc_array(n, sizeof *pos);
    if (!pos) return;
    for (size_t i = 0; i < n; i++) pos[i] = sign * ((int32_t)i + shift);
    memcpy(k->y, k->x, n * k->t->n_cols_all * sizeof *k->y);
    ref_rope(how, k->y, pos, n, k->n_heads, s->head_dim, NULL);
    free(pos);
    cause_try_whole(k->t, k->y, what, number);
}

/* The base that the angle of the second pair at position 1 speaks of. */
static double base_seen(const struct rope_trial *k, const struct ref_rope *r)
{
    const struct trial *t = k->t;
    const size_t a = r->pairing == REF_ROPE_NORM ? 2 : 1;
    const size_t b = r->pairing == REF_ROPE_NORM ? 3 : 1 + r->n_dims / 2;
    double got[2] = {NAN, NAN};
    const double *x = k->x + t->n_cols_all;
    for (size_t row = 0; row < t->n_rows; row++)
        for (size_t c = 0; t->rows[row] == 1 && c < t->n_cols; c++) {
            if (t->cols[c] == a) got[0] = t->got[row * t->n_cols + c];
            if (t->cols[c] == b) got[1] = t->got[row * t->n_cols + c];
        }
    const double angle = atan2(got[1], got[0]) - atan2(x[b], x[a]);
    const double turn = angle <= 0 ? angle + 6.283185307179586 : angle;
    return pow(turn, -(double)r->n_dims / 2);
}

void cause_rope(struct trial *t)
{
    const struct ref_rope own = ref_model_hyper(t->s->m->ref, t->s->layer).rope;
    const bool of_q = t->s->site == SITE_Q_ROPE;
    struct rope_trial k = {t, cause_input(t, 0), NULL,
                           of_q ? t->s->m->shape.n_heads : t->s->m->shape.n_kv_heads};
    k.y = alloc_array(t->s->n_tokens * t->n_cols_all, sizeof *k.y);
    if (!k.x || !k.y) {
        free(k.y);
        return;
    }
    struct ref_rope r = own;
    cause_try_whole(t, k.x, "not rotated");
    r.pairing = own.pairing == REF_ROPE_NORM ? REF_ROPE_NEOX : REF_ROPE_NORM;
    try_rope(&k, &r, 0, 1,
             r.pairing == REF_ROPE_NEOX
                 ? "pairs as NEOX (p, p + n/2), where the model has NORM (2p, 2p + 1)"
                 : "pairs as NORM (2p, 2p + 1), where the model has NEOX (p, p + n/2)",
             0);
    try_rope(&k, &own, 1, 1, "position shifted by +1", 0);
    try_rope(&k, &own, -1, 1, "position shifted by -1", 0);
    try_rope(&k, &own, 0, -1, "rotated backwards", 0);
    r = own;
    r.freq_scale = 1;
    if (own.freq_scale != 1) try_rope(&k, &r, 0, 1, "frequency scale ignored", 0);
    r = own;
    r.factors = NULL;
    if (own.factors) try_rope(&k, &r, 0, 1, "frequency factors ignored", 0);
    r = own;
    r.n_dims = own.n_dims / 2;
    try_rope(&k, &r, 0, 1, "only half of the dimensions rotated", 0);
    static const double bases[] = {10000, 500000, 1000000, 100000, 5000000};
    for (size_t i = 0; i < sizeof bases / sizeof *bases; i++) {
        r = own;
        r.freq_base = bases[i];
        if (bases[i] != own.freq_base) try_rope(&k, &r, 0, 1, "frequency base %.6g", bases[i]);
    }
    r = own;
    r.freq_base = base_seen(&k, &own);
    if (r.freq_base > 1 && r.freq_base < 1e12)
        try_rope(&k, &r, 0, 1, "frequency base %.6g", r.freq_base);
    free(k.y);
}

/* ---- embedding, residuals, activation -------------------------------------------------------- */

static void try_ids(struct trial *t, int shift)
{
    int32_t *ids = alloc_array(t->s->n_tokens, sizeof *ids);
    double *y = alloc_array(t->s->n_tokens * t->n_cols_all, sizeof *y);
    const int32_t n_vocab = (int32_t)t->s->m->shape.n_vocab;
    for (size_t i = 0; ids && i < t->s->n_tokens; i++)
        ids[i] = (t->s->tokens[i] + shift + n_vocab) % n_vocab;
    struct site_job j = {.m = t->s->m,
                         .site = SITE_EMBD,
                         .tokens = ids,
                         .n_tokens = t->s->n_tokens,
                         .rows = t->s->n_tokens,
                         .precision = precision_exact};
    if (ids && y && site_compute(&j, y, NULL)) cause_try_whole(t, y, "row of token id %+d", shift);
    free(ids);
    free(y);
}

static void try_binary(struct trial *t, double (*f)(double a, double b), const double *a,
                       const double *b, const char *what)
{
    if (!a || !b) return;
    for (size_t r = 0; r < t->n_rows; r++)
        for (size_t c = 0; c < t->n_cols; c++) {
            const size_t at = t->rows[r] * t->n_cols_all + t->cols[c];
            t->guess[r * t->n_cols + c] = f(a[at], b[at]);
        }
    cause_try(t, "%s", what);
}

static double first(double a, double b)
{
    return (void)b, a;
}
static double twice(double a, double b)
{
    return 2 * a + b;
}
static double minus(double a, double b)
{
    return a - b;
}
static double product(double a, double b)
{
    return a * b;
}
static double silu_product(double a, double b)
{
    return ref_silu(a) * b;
}
static double gelu_product(double a, double b)
{
    return ref_gelu(a) * b;
}

/* GELU of llama.cpp's CPU backend: a table with an entry for each binary16 number
 * (reference/spec/operations.md, "Activations"). */
static double gelu_entry(double x)
{
    if (!(fabs(x) < 10)) return x <= 0 ? 0 : x;
    const double at = (double)ref_f16_to_f32(ref_f32_to_f16((float)x));
    return (double)ref_f16_to_f32(ref_f32_to_f16((float)ref_gelu(at)));
}
static double table_product(double a, double b)
{
    return gelu_entry(a) * b;
}
static double table_own(double a, double b)
{
    return (void)a, gelu_entry(b);
}
static double relu_product(double a, double b)
{
    return fmax(a, 0) * b;
}

static double silu_own(double a, double b)
{
    return (void)a, ref_silu(b);
}
static double gelu_own(double a, double b)
{
    return (void)a, ref_gelu(b);
}

static double relu_own(double a, double b)
{
    return (void)a, fmax(b, 0);
}

static void try_sums(struct trial *t, const double *branch, const double *b)
{
    const size_t n = t->s->n_tokens * t->n_cols_all;
    const double factor = t->s->m->hyper.residual_scale;
    double *a = branch && b ? alloc_array(n, sizeof *a) : NULL;
    if (!a) return;
    for (size_t i = 0; i < n; i++) a[i] = factor * branch[i];
    try_binary(t, first, a, b, "residual dropped");
    try_binary(t, first, b, a, "only the residual: the branch is not added");
    try_binary(t, twice, a, b, "the branch is added twice");
    try_binary(t, twice, b, a, "the residual is added twice");
    try_binary(t, minus, b, a, "the branch is subtracted");
    const double *norm =
        cause_value(t, t->s->site == SITE_RESID_1 ? SITE_ATTN_NORM : SITE_FFN_NORM);
    for (size_t i = 0; norm && i < t->n_rows * t->n_cols; i++) {
        const size_t at = t->rows[i / t->n_cols] * t->n_cols_all + t->cols[i % t->n_cols];
        t->guess[i] = a[at] + norm[at];
    }
    if (norm) cause_try(t, "residual taken after the norm");
    for (size_t i = 0; factor != 1 && i < n; i++) a[i] = branch[i] + b[i];
    if (factor != 1) cause_try_whole(t, a, "residual scale ignored");
    free(a);
}

void cause_simple(struct trial *t)
{
    const enum ref_site_kind kind = cause_kind(t->s);
    const struct ref_site site = ref_site_of(t->s->m->ref, t->s->site, t->s->layer);
    const bool is_gelu = site.act == REF_ACT_GELU;
    if (kind == REF_SITE_EMBED) {
        try_ids(t, 1);
        try_ids(t, -1);
        cause_lookup(t);
        return;
    }
    const double *a = cause_input(t, 0), *b = cause_input(t, 1);
    if (kind == REF_SITE_ADD) {
        try_sums(t, a, b);
        return;
    }
    if (!b) {
        if (is_gelu) try_binary(t, table_own, a, a, "GELU from a table in f16");
        if (is_gelu)
            try_binary(t, silu_own, a, a, "SiLU in place of GELU");
        else
            try_binary(t, gelu_own, a, a, "GELU in place of SiLU");
        try_binary(t, relu_own, a, a, is_gelu ? "ReLU in place of GELU" : "ReLU in place of SiLU");
        try_binary(t, first, a, a, "activation missing");
        return;
    }
    if (is_gelu) try_binary(t, table_product, a, b, "GELU from a table in f16");
    try_binary(t, is_gelu ? gelu_product : silu_product, b, a, "gate and up swapped");
    if (is_gelu)
        try_binary(t, silu_product, a, b, "SiLU in place of GELU");
    else
        try_binary(t, gelu_product, a, b, "GELU in place of SiLU");
    try_binary(t, relu_product, a, b, is_gelu ? "ReLU in place of GELU" : "ReLU in place of SiLU");
    try_binary(t, product, a, b, is_gelu ? "GELU missing" : "SiLU missing");
    try_binary(t, is_gelu ? gelu_own : silu_own, b, a, "not multiplied by up");
}
