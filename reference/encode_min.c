/* The least-squares search for types with an offset, y = d * sc * q - m * mn. */
#include "reference/encode_priv.h"

#include <math.h>
#include <string.h>

/* q = the integers nearest to (x + m) / d, held in 0..q_max. */
static void nearest_q(const float *x, size_t n, double d, double m, int q_max, float *q)
{
    const float magic = 12582912.0f;
    float inv = fabs(d) > 1e-30 ? (float)(1 / d) : 0;
    float offset = (float)m, top = (float)q_max;
    for (size_t i = 0; i < n; i++) {
        float v = (x[i] + offset) * inv;
        v = v < 0 ? 0 : v;
        v = v > top ? top : v;
        q[i] = (v + magic) - magic;
    }
}

static double error_of(const float *x, const float *w, const float *q, double d, double m, size_t n)
{
    double acc[8] = {0};
    for (size_t i = 0; i < n; i += 8) {
        for (size_t j = 0; j < 8; j++) {
            double diff = (double)x[i + j] - (d * (double)q[i + j] - m);
            acc[j] += (double)w[i + j] * diff * diff;
        }
    }
    return enc_lanes_sum(acc);
}

/* Moments of one sub-block: sums of w, w q, w q^2, w x, w x q. */
struct moments {
    double w, wq, wqq, wx, wxq;
};

static struct moments moments_of(const float *x, const float *w, const float *q, size_t n)
{
    double a[8] = {0}, b[8] = {0}, c[8] = {0}, d[8] = {0}, e[8] = {0};
    for (size_t i = 0; i < n; i += 8) {
        for (size_t j = 0; j < 8; j++) {
            double wi = (double)w[i + j], qi = (double)q[i + j], xi = (double)x[i + j];
            a[j] += wi;
            b[j] += wi * qi;
            c[j] += wi * qi * qi;
            d[j] += wi * xi;
            e[j] += wi * xi * qi;
        }
    }
    return (struct moments){enc_lanes_sum(a), enc_lanes_sum(b), enc_lanes_sum(c), enc_lanes_sum(d),
                            enc_lanes_sum(e)};
}

/* Least squares for x = d q - m; m >= 0 and d >= 0 when `positive`. False if nothing is to be had
 * from these q. */
static bool solve(const struct moments *s, bool positive, double *d, double *m)
{
    double det = s->w * s->wqq - s->wq * s->wq;
    bool line = det > 1e-12 * s->w * s->wqq; /* else all q are equal */
    if (line) {
        *d = (s->w * s->wxq - s->wx * s->wq) / det;
        *m = (s->wq * s->wxq - s->wqq * s->wx) / det;
    }
    if (positive && s->wqq > 0 && (!line || *m < 0)) {
        *m = 0;
        *d = s->wxq / s->wqq;
        line = true;
    }
    return line && (!positive || *d >= 0);
}

/* d and m that suit one sub-block best. */
static void best_line(const struct enc_min_form *f, const float *x, const float *w, double *best_d,
                      double *best_m)
{
    bool positive = f->sc_max > 0;
    float lo = x[0], hi = x[0], q[ENC_MAX];
    for (size_t i = 1; i < f->len; i++) {
        lo = x[i] < lo ? x[i] : lo;
        hi = x[i] > hi ? x[i] : hi;
    }
    if (positive && lo > 0) lo = 0;
    *best_d = 0;
    *best_m = -(double)lo;
    if (!(hi > lo)) return;
    double best = INFINITY, step = (double)(f->reach_hi - f->reach_lo) / (f->n_guess - 1);
    for (int k = 0; k < f->n_guess; k++) {
        double inv = f->q_max * ((double)f->reach_lo + step * k) / ((double)hi - (double)lo);
        /* Half of what does not fit is cut off at each end, unless the lower end is zero. */
        double cut = lo < 0 ? 0.5 * (((double)hi - (double)lo) - f->q_max / inv) : 0;
        double d = 1 / inv, m = -(double)lo - (cut > 0 ? cut : 0);
        for (int turn = 0; turn < 2; turn++) {
            nearest_q(x, f->len, d, m, f->q_max, q);
            struct moments s = moments_of(x, w, q, f->len);
            if (!solve(&s, positive, &d, &m)) break;
            double error = error_of(x, w, q, d, m, f->len);
            if (!(error < best)) break;
            best = error;
            *best_d = d;
            *best_m = m;
        }
    }
}

struct trial {
    double error;
    struct enc_min_fit fit;
};

static int clamp_sc(double v, int top)
{
    return v < 0 ? 0 : v > top ? top : (int)(v + 0.5);
}

/* Completes a trial whose d and m are set: the best integers within `spread` around sc0, mn0. */
static void complete(const struct enc_min_form *f, const struct enc_block *b, const int *sc0,
                     const int *mn0, int spread, struct trial *t)
{
    double d = ref_enc_f16_value(t->fit.d, b->shift), m = ref_enc_f16_value(t->fit.m, b->shift);
    int top = f->sc_max > 0 ? f->sc_max : 1;
    t->error = 0;
    for (size_t s = 0; s < f->n_sub; s++) {
        const float *x = b->x + s * f->len, *w = b->w + s * f->len;
        float q[ENC_MAX];
        double best = INFINITY;
        for (int k = 0; k < (2 * spread + 1) * (2 * spread + 1); k++) {
            int sc = sc0[s] + k % (2 * spread + 1) - spread;
            int mn = mn0[s] + k / (2 * spread + 1) - spread;
            if (sc < 0 || sc > top || mn < 0 || mn > top) continue;
            nearest_q(x, f->len, d * sc, m * mn, f->q_max, q);
            double error = error_of(x, w, q, d * sc, m * mn, f->len);
            if (!(error < best)) continue;
            best = error;
            t->fit.sc[s] = sc;
            t->fit.mn[s] = mn;
            memcpy(t->fit.q + s * f->len, q, f->len * sizeof *q);
        }
        t->error += best;
    }
}

/* The d and m that suit the integers of a fit; what cannot be told apart stays. */
static void refit(const struct enc_min_form *f, const struct enc_block *b, struct enc_min_fit *fit)
{
    double aa = 0, ab = 0, bb = 0, xa = 0, xb = 0; /* x = d A - m B, A = sc q, B = mn */
    for (size_t s = 0; s < f->n_sub; s++) {
        size_t at = s * f->len;
        struct moments k = moments_of(b->x + at, b->w + at, fit->q + at, f->len);
        double sc = fit->sc[s], mn = fit->mn[s];
        aa += sc * sc * k.wqq;
        ab += sc * mn * k.wq;
        bb += mn * mn * k.w;
        xa += sc * k.wxq;
        xb += mn * k.wx;
    }
    double det = aa * bb - ab * ab;
    if (det > 1e-12 * aa * bb) {
        fit->d = ref_enc_f16((bb * xa - ab * xb) / det, b->shift);
        fit->m = ref_enc_f16((ab * xa - aa * xb) / det, b->shift);
    } else if (aa > 0 && !(bb > 0)) {
        fit->d = ref_enc_f16(xa / aa, b->shift);
    } else if (bb > 0 && !(aa > 0)) {
        fit->m = ref_enc_f16(-xb / bb, b->shift); /* d may have been too small for binary16 */
    }
}

void ref_enc_min_fit(const struct enc_min_form *f, const struct enc_block *b,
                     struct enc_min_fit *out)
{
    double line_d[ENC_SUBS], line_m[ENC_SUBS], top_d = 0, top_m = 0;
    for (size_t s = 0; s < f->n_sub; s++) {
        best_line(f, b->x + s * f->len, b->w + s * f->len, &line_d[s], &line_m[s]);
        top_d = line_d[s] > top_d ? line_d[s] : top_d;
        top_m = line_m[s] > top_m ? line_m[s] : top_m;
    }
    struct trial best = {.error = INFINITY}, t;
    int sc0[ENC_SUBS], mn0[ENC_SUBS];
    static const double places[] = {1, 0.95, 0.9, 1.06};
    int n_places = f->sc_max > 0 ? 4 : 1, spread = f->sc_max > 0 ? 1 : 0;
    int sc_max = f->sc_max > 0 ? f->sc_max : 1;
    for (int k = 0; k < n_places * n_places; k++) {
        t.fit.d = ref_enc_f16((f->sc_max > 0 ? top_d : line_d[0]) / (sc_max * places[k % n_places]),
                              b->shift);
        t.fit.m = ref_enc_f16((f->sc_max > 0 ? top_m : line_m[0]) / (sc_max * places[k / n_places]),
                              b->shift);
        double d = ref_enc_f16_value(t.fit.d, b->shift), m = ref_enc_f16_value(t.fit.m, b->shift);
        for (size_t s = 0; s < f->n_sub; s++) {
            sc0[s] = f->sc_max > 0 ? (d > 0 ? clamp_sc(line_d[s] / d, sc_max) : 0) : 1;
            mn0[s] = f->sc_max > 0 ? (m > 0 ? clamp_sc(line_m[s] / m, sc_max) : 0) : 1;
        }
        complete(f, b, sc0, mn0, 0, &t);
        if (t.error < best.error) best = t;
    }
    for (int round = 0; round < 3; round++) {
        t = best;
        if (round > 0 || spread == 0) refit(f, b, &t.fit);
        memcpy(sc0, best.fit.sc, sizeof sc0);
        memcpy(mn0, best.fit.mn, sizeof mn0);
        complete(f, b, sc0, mn0, spread, &t);
        if (!(t.error < best.error)) break;
        best = t;
    }
    *out = best.fit;
}
