/* Angles of rotary position embeddings. YaRN: Peng et al., arXiv 2309.00071. */
#include "engine/model/rope_table.h"

#include <math.h>

/* Pair whose wavelength makes `turns` turns within the original context. */
static double yarn_pair(const struct rope_params *r, double turns)
{
    const double two_pi = 6.283185307179586476925286766559;
    return r->n_dims * log(r->n_ctx_orig / (turns * two_pi)) / (2.0 * log(r->freq_base));
}

/* How much of pair p is extrapolated: 1 for fast pairs, falling to 0 between low and high. */
static double yarn_mix(const struct rope_params *r, uint32_t p, double low, double high)
{
    double width = high - low;
    if (width < 0.001) width = 0.001;
    double y = ((double)p - low) / width;
    if (y < 0.0) y = 0.0;
    if (y > 1.0) y = 1.0;
    return (1.0 - y) * r->ext_factor;
}

enum status rope_table_init(struct rope_table *t, const struct rope_params *r, const float *factors,
                            struct arena *a, struct err *e)
{
    t->n_pairs = r->n_dims / 2;
    t->magnitude = r->magnitude;
    t->rate = arena_alloc(a, t->n_pairs, sizeof *t->rate);
    if (!t->rate) return fail(e, ST_NOMEM, "out of memory for the RoPE table");

    double low = 0.0, high = 0.0;
    if (r->ext_factor != 0.0) {
        low = fmax(0.0, floor(yarn_pair(r, r->beta_fast)));
        high = fmin((double)r->n_dims - 1.0, ceil(yarn_pair(r, r->beta_slow)));
    }
    for (uint32_t p = 0; p < t->n_pairs; p++) {
        double extrapolated = pow(r->freq_base, -2.0 * p / r->n_dims);
        if (factors) extrapolated /= (double)factors[p];
        double mix = r->ext_factor != 0.0 ? yarn_mix(r, p, low, high) : 0.0;
        t->rate[p] = extrapolated * (r->freq_scale * (1.0 - mix) + mix);
        if (!isfinite(t->rate[p]))
            return fail(e, ST_FORMAT,
                        "RoPE: the frequency of pair %u is not finite (base %g, "
                        "scale %g, factor %g)",
                        p, r->freq_base, r->freq_scale, factors ? (double)factors[p] : 1.0);
    }
    return ST_OK;
}

void rope_table_fill(const struct rope_table *t, const int32_t *pos, size_t n, float *out)
{
    for (size_t i = 0; i < n; i++) {
        for (uint32_t p = 0; p < t->n_pairs; p++) {
            double theta = pos[i] * t->rate[p];
            *out++ = (float)(cos(theta) * t->magnitude);
            *out++ = (float)(sin(theta) * t->magnitude);
        }
    }
}
