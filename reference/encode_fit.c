/* The least-squares search for types without an offset, y = d * sc * level. */
#include "reference/encode_priv.h"

#include <math.h>
#include <string.h>

const float ref_enc_fp4[15] = {-12, -8, -6, -4, -3, -2, -1, 0, 1, 2, 3, 4, 6, 8, 12};
const float ref_enc_iq4[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                               1,    13,   25,  38,  53,  69,  89,  113};

bool ref_enc_load(struct enc_block *b, const float *x, const float *weight, size_t n)
{
    float top = 0, top_w = 0;
    for (size_t i = 0; i < n; i++) {
        top = fabsf(x[i]) > top ? fabsf(x[i]) : top;
        if (weight && weight[i] > top_w) top_w = weight[i];
    }
    if (!(top > 0)) return false;
    b->n = n;
    b->shift = ilogbf(top);
    /* Two steps, since 2^-shift of a subnormal block does not fit a float. */
    float half = ldexpf(1, -b->shift / 2), rest = ldexpf(1, -b->shift - -b->shift / 2);
    for (size_t i = 0; i < n; i++) {
        b->x[i] = x[i] * half * rest;
        b->w[i] = top_w > 0 && weight[i] > 0 ? weight[i] / top_w : top_w > 0 ? 0 : 1;
    }
    return true;
}

uint16_t ref_enc_f16(double d, int shift)
{
    double v = ldexp(d, shift);
    if (v > 65504) v = 65504;
    if (v < -65504) v = -65504;
    return ref_f32_to_f16((float)v);
}

double ref_enc_f16_value(uint16_t bits, int shift)
{
    return ldexp((double)ref_f16_to_f32(bits), -shift);
}

double ref_enc_error(const float *x, const float *w, const float *level, double scale, size_t n)
{
    double acc[8] = {0};
    for (size_t i = 0; i < n; i += 8) {
        for (size_t j = 0; j < 8; j++) {
            double diff = (double)x[i + j] - scale * (double)level[i + j];
            acc[j] += (double)w[i + j] * diff * diff;
        }
    }
    return enc_lanes_sum(acc);
}

void ref_enc_sums(const float *x, const float *w, const float *level, size_t n, double *num,
                  double *den)
{
    double a[8] = {0}, b[8] = {0};
    for (size_t i = 0; i < n; i += 8) {
        for (size_t j = 0; j < 8; j++) {
            double wl = (double)w[i + j] * (double)level[i + j];
            a[j] += wl * (double)x[i + j];
            b[j] += wl * (double)level[i + j];
        }
    }
    *num = enc_lanes_sum(a);
    *den = enc_lanes_sum(b);
}

void ref_enc_nearest_int(const struct enc_form *f, const float *x, const float *w, float inv,
                         float *level)
{
    (void)w;
    const float magic = 12582912.0f; /* 1.5 * 2^23: adding it leaves no fraction bits */
    for (size_t i = 0; i < f->len; i++) {
        float v = x[i] * inv;
        v = v < f->lo ? f->lo : v;
        v = v > f->hi ? f->hi : v;
        level[i] = (v + magic) - magic;
    }
}

void ref_enc_nearest_table(const struct enc_form *f, const float *x, const float *w, float inv,
                           float *level)
{
    (void)w;
    for (size_t i = 0; i < f->len; i++) level[i] = f->table[0];
    for (int k = 1; k < f->n_table; k++) {
        float middle = 0.5f * (f->table[k - 1] + f->table[k]);
        float value = f->table[k];
        for (size_t i = 0; i < f->len; i++) level[i] = x[i] * inv > middle ? value : level[i];
    }
}

int ref_enc_table_index(const float *table, int n, float level)
{
    int k = 0;
    while (k + 1 < n && table[k] < level) k++;
    return k;
}

static float inverse(double scale)
{
    return fabs(scale) > 1e-30 ? (float)(1 / scale) : 0;
}

/* The scale that suits one sub-block best, nothing else considered: guesses, each followed by the
 * least-squares scale of the levels that it leads to; the best one is iterated. */
static double best_scale(const struct enc_form *f, const float *x, const float *w)
{
    float top = 0, level[ENC_MAX];
    for (size_t i = 0; i < f->len; i++) top = fabsf(x[i]) > top ? fabsf(x[i]) : top;
    if (!(top > 0)) return 0;
    double best = 0, best_gain = 0, num, den;
    for (int negative = 0; negative <= (f->both_signs ? 1 : 0); negative++) {
        double inv = (double)(f->top * f->reach / top) * (negative ? -1 : 1);
        for (int k = 0; k < f->n_guess; k++, inv *= (double)f->growth) {
            f->nearest(f, x, w, (float)inv, level);
            ref_enc_sums(x, w, level, f->len, &num, &den);
            if (!(den > 0) || (num <= 0) != (negative == 1)) continue;
            if (num * num / den > best_gain) {
                best_gain = num * num / den;
                best = num / den;
            }
        }
    }
    for (int k = 0; k < 3 && best_gain > 0; k++) {
        f->nearest(f, x, w, inverse(best), level);
        ref_enc_sums(x, w, level, f->len, &num, &den);
        if (!(den > 0) || !(num * num / den > best_gain * (1 + 1e-9)) || num * best <= 0) break;
        best_gain = num * num / den;
        best = num / den;
    }
    return best;
}

static int nearest_sc(const struct enc_form *f, double ratio)
{
    double last = (f->sc_hi - f->sc_lo) / f->sc_step;
    double k = floor((ratio - f->sc_lo) / f->sc_step + 0.5);
    k = k < 0 ? 0 : k > last ? last : k;
    return f->sc_lo + f->sc_step * (int)k;
}

struct trial {
    double error;
    struct enc_fit fit;
};

/* Completes a trial whose d is set: for each sub-block the best of the scales within `spread`
 * steps around sc0. */
static void complete(const struct enc_form *f, const struct enc_block *b, const int *sc0,
                     int spread, struct trial *t)
{
    double d = ref_enc_f16_value(t->fit.d, b->shift - f->unit);
    t->error = 0;
    for (size_t s = 0; s < f->n_sub; s++) {
        const float *x = b->x + s * f->len, *w = b->w + s * f->len;
        float level[ENC_MAX];
        double best = INFINITY;
        for (int k = -spread; k <= spread; k++) {
            int sc = sc0[s] + k * f->sc_step;
            if (sc < f->sc_lo || sc > f->sc_hi) continue;
            f->nearest(f, x, w, inverse(d * sc), level);
            double error = ref_enc_error(x, w, level, d * sc, f->len);
            if (!(error < best)) continue;
            best = error;
            t->fit.sc[s] = sc;
            memcpy(t->fit.level + s * f->len, level, f->len * sizeof *level);
        }
        t->error += best;
    }
}

/* The d that suits the scales and levels of a fit. */
static double best_d(const struct enc_form *f, const struct enc_block *b, const struct enc_fit *fit)
{
    double num = 0, den = 0;
    for (size_t s = 0; s < f->n_sub; s++) {
        double n, d;
        size_t at = s * f->len;
        ref_enc_sums(b->x + at, b->w + at, fit->level + at, f->len, &n, &d);
        num += n * fit->sc[s];
        den += d * fit->sc[s] * fit->sc[s];
    }
    return den > 0 ? num / den : 0;
}

void ref_enc_fit(const struct enc_form *f, const struct enc_block *b, struct enc_fit *out)
{
    double scale[ENC_SUBS], top = 0;
    for (size_t s = 0; s < f->n_sub; s++) {
        scale[s] = best_scale(f, b->x + s * f->len, b->w + s * f->len);
        if (fabs(scale[s]) > fabs(top)) top = scale[s];
    }
    struct trial best = {.error = INFINITY}, t;
    int sc0[ENC_SUBS];
    /* The largest scale may be at either end of the integers, or a little inside or outside. */
    static const double places[] = {1, 0.96, 0.92, 0.87, 1.06, 1.14};
    size_t n_places = f->n_sub > 1 ? sizeof places / sizeof *places : 1;
    for (int end = 0; end <= (f->sc_lo < 0 ? 1 : 0); end++) {
        for (size_t k = 0; k < n_places; k++) {
            double d = top / ((end ? f->sc_lo : f->sc_hi) * places[k]);
            t.fit.d = ref_enc_f16(d, b->shift - f->unit);
            d = ref_enc_f16_value(t.fit.d, b->shift - f->unit);
            for (size_t s = 0; s < f->n_sub; s++)
                sc0[s] = d != 0 ? nearest_sc(f, scale[s] / d) : f->sc_lo;
            complete(f, b, sc0, 0, &t);
            if (t.error < best.error) best = t;
        }
    }
    for (int round = 0; round < 3; round++) {
        t = best;
        t.fit.d = ref_enc_f16(best_d(f, b, &best.fit), b->shift - f->unit);
        memcpy(sc0, best.fit.sc, sizeof sc0);
        complete(f, b, sc0, f->n_sub > 1 ? 1 : 0, &t);
        if (!(t.error < best.error)) break;
        best = t;
    }
    *out = best.fit;
}

void ref_enc_blocks(const struct enc_form *f, size_t block_bytes, const float *x, size_t n,
                    const float *weight, uint8_t *out,
                    void (*put)(const struct enc_fit *fit, uint8_t *p))
{
    size_t len = f->n_sub * f->len;
    for (size_t i = 0; i < n; i += len, out += block_bytes) {
        struct enc_block b;
        struct enc_fit fit;
        memset(out, 0, block_bytes);
        if (!ref_enc_load(&b, x + i, weight ? weight + i : NULL, len)) continue;
        ref_enc_fit(f, &b, &fit);
        put(&fit, out);
    }
}
