/* Rotary position embedding: angles in double, rotation in place. */
#include "reference/ops_priv.h"

#include <math.h>

#define PI 3.14159265358979323846

/* The pair that turns `turns` times over the original context (YaRN, arXiv 2309.00071, eq. 17),
 * as a real number. */
static double yarn_pair(const struct ref_rope *r, double turns)
{
    return r->n_dims * log(r->n_ctx_orig / (turns * 2 * PI)) / (2 * log(r->freq_base));
}

/* How much of pair p is extrapolated: 1 below the fast bound, 0 above the slow one. */
static double yarn_mix(const struct ref_rope *r, uint32_t pair)
{
    const double low = fmax(0, floor(yarn_pair(r, r->beta_fast)));
    const double high = fmin(r->n_dims - 1.0, ceil(yarn_pair(r, r->beta_slow)));
    const double ramp = (pair - low) / fmax(0.001, high - low);
    return (1 - fmin(1, fmax(0, ramp))) * r->ext_factor;
}

void ref_rope_angle(const struct ref_rope *r, int64_t pos, uint32_t pair, double *c, double *s)
{
    const double factor = r->factors ? (double)r->factors[pair] : 1;
    const double extrapolated = (double)pos * pow(r->freq_base, -2.0 * pair / r->n_dims) / factor;
    double theta = r->freq_scale * extrapolated;
    if (r->ext_factor != 0) {
        const double mix = yarn_mix(r, pair);
        theta = theta * (1 - mix) + extrapolated * mix;
    }
    *c = cos(theta) * r->magnitude;
    *s = sin(theta) * r->magnitude;
}

void ref_rope_pair(const struct ref_rope *r, uint32_t pair, size_t *first, size_t *second)
{
    *first = r->pairing == REF_ROPE_NORM ? 2 * (size_t)pair : pair;
    *second = r->pairing == REF_ROPE_NORM ? *first + 1 : *first + r->n_dims / 2;
}

/* One token: the angles are the same for all its heads. */
static void rope_token(const struct ref_rope *r, double *x, int32_t pos, size_t n_heads,
                       size_t head_dim, double *mag)
{
    for (uint32_t p = 0; p < r->n_dims / 2; p++) {
        size_t first, second;
        double c, s;
        ref_rope_pair(r, p, &first, &second);
        ref_rope_angle(r, pos, p, &c, &s);
        for (size_t h = 0; h < n_heads; h++) {
            double *a = x + h * head_dim + first, *b = x + h * head_dim + second;
            const double ac = *a * c, as = *a * s, bc = *b * c, bs = *b * s;
            *a = ac - bs;
            *b = as + bc;
            if (!mag) continue;
            mag[h * head_dim + first] = fabs(ac) + fabs(bs);
            mag[h * head_dim + second] = fabs(as) + fabs(bc);
        }
    }
    for (size_t h = 0; mag && h < n_heads; h++)
        for (size_t i = r->n_dims; i < head_dim; i++)
            mag[h * head_dim + i] = fabs(x[h * head_dim + i]);
}

void ref_rope(const struct ref_rope *r, double *x, const int32_t *pos, size_t n_tokens,
              size_t n_heads, size_t head_dim, double *mag)
{
    const size_t width = n_heads * head_dim;
    for (size_t t = 0; t < n_tokens; t++)
        rope_token(r, x + t * width, pos[t], n_heads, head_dim, mag ? mag + t * width : NULL);
}
