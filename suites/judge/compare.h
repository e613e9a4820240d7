/* Judging results: the only place where an error is compared with a bound. */
#ifndef COMPARE_H
#define COMPARE_H

#include "reports/case.h"
#include "spec/spec.h"

/* What the indices of a result stand for, for the sentence about bad ones. */
struct axes {
    const char *row, *col; /* "token", "dimension"; a plural takes an s */
    size_t unit;           /* columns that belong together: a head, a block; 0 = none */
    const char *unit_name; /* "head" */
};

/* An output that still holds this was never written: rig.c fills outputs with it. It is a quiet
 * NaN that nobody computes. */
static const uint32_t COMPARE_POISON = 0x7fc0dead;

/* got (rows, cols) against the reference's want; mag: its magnitudes (unused by EXACT and ULP);
 * n: length of the reduction behind each element. Three verdicts: every element within its bound;
 * the errors of every row, as NMSE with the reference's energy, within the row's limit; and which
 * indices are bad. Fills r: error, bound, used, bad, first_bad, nmse_worst_row, pattern, and status
 * pass, marginal or fail (never improves a status that is already worse). */
struct comparison {
    enum tol_class cls;
    const float *got;
    const double *want, *mag;
    size_t rows, cols, n;
    const struct axes *axes; /* NULL: nothing is known */
};
void compare(struct case_result *r, const struct comparison *c);

/* Bit equality of binary32 values: -0 differs from +0, any NaN equals any NaN. */
void compare_bits(struct case_result *r, const float *got, const float *want, size_t rows,
                  size_t cols);
void compare_bits_on(struct case_result *r, const float *got, const float *want, size_t rows,
                     size_t cols, const struct axes *axes);
/* Byte equality. */
void compare_bytes(struct case_result *r, const void *got, const void *want, size_t n);

/* Per-element bounds given by the caller (propagated ones): |got - want| <= bound. */
void compare_within(struct case_result *r, const float *got, const double *want,
                    const double *bound, size_t rows, size_t cols);
void compare_within_on(struct case_result *r, const float *got, const double *want,
                       const double *bound, size_t rows, size_t cols, const struct axes *axes);

/* Hard and marginal bound of one element of a class; n and mag as above, want = the reference. */
double bound_hard(enum tol_class cls, double want, double mag, size_t n);
double bound_marginal(enum tol_class cls, double want, double mag, size_t n);

/* Worst row of sum (got-want)^2 / sum want^2; rows of zeros count only if got is not zero. */
double nmse_worst_row(const float *got, const double *want, size_t rows, size_t cols);

/* KL(softmax(p) || softmax(q)) in nats, computed in double. */
double kl_of_logits(const double *p, const double *q, size_t n);

/* Describes bad indices (flags (rows, cols)) as a sentence; axes may be NULL. */
void describe_axes(const uint8_t *flags, size_t rows, size_t cols, const struct axes *axes,
                   char *out, size_t cap);
void describe_pattern(const uint8_t *flags, size_t rows, size_t cols, char *out, size_t cap);

#endif
