/* Wrong norms, RoPE, attention, sums, activations and embeddings, made on purpose; see
 * locate_causes.h. */
#include "selftest/locate_cause.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- norms ----------------------------------------------------------------------------------- */

bool break_norm(struct scene *s, int way)
{
    const struct ref_norm w = ref_site_of(s->m.ref, s->site, s->layer).norm;
    const double *x = scene_input(s, 0);
    const double eps = way == NORM_EPSILON ? 0.01 : s->m.hyper.norm_eps;
    if (!x || !w.w || w.n != s->cols) return false;
    if (way == NORM_WITHOUT_BIAS && !w.b) return false;
    const bool centred = s->m.hyper.layer_norm != (way == NORM_MEAN_TOO);
    for (size_t r = 0; r < s->n; r++) {
        const double *row = x + r * w.n;
        double mean = 0, square = 0;
        for (size_t i = 0; i < w.n && centred; i++) mean += row[i] / (double)w.n;
        for (size_t i = 0; i < w.n; i++)
            square += (row[i] - mean) * (row[i] - mean) / (way == NORM_OF_SUM ? 1 : (double)w.n);
        const double root = way == NORM_EPSILON_OUTSIDE ? sqrt(square) + eps : sqrt(square + eps);
        for (size_t i = 0; i < w.n; i++) {
            double factor = (double)w.w[i];
            if (way == NORM_WITHOUT_WEIGHT) factor = 1;
            if (way == NORM_WEIGHT_TWICE) factor *= factor;
            if (way == NORM_ONE_MORE) factor += 1;
            const double bias = w.b && way != NORM_WITHOUT_BIAS ? (double)w.b[i] : 0;
            s->y[r * w.n + i] =
                (float)(way == NORM_NOT_DONE ? row[i] : (row[i] - mean) / root * factor + bias);
        }
    }
    return true;
}

/* ---- RoPE ------------------------------------------------------------------------------------ */

bool break_rope(struct scene *s, int way)
{
    const double *x = scene_input(s, 0);
    const struct ref_rope *own = &s->m.hyper.rope;
    const size_t d = s->m.shape.head_dim, n = way == ROPE_HALF ? own->n_dims / 2 : own->n_dims;
    const bool norm = (own->pairing == REF_ROPE_NORM) != (way == ROPE_PAIRS);
    const double base = way == ROPE_BASE ? 54321 : own->freq_base;
    const double scale = way == ROPE_NO_SCALE ? 1 : own->freq_scale;
    if (!x || (way == ROPE_NO_FACTORS && !own->factors)) return false;
    for (size_t i = 0; i < s->n * s->cols; i++) s->y[i] = (float)x[i];
    if (way == ROPE_NONE) return true;
    for (size_t i = 0; i < s->n * s->cols; i += d)
        for (size_t p = 0; p < n / 2; p++) {
            const size_t a = i + (norm ? 2 * p : p), b = norm ? a + 1 : a + n / 2;
            double pos = (double)(i / s->cols);
            if (way == ROPE_AFTER) pos += 1;
            if (way == ROPE_BEFORE) pos -= 1;
            if (way == ROPE_BACKWARDS) pos = -pos;
            const double factor =
                own->factors && way != ROPE_NO_FACTORS ? (double)own->factors[p] : 1;
            const double turn = pos * scale * pow(base, -2.0 * (double)p / (double)n) / factor;
            s->y[a] = (float)(x[a] * cos(turn) - x[b] * sin(turn));
            s->y[b] = (float)(x[a] * sin(turn) + x[b] * cos(turn));
        }
    return true;
}

/* ---- attention ------------------------------------------------------------------------------- */

struct place {
    size_t row, head;
};

static bool sees(const struct scene *s, int way, size_t row, size_t cell)
{
    const uint32_t window = ref_model_hyper(s->m.ref, s->layer).window;
    if (way == ATTN_NO_MASK) return true;
    if (way == ATTN_NOT_ITSELF && cell == row) return false;
    if (window && way != ATTN_NO_WINDOW && cell + window <= row) return false;
    return cell <= row + (way == ATTN_SEES_NEXT);
}

/* The row of KV head `group` that a cell shows. */
static const double *cell_of(const struct scene *s, const double *x, int shift, size_t cell,
                             size_t group)
{
    static const double zeros[512];
    const size_t from = cell - (size_t)shift, d = s->m.shape.head_dim;
    return from < s->n ? x + (from * s->m.shape.n_kv_heads + group) * d : zeros;
}

static size_t group_of(const struct scene *s, int way, size_t head)
{
    const struct ref_shape *h = &s->m.shape;
    return way == ATTN_MODULO ? head % h->n_kv_heads : head / (h->n_heads / h->n_kv_heads);
}

static void score_row(const struct scene *s, int way, struct place at, double *z)
{
    const struct ref_hyper h = ref_model_hyper(s->m.ref, s->layer);
    const size_t d = s->m.shape.head_dim, group = group_of(s, way, at.head);
    const double *q = scene_value(s, way == ATTN_Q_UNTURNED ? SITE_Q : SITE_Q_ROPE);
    const double *keys = scene_value(s, way == ATTN_K_UNTURNED ? SITE_K : SITE_K_ROPE);
    const int shift = way == ATTN_K_FAR ? 1 : way == ATTN_K_NEAR ? -1 : 0;
    double scale = h.kq_scale;
    if (way == ATTN_NO_SCALE) scale *= sqrt((double)d);
    if (way == ATTN_SCALE_TWICE) scale /= sqrt((double)d);
    q += (at.row * s->m.shape.n_heads + at.head) * d;
    for (size_t c = 0; c < s->n; c++) {
        const double *k = cell_of(s, keys, shift, c, group);
        double sum = 0;
        for (size_t i = 0; i < d; i++) {
            const double kept = (double)ref_f16_to_f32(ref_f32_to_f16((float)k[i]));
            sum += q[i] * (way == ATTN_HALF_CACHE ? kept : k[i]);
        }
        z[c] = scale * sum;
        if (h.attn_cap != 0 && way != ATTN_NO_CAP) z[c] = h.attn_cap * tanh(z[c] / h.attn_cap);
        if (way == ATTN_UNIFORM || way == ATTN_UNIFORM_ALL) z[c] = 0;
        if (!sees(s, way == ATTN_UNIFORM_ALL ? ATTN_NO_MASK : way, at.row, c)) z[c] = -INFINITY;
    }
}

static void weigh(const struct scene *s, int way, size_t head, double *z)
{
    const float *own = ref_site_of(s->m.ref, SITE_ATTN, s->layer).sinks;
    const float *sinks = way == ATTN_NO_SINKS ? NULL : own;
    double sum = sinks ? exp((double)sinks[head]) : 0;
    for (size_t c = 0; c < s->n; c++) sum += z[c] = exp(z[c]);
    for (size_t c = 0; c < s->n; c++) z[c] = sum > 0 ? z[c] / sum : 0;
}

bool break_attention(struct scene *s, int way)
{
    const struct ref_shape *h = &s->m.shape;
    const double *v = scene_value(s, SITE_V);
    double *z = alloc_array(s->n, sizeof *z);
    if (!v || !z || !scene_value(s, SITE_Q_ROPE) || !scene_value(s, SITE_K_ROPE)) return false;
    for (struct place at = {0, 0}; at.row < s->n; at.row++)
        for (at.head = 0; at.head < h->n_heads; at.head++) {
            score_row(s, way, at, z);
            if (s->site != SITE_SCORES) weigh(s, way, at.head, z);
            float *y = s->y + at.row * s->cols + at.head * (s->cols / h->n_heads);
            for (size_t c = 0; c < s->n && s->site != SITE_ATTN; c++) y[c] = (float)z[c];
            for (size_t i = 0; i < h->head_dim && s->site == SITE_ATTN; i++) {
                double sum = 0;
                for (size_t c = 0; c < s->n; c++)
                    sum += z[c] * cell_of(s, v, way == ATTN_V_FAR, c, group_of(s, way, at.head))[i];
                y[i] = (float)sum;
            }
        }
    free(z);
    return true;
}

/* ---- sums and activations -------------------------------------------------------------------- */

bool break_sum(struct scene *s, int way)
{
    const double *branch = scene_input(s, 0), *x = scene_input(s, 1);
    const double *norm = scene_value(s, s->site == SITE_RESID_1 ? SITE_ATTN_NORM : SITE_FFN_NORM);
    double factor = s->m.hyper.residual_scale, keep = way == SUM_NO_RESIDUAL ? 0 : 1;
    if (!branch || !x || !norm) return false;
    if (way == SUM_UNSCALED) factor = 1;
    if (way == SUM_NO_BRANCH) factor = 0;
    if (way == SUM_BRANCH_TWICE) factor *= 2;
    if (way == SUM_SUBTRACTED) factor = -factor;
    if (way == SUM_RESIDUAL_TWICE) keep = 2;
    if (way == SUM_AFTER_NORM) x = norm;
    for (size_t i = 0; i < s->n * s->cols; i++) s->y[i] = (float)(factor * branch[i] + keep * x[i]);
    return true;
}

static double silu(double x)
{
    return x / (1 + exp(-x));
}

static double gelu(double x)
{
    return x / 2 * (1 + tanh(sqrt(2 / acos(-1)) * (x + 0.044715 * x * x * x)));
}

static double half(double x)
{
    return (double)ref_f16_to_f32(ref_f32_to_f16((float)x));
}

bool break_act(struct scene *s, int way)
{
    const struct ref_site site = ref_site_of(s->m.ref, s->site, s->layer);
    const bool gated = site.n_in == 2, is_gelu = site.act == REF_ACT_GELU;
    const double *gate = scene_input(s, 0), *up = gated ? scene_input(s, 1) : NULL;
    if (!gate || (gated && !up)) return false;
    for (size_t i = 0; i < s->n * s->cols; i++) {
        double a = gate[i], b = up ? up[i] : 1;
        if (way == ACT_SWAPPED) a = up[i], b = gate[i];
        double f = is_gelu == (way != ACT_OTHER) ? gelu(a) : silu(a);
        if (way == ACT_RELU) f = a > 0 ? a : 0;
        if (way == ACT_NONE) f = a;
        if (way == ACT_TABLE) f = half(gelu(half(a)));
        s->y[i] = (float)(f * (way == ACT_NO_UP ? 1 : b));
    }
    return true;
}

/* ---- any values ------------------------------------------------------------------------------ */

bool break_values(struct scene *s, int way)
{
    const double *x = scene_value(s, s->site);
    const size_t all = s->n * s->cols;
    if (!x) return false;
    for (size_t i = 0; i < all; i++) {
        const size_t ahead = i + s->cols < all ? i + s->cols : i;
        double y = x[i];
        if (way == VALUES_CLIPPED) y = fmin(fmax(y, -0.5), 0.5);
        if (way == VALUES_ZERO) y = 0;
        if (way == VALUES_SCALED) y *= 0.75;
        if (way == VALUES_NAN && i % 5 == 3) y = NAN;
        if (way == VALUES_F16) y = half(y);
        if (way == VALUES_BF16) y = (double)ref_bf16_to_f32(ref_f32_to_bf16((float)y));
        if (way == VALUES_OTHER_F16) y = half(y * y + 0.25);
        if (way == VALUES_OF_NEXT_TOKEN) y = x[ahead];
        if (way == VALUES_OF_TOKEN_BEFORE) y = x[i < s->cols ? i : i - s->cols];
        if (way == VALUES_OF_FIRST_TOKEN) y = x[i % s->cols];
        s->y[i] = (float)y;
    }
    return true;
}

bool break_embedding(struct scene *s, int way)
{
    const struct ref_weight w = ref_site_of(s->m.ref, SITE_EMBD, 0).weight;
    const size_t row_bytes = type_bytes(type_by_id(w.type), w.n_in);
    for (size_t i = 0; i < s->n; i++) {
        size_t at = i;
        if (way == EMBD_NO_BOS) at = i + 1 < s->n ? i + 1 : i;
        if (way == EMBD_TWO_BOS) at = i > 0 ? i - 1 : 0;
        size_t id = (size_t)s->prompts.tokens[at];
        if (way == EMBD_ID_AFTER) id = (id + 1) % w.n_out;
        if (way == EMBD_ID_BEFORE) id = (id + w.n_out - 1) % w.n_out;
        ref_decode(w.type, w.data + id * row_bytes, w.n_in, s->y + i * w.n_in);
    }
    return true;
}
