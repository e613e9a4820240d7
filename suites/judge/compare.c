/* Judging results: the only place where an error is compared with a bound.
 *
 * u = 2^-24, the unit roundoff of binary32. For a sum of n products, each rounded, in any order:
 *   |err| <= gamma_n M, M = sum |a_k b_k|         (Higham, Accuracy and Stability, sec. 3.1)
 *   |err| <= lambda sqrt(n) u M with overwhelming probability for lambda = 8
 *                                                 (Higham & Mary, SIAM J. Sci. Comput. 2019)
 * The bound of a case is the smaller of the two: the first one for short sums, the second for
 * long ones, where n u leaves orders of magnitude in which a defect could hide.
 */
#include "judge/compare.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const double U32 = 0x1p-24; /* unit roundoff of binary32 */
/* What one rounding may cost near zero: half the smallest subnormal and more, or, on a device that may
 * flush subnormals, the smallest normal number. */
static const double TINY = 0x1p-149, FLUSHED = 0x1p-126;
static const double MARGINAL = 0.5; /* share of the bound from which a pass is marginal */

/* Of terms that are all zero: these are exact. */
static bool is_exact(enum tol_class cls, double mag)
{
    return cls == TOL_EXACT || (mag == 0 && (cls == TOL_DOT || cls == TOL_REDUCE));
}

static double hard(enum tol_class cls, double want, double mag, size_t n, double tiny)
{
    if (is_exact(cls, mag)) return 0;
    switch (cls) {
    case TOL_EXACT:
        return 0;
    case TOL_DOT:
        return ((double)n + 2) * (U32 * mag + tiny);
    case TOL_REDUCE:
        return ((double)n + 8) * (U32 * mag + tiny);
    case TOL_ULP2:
    case TOL_ULP8: {
        double ulp = fabs(want) < FLT_MIN ? tiny : ldexp(1, ilogb(want) - 23);
        return (cls == TOL_ULP2 ? 2 : 8) * ulp + mag;
    }
    case TOL_DIST:
        return INFINITY;
    }
    return 0;
}

static double marginal(enum tol_class cls, double want, double mag, size_t n, double tiny)
{
    double root = sqrt((double)n), sure = hard(cls, want, mag, n, tiny);
    if (is_exact(cls, mag)) return 0;
    if (cls == TOL_DOT) return fmin(sure, 8 * root * (U32 * mag + tiny));
    if (cls == TOL_REDUCE) return fmin(sure, (root / 2 + 8) * (U32 * mag + tiny));
    return sure;
}

double bound_hard(enum tol_class cls, double want, double mag, size_t n)
{
    return hard(cls, want, mag, n, TINY);
}

double bound_marginal(enum tol_class cls, double want, double mag, size_t n)
{
    return marginal(cls, want, mag, n, TINY);
}

/* Error of one element against its bound: 0 when equal (infinities and NaN included), infinite
 * when one side is not finite and the other is not the same. */
static double element_error(float got, double want)
{
    if (isnan(want)) return isnan(got) ? 0 : INFINITY;
    if (isinf(want) || isinf(got)) return (double)got == want ? 0 : INFINITY;
    double err = fabs((double)got - want);
    return isnan(err) ? INFINITY : err;
}

static void worsen(struct case_result *r, enum case_status st)
{
    if (r->status == CASE_PASS || (r->status == CASE_MARGINAL && st == CASE_FAIL)) r->status = st;
}

/* The three verdicts of one comparison as they grow, element after element. */
struct tally {
    struct case_result *r;
    const struct axes *axes;
    uint8_t *flags;
    size_t i, cols;
    size_t bad, not_finite, not_written;
    double errors, bounds, wants; /* sums of squares of the row so far */
    double fourths;               /* sum of the fourth powers of its bounds */
    size_t bad_rows, worst_row;
    double worst_excess, worst_limit; /* of the row that exceeds its limit most */
};

static struct tally tally_start(struct case_result *r, size_t rows, size_t cols)
{
    return (struct tally){.r = r, .flags = calloc(rows * cols + 1, 1), .cols = cols};
}

static void note_nmse(struct case_result *r, double nmse)
{
    if (isnan(r->nmse_worst_row) || !(nmse <= r->nmse_worst_row)) r->nmse_worst_row = nmse;
}

/* The share of the bound that the errors of a row may use, as rms. Of few elements, one may lie near its
 * bound; the rms of many may not. Those count that carry the bound: of a softmax, often one. */
static double row_share(const struct tally *t)
{
    return t->bounds * t->bounds < 16 * t->fourths ? 0.5 : 0.25;
}

/* The errors of a row, as NMSE, against the limit that their bounds give: rounding errors lie far
 * below their bounds, so many that come near are a fault even if none is over. The reference's
 * energy is the denominator; a row of zeros has none, and its bounds are those of zeros. */
static void tally_row(struct tally *t)
{
    const double share = row_share(t), limit = share * share * t->bounds;
    note_nmse(t->r, t->errors == 0 ? 0 : t->errors / t->wants);
    if (!(t->errors <= limit)) {
        double excess = limit > 0 ? t->errors / limit : INFINITY;
        if (t->bad_rows++ == 0 || excess > t->worst_excess) {
            t->worst_row = (t->i - 1) / t->cols;
            t->worst_excess = excess;
            t->worst_limit = limit / t->wants;
        }
    }
    t->errors = t->bounds = t->fourths = t->wants = 0;
}

static void tally_element(struct tally *t, double err, double bound, double want)
{
    double used = err == 0 ? 0 : err / bound;
    if (!(used <= t->r->used)) {
        t->r->used = isnan(used) ? INFINITY : used;
        t->r->error = err;
        t->r->bound = bound;
    }
    if (!(err <= bound)) {
        t->bad++;
        if (t->r->bad++ == 0) t->r->first_bad = t->i;
        if (t->flags) t->flags[t->i] = 1;
    }
    t->errors += err * err;
    t->bounds += bound * bound;
    t->fourths += bound * bound * bound * bound;
    t->wants += isfinite(want) ? want * want : 0;
    if (++t->i % t->cols == 0) tally_row(t);
}

static uint32_t bits_of(float x)
{
    uint32_t b;
    memcpy(&b, &x, sizeof b);
    return b;
}

/* What a value over its bound looks like. */
static void tally_value(struct tally *t, float got, size_t bad_before)
{
    if (t->bad == bad_before) return;
    bool poison = bits_of(got) == COMPARE_POISON;
    t->not_written += poison;
    t->not_finite += !poison && !isfinite(got);
}

static void describe_bad(const struct tally *t, size_t rows, size_t cols)
{
    char *out = t->r->pattern;
    size_t cap = sizeof t->r->pattern, at;
    describe_axes(t->flags, rows, cols, t->axes, out, cap);
    at = strlen(out);
    if (t->not_written) snprintf(out + at, cap - at, "; %zu never written", t->not_written);
    at = strlen(out);
    if (t->not_finite) snprintf(out + at, cap - at, "; %zu not finite", t->not_finite);
}

static void tally_finish(struct tally *t, size_t rows, size_t cols)
{
    struct case_result *r = t->r;
    const char *row = t->axes ? t->axes->row : "row";
    r->total += rows * cols;
    if (t->bad && t->flags) describe_bad(t, rows, cols);
    if (t->bad == 0 && t->bad_rows && !*r->message)
        snprintf(r->message, sizeof r->message,
                 "the errors of %zu of %zu %ss are each within their bounds, but too many at once: "
                 "the NMSE of %s %zu is %.3g times its limit of %.3g",
                 t->bad_rows, rows, row, row, t->worst_row, t->worst_excess, t->worst_limit);
    if (r->bad || t->bad_rows)
        worsen(r, CASE_FAIL);
    else if (!(r->used <= MARGINAL))
        worsen(r, CASE_MARGINAL);
    free(t->flags);
}

void compare(struct case_result *r, const struct comparison *c)
{
    struct tally t = tally_start(r, c->rows, c->cols);
    const double tiny = r->flushes ? FLUSHED : TINY;
    t.axes = c->axes;
    for (size_t i = 0; i < c->rows * c->cols; i++) {
        double want = c->want[i], err = element_error(c->got[i], want);
        size_t before = t.bad;
        if (c->cls == TOL_EXACT) err = element_error(c->got[i], (float)want);
        tally_element(&t, err, marginal(c->cls, want, c->mag ? c->mag[i] : 0, c->n, tiny), want);
        tally_value(&t, c->got[i], before);
    }
    tally_finish(&t, c->rows, c->cols);
}

void compare_within_on(struct case_result *r, const float *got, const double *want,
                       const double *bound, size_t rows, size_t cols, const struct axes *axes)
{
    struct tally t = tally_start(r, rows, cols);
    t.axes = axes;
    for (size_t i = 0; i < rows * cols; i++) {
        size_t before = t.bad;
        tally_element(&t, element_error(got[i], want[i]), bound[i], want[i]);
        tally_value(&t, got[i], before);
    }
    tally_finish(&t, rows, cols);
}

void compare_within(struct case_result *r, const float *got, const double *want,
                    const double *bound, size_t rows, size_t cols)
{
    compare_within_on(r, got, want, bound, rows, cols, NULL);
}

void compare_bits_on(struct case_result *r, const float *got, const float *want, size_t rows,
                     size_t cols, const struct axes *axes)
{
    struct tally t = tally_start(r, rows, cols);
    t.axes = axes;
    for (size_t i = 0; i < rows * cols; i++) {
        bool same = bits_of(got[i]) == bits_of(want[i]) || (isnan(got[i]) && isnan(want[i]));
        double err = element_error(got[i], want[i]);
        size_t before = t.bad;
        tally_element(&t, same ? 0 : err > 0 ? err : TINY, 0, want[i]);
        tally_value(&t, got[i], before);
    }
    tally_finish(&t, rows, cols);
}

void compare_bits(struct case_result *r, const float *got, const float *want, size_t rows,
                  size_t cols)
{
    compare_bits_on(r, got, want, rows, cols, NULL);
}

void compare_bytes(struct case_result *r, const void *got, const void *want, size_t n)
{
    const uint8_t *a = got, *b = want;
    struct tally t = tally_start(r, 1, n);
    for (size_t i = 0; i < n; i++) tally_element(&t, a[i] == b[i] ? 0 : abs(a[i] - b[i]), 0, b[i]);
    tally_finish(&t, 1, n);
}

double nmse_worst_row(const float *got, const double *want, size_t rows, size_t cols)
{
    double worst = 0;
    for (size_t row = 0; row < rows; row++) {
        double num = 0, den = 0;
        for (size_t i = row * cols; i < (row + 1) * cols; i++) {
            double err = element_error(got[i], want[i]);
            num += err * err;
            if (isfinite(want[i])) den += want[i] * want[i];
        }
        double nmse = num == 0 ? 0 : num / den;
        if (!(nmse <= worst)) worst = isnan(nmse) ? INFINITY : nmse;
    }
    return worst;
}

double kl_of_logits(const double *p, const double *q, size_t n)
{
    double pmax = -INFINITY, qmax = -INFINITY, ps = 0, qs = 0, kl = 0;
    for (size_t i = 0; i < n; i++) {
        pmax = fmax(pmax, p[i]);
        qmax = fmax(qmax, q[i]);
    }
    for (size_t i = 0; i < n; i++) {
        ps += exp(p[i] - pmax);
        qs += exp(q[i] - qmax);
    }
    double shift = (qmax + log(qs)) - (pmax + log(ps));
    for (size_t i = 0; i < n; i++) kl += exp(p[i] - pmax) / ps * (p[i] - q[i] + shift);
    return kl > 0 ? kl : 0;
}
