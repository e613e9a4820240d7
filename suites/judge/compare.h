/* Comparing results with the reference's: the place where the error of a result meets its bound.
 * What the bounds are is in bounds.c. Three comparisons that are not of results and the
 * reference are elsewhere: which top token is a tie (logits.c), whether a printed sum agrees with
 * the values of its log (foreign_log.c, callback_log.c), and whether two logs agree without a
 * model (command/compare.c). */
#ifndef COMPARE_H
#define COMPARE_H

#include "reports/case.h"
#include "spec/spec.h"

/* Names for the indices of a result, for the sentence about bad elements. */
struct axes {
    const char *row, *col; /* what a row and a column is: "token", "dimension"; plurals take an s */
    size_t unit;           /* columns that belong together, as in a head or a block; 0: none do */
    const char *unit_name; /* what these columns are: "head"; NULL if unit is 0 */
};

/* The bits that rig.c fills outputs with: an element that still holds them was never written. They
 * are a quiet NaN that no computation makes. */
static const uint32_t COMPARE_POISON = 0x7fc0dead;

/* A result and what it should be, for compare. The arrays are (rows, cols) and belong to the
 * caller. */
struct comparison {
    enum tol_class cls; /* which bound each element has: bound_class */
    const float *got;   /* the result */
    const double *want; /* the reference's values */
    const double *mag;  /* their magnitudes, as bound_class takes them; NULL: zeros */
    size_t rows, cols;
    size_t n;                /* terms summed per element */
    const struct axes *axes; /* NULL: rows and columns have no other names */
};

/* Gives three verdicts on a result: whether each element is within its bound, whether the errors
 * of each row are within the row's limit (bound_row), and which indices are bad. Fills in error,
 * bound, used, bad, total, first_bad, nmse_worst_row and pattern of r. Sets r->status to pass,
 * marginal or fail, but never improves a status that is already worse. A NaN where the reference
 * has none fails. */
void compare(struct case_result *r, const struct comparison *c);

/* The same with bounds that the caller has computed, bound[i] >= 0 for each element. */
void compare_within(struct case_result *r, const float *got, const double *want,
                    const double *bound, size_t rows, size_t cols);
void compare_within_on(struct case_result *r, const float *got, const double *want,
                       const double *bound, size_t rows, size_t cols, const struct axes *axes);

/* The same for equality of bits. -0 differs from +0; any NaN equals any other NaN. */
void compare_bits(struct case_result *r, const float *got, const float *want, size_t rows,
                  size_t cols);
void compare_bits_on(struct case_result *r, const float *got, const float *want, size_t rows,
                     size_t cols, const struct axes *axes);
/* The same for n equal bytes. */
void compare_bytes(struct case_result *r, const void *got, const void *want, size_t n);

/* Compares a single error, such as an NMSE, with its bound. Returns whether it is within; a NaN is
 * not. Keeps in r the error, bound and used of the error that used most of its bound so far; leaves
 * the status to the caller. */
bool compare_error(struct case_result *r, double error, double bound);

/* The largest NMSE of a row: sum (got - want)^2 / sum want^2. A row of zeros counts only if got is
 * not zero there. */
double nmse_worst_row(const float *got, const double *want, size_t rows, size_t cols);

/* The Kullback-Leibler divergence KL(softmax(p) || softmax(q)) of two rows of n logits, in nats. */
double kl_of_logits(const double *p, const double *q, size_t n);

/* Writes a sentence about which elements are bad into out, which has room for cap bytes
 * (pattern.c). flags (rows, cols): not 0 where an element is bad. The sentence is empty if none
 * is. */
void describe_axes(const uint8_t *flags, size_t rows, size_t cols, const struct axes *axes,
                   char *out, size_t cap);
void describe_pattern(const uint8_t *flags, size_t rows, size_t cols, char *out, size_t cap);

#endif
