/* Comparing results with the reference's; see compare.h. The bounds are in bounds.c. */
#include "judge/compare.h"
#include "judge/bounds.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The error of one element: 0 if both are equal (infinities and NaN included), infinite if one of
 * them is not finite and the other is not the same. */
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

/* The three verdicts of one comparison, as far as its elements have been seen. */
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

/* Compares the errors of the row that has just ended, as NMSE, with the limit that their bounds
 * give (bound_row). The denominator is the energy of the reference's row. A row of zeros has no
 * energy; its limit is that of zeros. */
static void tally_row(struct tally *t)
{
    const double limit = bound_row(t->bounds, t->fourths);
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

bool compare_error(struct case_result *r, double error, double bound)
{
    const double used = error == 0 ? 0 : error / bound;
    if (!(used <= r->used)) {
        r->used = isnan(used) ? INFINITY : used;
        r->error = error;
        r->bound = bound;
    }
    return error <= bound;
}

static void tally_element(struct tally *t, double err, double bound, double want)
{
    if (!compare_error(t->r, err, bound)) {
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

/* Counts a value over its bound that was never written, or is not finite. */
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
    else if (bound_is_marginal(r->used))
        worsen(r, CASE_MARGINAL);
    free(t->flags);
}

void compare(struct case_result *r, const struct comparison *c)
{
    struct tally t = tally_start(r, c->rows, c->cols);
    t.axes = c->axes;
    for (size_t i = 0; i < c->rows * c->cols; i++) {
        double want = c->want[i], err = element_error(c->got[i], want);
        size_t before = t.bad;
        if (c->cls == TOL_EXACT) err = element_error(c->got[i], (float)want);
        const double mag = c->mag ? c->mag[i] : 0;
        tally_element(&t, err, bound_class(c->cls, want, mag, c->n, r->flushes), want);
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
        tally_element(&t, same ? 0 : err > 0 ? err : bound_of_bits(), 0, want[i]);
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
