/* Operations of a forward pass on values with error bounds. forward_priv.h explains the rule; the
 * comments here give each operation's own derivatives and roundings. u = REF_U. */
#include "reference/forward_priv.h"
#include "reference/ops_priv.h"

#include <math.h>
#include <string.h>

/* var += local^2, after an operation has filled local. */
static void add_local(struct ref_pass *p, struct ref_vals *v)
{
    for (size_t i = 0; i < p->rows * v->cols; i++) v->var[i] += p->local[i] * p->local[i];
}

/* Decoding is exact: no rounding at all. */
void ref_pass_embed(struct ref_pass *p, const struct ref_weight *w, const int32_t *ids,
                    struct ref_vals *out)
{
    const struct type_spec *type = type_by_id(w->type);
    const size_t row_bytes = type_bytes(type, w->n_in);
    float block[256];
    for (size_t row = 0; row < p->rows; row++) {
        const uint8_t *at = w->data + (size_t)ids[row] * row_bytes;
        for (size_t k = 0; k < w->n_in; k += 256) {
            const size_t n = w->n_in - k < 256 ? w->n_in - k : 256;
            ref_decode(w->type, at + type_bytes(type, k), n, block);
            for (size_t i = 0; i < n; i++)
                out->x[row * w->n_in + k + i] = w->scale * (double)block[i];
        }
    }
    if (!p->track) return;
    for (size_t i = 0; i < p->rows * out->cols; i++) {
        p->local[i] = w->scale == 1 ? 0 : 2 * REF_U * fabs(out->x[i]);
        out->var[i] = p->local[i] * p->local[i];
    }
}

/* y_i = sum_k w_ik x_k: derivatives w_ik; local 8 sqrt(n) u sum_k |w_ik x_k|. A factor and a bias
 * come after the sum, with one rounding each that the same bound has room for. */
void ref_pass_linear(struct ref_pass *p, const struct ref_weight *w, const struct ref_vals *in,
                     struct ref_vals *out)
{
    const bool scaled = w->scale != 1;
    const struct ref_vals x = ref_pass_entering(p, w->type, in);
    ref_product(&(struct ref_product){.type = w->type,
                                      .w = w->data,
                                      .n_out = w->n_out,
                                      .n_in = w->n_in,
                                      .n_cols = p->rows,
                                      .x = x.x,
                                      .x_var = x.var,
                                      .bias = scaled ? NULL : w->bias,
                                      .y = out->x,
                                      .mag = p->track ? p->local : NULL,
                                      .var = out->var});
    for (size_t i = 0; scaled && i < p->rows * w->n_out; i++) {
        const double bias = w->bias ? (double)w->bias[i % w->n_out] : 0;
        out->x[i] = out->x[i] * w->scale + bias;
        if (!p->track) continue;
        p->local[i] = p->local[i] * fabs(w->scale) + fabs(bias);
        out->var[i] *= w->scale * w->scale;
    }
    if (!p->track) return;
    const double unit = 8 * sqrt((double)w->n_in) * REF_U;
    for (size_t i = 0; i < p->rows * w->n_out; i++) p->local[i] *= unit;
    add_local(p, out);
}

/* y_i = r w_i x_i with r = (sum x^2 / n + eps)^(-1/2):
 *     dy_i = r w_i (dx_i - x_i r^2/n sum_j x_j dx_j)
 * so with S = sum_j x_j^2 var_j and c_i = x_i r^2/n, and j = i taken apart,
 *     var(y_i) = (r w_i)^2 ((1 - c_i x_i)^2 var_i + c_i^2 (S - x_i^2 var_i)).
 * local: a sum of n squares, one after the other, is off by about sqrt(n)/3 u; the root halves
 * that, so sqrt(n) u is six times it, and 8 u is for the rest. */
static void rms_var(const double *x, const double *var, const float *w, size_t n, double eps,
                    double *y_var)
{
    const double r2 = 1 / (ref_dot(x, x, n) / (double)n + eps);
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += x[i] * x[i] * var[i];
    for (size_t i = 0; i < n; i++) {
        const double c = x[i] * r2 / (double)n, own = 1 - c * x[i];
        const double others = fmax(0, sum - x[i] * x[i] * var[i]);
        y_var[i] = r2 * (double)w[i] * (double)w[i] * (own * own * var[i] + c * c * others);
    }
}

/* y_i = r w_i z_i + b_i with z = x - mean(x), r = (sum z^2 / n + eps)^(-1/2). As the z add up to
 * nothing, sum_j z_j dz_j = sum_j z_j dx_j:
 *     dy_i = r w_i (dx_i - sum_j (1 + z_i z_j r^2)/n dx_j)
 * so with S_k = sum_j z_j^k var_j and c_i = (1 + z_i^2 r^2)/n, and j = i taken apart,
 *     var(y_i) = (r w_i)^2 ((1 - c_i)^2 var_i
 *                           + (S_0 + 2 z_i r^2 S_1 + z_i^2 r^4 S_2)/n^2 - c_i^2 var_i).
 * local: as for RMSNorm, relative to the magnitude that ref_layer_norm returns. */
static void layer_var(const double *x, const double *var, const float *w, size_t n, double eps,
                      double *y_var)
{
    const double size = (double)n;
    double mean = 0, square = 0, s0 = 0, s1 = 0, s2 = 0;
    for (size_t i = 0; i < n; i++) mean += x[i] / size;
    for (size_t i = 0; i < n; i++) {
        const double z = x[i] - mean;
        square += z * z;
        s0 += var[i];
        s1 += z * var[i];
        s2 += z * z * var[i];
    }
    const double r2 = 1 / (square / size + eps);
    for (size_t i = 0; i < n; i++) {
        const double z = x[i] - mean, zr = z * r2, c = (1 + z * zr) / size;
        const double all = (s0 + 2 * zr * s1 + zr * zr * s2) / (size * size);
        const double others = fmax(0, all - c * c * var[i]);
        y_var[i] = r2 * (double)w[i] * (double)w[i] * ((1 - c) * (1 - c) * var[i] + others);
    }
}

/* Group by group; what is read of one is read before it is written, for out may be in. */
void ref_pass_norm(struct ref_pass *p, const struct ref_norm *norm, const struct ref_vals *in,
                   struct ref_vals *out)
{
    const size_t n = norm->n, groups = p->rows * (in->cols / n);
    const double eps = p->m->norm_eps, unit = (sqrt((double)n) + 8) * REF_U;
    const bool rms = p->m->arch->norm == REF_NORM_RMS;
    for (size_t g = 0; g < groups; g++) {
        const double *x = in->x + g * n;
        const float *w = norm->w + g % norm->n_rows * n;
        const float *b = norm->b ? norm->b + g % norm->n_rows * n : NULL;
        double *local = p->track ? p->local + g * n : NULL;
        if (p->track) (rms ? rms_var : layer_var)(x, in->var + g * n, w, n, eps, out->var + g * n);
        if (rms)
            ref_rms_norm(x, w, 1, n, eps, out->x + g * n, local);
        else
            ref_layer_norm(x, w, b, 1, n, eps, out->x + g * n, local);
        for (size_t i = 0; local && i < n; i++) local[i] *= unit;
    }
    if (p->track) add_local(p, out);
}

/* a' = a c - b s, b' = a s + b c: variances turn with c^2 and s^2. local, with M = |a c| + |b s|:
 * 2 u M for the roundings of a product and of its table entry, kept in binary32, and of the sum,
 * at 8 times. */
void ref_pass_rope(struct ref_pass *p, const struct ref_rope *r, size_t n_heads, struct ref_vals *v)
{
    const size_t head_dim = v->cols / n_heads;
    ref_rope(r, v->x, p->pos, p->rows, n_heads, head_dim, p->local);
    if (!p->track) return;
    for (size_t row = 0; row < p->rows; row++)
        for (uint32_t pair = 0; pair < r->n_dims / 2; pair++) {
            size_t first, second;
            double c, s;
            ref_rope_pair(r, pair, &first, &second);
            ref_rope_angle(r, p->pos[row], pair, &c, &s);
            for (size_t h = 0; h < n_heads; h++) {
                double *head = v->var + row * v->cols + h * head_dim;
                const double a = head[first], b = head[second];
                head[first] = a * c * c + b * s * s;
                head[second] = a * s * s + b * c * c;
            }
        }
    for (size_t i = 0; i < p->rows * v->cols; i++) p->local[i] *= 16 * REF_U;
    add_local(p, v);
}

/* A function of one argument, its slope, and a bound on its own error in units of u, relative to
 * its value: 8 ulp, and what the exponential adds. */
struct curve {
    double y, slope, noise;
};

/* y = x t with t = 1/(1 + exp(-x)). noise: the exponential's error grows with |x| (2 |x| ulp where
 * the device promises least) and so does that of the rounded x, both in proportion to 1 - t. */
static struct curve silu_curve(double x)
{
    const double t = ref_sigmoid(x);
    return (struct curve){ref_silu(x), t * (1 + x * (1 - t)), 16 + 5 * fabs(x) * (1 - t)};
}

/* y = x t with t = (1 + tanh q)/2 = 1/(1 + exp(-2 q)), q = sqrt(2/pi) (x + 0.044715 x^3). noise:
 * the exponential of 2 q and the rounding of x, which q feels three times at most. */
static struct curve gelu_curve(double x)
{
    const double a = 0.79788456080286535588, b = 0.044715;
    const double q = a * (x + b * x * x * x), t = ref_sigmoid(2 * q);
    const double q_slope = a * (1 + 3 * b * x * x);
    return (struct curve){ref_gelu(x), t + x * t * (1 - t) * 2 * q_slope,
                          16 + 16 * fabs(q) * (1 - t)};
}

/* y = f(g) up: dy = f'(g) up dg + f(g) dup. */
static void activate_gated(struct ref_pass *p, struct curve (*f)(double), const struct ref_vals *up,
                           struct ref_vals *gate)
{
    for (size_t i = 0; i < p->rows * gate->cols; i++) {
        const struct curve c = f(gate->x[i]);
        const double y = c.y * up->x[i], d_gate = c.slope * up->x[i];
        gate->x[i] = y;
        if (!p->track) continue;
        const double local = REF_U * fabs(y) * c.noise;
        p->local[i] = local;
        gate->var[i] = d_gate * d_gate * gate->var[i] + c.y * c.y * up->var[i] + local * local;
    }
}

static void activate_plain(struct ref_pass *p, struct curve (*f)(double), struct ref_vals *v)
{
    for (size_t i = 0; i < p->rows * v->cols; i++) {
        const struct curve c = f(v->x[i]);
        v->x[i] = c.y;
        if (!p->track) continue;
        p->local[i] = REF_U * fabs(c.y) * c.noise;
        v->var[i] = c.slope * c.slope * v->var[i] + p->local[i] * p->local[i];
    }
}

/* y = s(g) (u + 1) with s(g) = g / (1 + exp(-1.702 g)) = silu(1.702 g) / 1.702, g = min(gate, 7),
 * u = clamp(up, -7, 7). Beyond a bound by more than its error a value has no effect. local: as for
 * SiLU, and 2 u |s| for the sum u + 1 and its rounded terms, which may cancel. */
static void activate_clamped(struct ref_pass *p, const struct ref_vals *up, struct ref_vals *gate)
{
    for (size_t i = 0; i < p->rows * gate->cols; i++) {
        const double raw = gate->x[i], g = fmin(raw, 7), u = fmin(fmax(up->x[i], -7), 7);
        gate->x[i] = ref_clamped_swiglu(raw, up->x[i]);
        if (!p->track) continue;
        const struct curve c = silu_curve(1.702 * g);
        const bool g_moves = raw <= 7 + sqrt(gate->var[i]);
        const bool u_moves = fabs(up->x[i]) <= 7 + sqrt(up->var[i]);
        const double d_gate = g_moves ? c.slope * (u + 1) : 0, s = c.y / 1.702;
        const double local = REF_U * (fabs(gate->x[i]) * c.noise + 2 * fabs(s) * (fabs(u) + 1));
        p->local[i] = local;
        gate->var[i] =
            d_gate * d_gate * gate->var[i] + (u_moves ? s * s * up->var[i] : 0) + local * local;
    }
}

void ref_pass_activate(struct ref_pass *p, enum ref_activation act, struct ref_vals *up,
                       struct ref_vals *gate)
{
    struct curve (*f)(double) = act == REF_ACT_GELU ? gelu_curve : silu_curve;
    if (!gate)
        activate_plain(p, f, up);
    else if (act == REF_ACT_CLAMPED)
        activate_clamped(p, up, gate);
    else
        activate_gated(p, f, up, gate);
}

/* One rounding of the sum, u |y|, and of either term: 2 u (|a| + |b|) at worst. local is twice
 * that, for a worst case that happens is no reason for concern. A factor has room in it. */
void ref_pass_add(struct ref_pass *p, const struct ref_vals *what, double factor,
                  struct ref_vals *to)
{
    for (size_t i = 0; i < p->rows * to->cols; i++) {
        const double a = factor * what->x[i], b = to->x[i];
        to->x[i] = a + b;
        if (!p->track) continue;
        p->local[i] = (factor == 1 ? 4 : 8) * REF_U * (fabs(a) + fabs(b));
        to->var[i] += factor * factor * what->var[i] + p->local[i] * p->local[i];
    }
}

/* Roundings of the factor, of the argument and of the product: 3 u |y|, at eight times in squares;
 * a factor that the engine computes (a logarithm) has room in it. */
void ref_pass_scale_row(struct ref_pass *p, size_t row, double factor, struct ref_vals *v)
{
    for (size_t i = row * v->cols; i < (row + 1) * v->cols; i++) {
        v->x[i] *= factor;
        if (!p->track) continue;
        const double own = 8 * REF_U * fabs(v->x[i]);
        p->local[i] = hypot(p->local[i] * factor, own);
        v->var[i] = v->var[i] * factor * factor + own * own;
    }
}

void ref_pass_scale(struct ref_pass *p, double factor, struct ref_vals *v)
{
    for (size_t row = 0; row < p->rows; row++) ref_pass_scale_row(p, row, factor, v);
}

void ref_pass_cap(struct ref_pass *p, double cap, struct ref_vals *v)
{
    for (size_t i = 0; i < p->rows * v->cols; i++) {
        const double t = tanh(v->x[i] / cap), slope = 1 - t * t;
        v->x[i] = cap * t;
        if (!p->track) continue;
        const double own = ref_cap_local(cap);
        p->local[i] = hypot(p->local[i] * slope, own);
        v->var[i] = v->var[i] * slope * slope + own * own;
    }
}

void ref_pass_copy(struct ref_pass *p, const struct ref_vals *in, struct ref_columns from,
                   struct ref_vals *out, struct ref_columns to)
{
    const size_t size = from.n * sizeof(double);
    for (size_t row = 0; row < p->rows; row++)
        for (size_t g = 0; g < to.n_groups; g++) {
            const size_t source = row * in->cols + from.first + g % from.n_groups * from.stride;
            const size_t place = row * out->cols + to.first + g * to.stride;
            memcpy(out->x + place, in->x + source, size);
            if (p->track) memcpy(out->var + place, in->var + source, size);
        }
}
