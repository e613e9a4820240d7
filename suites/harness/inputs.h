/* Inputs of the cases: the battery of shapes that show faults. All values are f32 numbers. */
#ifndef INPUTS_H
#define INPUTS_H

#include "harness/harness.h"
#include "harness/random.h"

enum input_kind {
    INPUT_gauss,       /* normal, variance 1 */
    INPUT_same_sign,   /* |normal|: sums grow, low-precision accumulation stagnates */
    INPUT_outlier,     /* normal with one value per row 1000 times as large */
    INPUT_one_hot,     /* a single 1 per row: a product spells out one weight column */
    INPUT_ramp,        /* index-coded: i + 1000 row, scaled to stay exact */
    INPUT_alternating, /* |normal| with signs that alternate: sums cancel */
    INPUT_large,       /* normal * 2500: beyond binary16 when summed */
    INPUT_small,       /* normal * 1e-4: an epsilon shows */
    INPUT_zero,        /* zeros of both signs */
    INPUT_masked,      /* normal with half of each row -inf */
    INPUT_huge,        /* +-1e4 */
    INPUT_deep,     /* all about -6e4, half of each row -inf: below any finite stand-in for -inf */
    INPUT_equal,    /* one value per row */
    INPUT_rms_1e_3, /* normal * 1e-3: an epsilon of 1e-5 or 1e-6 matters as much as the values */
    INPUT_rms_1e3,  /* normal * 1000 */
    INPUT_nothing,  /* first row all -inf, second one finite value, rest equal values */
    INPUT_ties,     /* few distinct values: the largest occurs several times */
    INPUT_offset,   /* 300 + normal: a mean far above the variance */
    INPUT_wide,     /* -100 .. 100, dense near 0 */
    INPUT_all_f16,  /* every finite f16 value, in order of its bits */
};

void input_fill(enum input_kind kind, struct rng *r, float *x, size_t rows, size_t cols);

/* What the blocks of a weight matrix are like. */
enum weight_kind {
    WEIGHTS_encoded,   /* normal values, by the reference's encoder */
    WEIGHTS_bits,      /* random bits, finite scales of both signs: also what no encoder emits */
    WEIGHTS_subnormal, /* the same with subnormal scales */
    WEIGHTS_zero,      /* encoded zeros, and random codes with a scale of 0, between others */
    WEIGHTS_negative,  /* random bits, negative scales and mins */
};

/* A matrix of the type: blocks drawn from a pool, so that any size is cheap to make for every
 * type. n_in a multiple of the type's block. NULL if out of memory. */
uint8_t *input_weights(struct test *t, struct rng *r, enum tensor_type type, enum weight_kind kind,
                       size_t n_out, size_t n_in);

#endif
