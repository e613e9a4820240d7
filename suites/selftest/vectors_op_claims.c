/* What the reference claims of its operations, and the suite opvec holds it to; see vectors_op.h
 * for the arguments. No engine is judged by these bounds: the tolerances for engines are in
 * bounds.c. */
#include "selftest/vectors_op.h"
#include "judge/bounds.h"

#include <math.h>

static const double U64 = 0x1p-53; /* unit roundoff of binary64 */

/* The reference computes in binary64, and the suite opvec holds it to the bounds below. u =
 * 2^-53, so that k u |y| is at most k units in the last place of y. Every claim follows from
 * counting roundings: the basic operations and sqrt make one each (u); exp, pow, sin and cos of
 * the C library err by less than 1 ulp (2 u), tanh by less than 2, erfc by 5 (glibc manual,
 * "Known Maximum Errors in Math Functions"); the golden number itself is rounded (u). A sum of n
 * terms in eight lanes makes n / 8 + 8 roundings.
 *
 * Results below 2^-1000 are zero in binary32 and carry no claim. */
double claim_floor(void)
{
    return 0x1p-1000;
}

/* (n / 16 + 12) u |y|: the root halves the error of the sum, (n / 8 + 8) / 2; eight more for the
 * rest. */
double claim_rms_norm(size_t n, double y)
{
    return ((double)n / 16 + 12) * U64 * y;
}

/* (n + 12) u M, with M as ref_layer_norm gives it. */
double claim_layer_norm(size_t n, double mag)
{
    return ((double)n + 12) * U64 * mag;
}

/* x / (1 + exp(-x)), 1 / (1 + exp(-x)): exp 2, sum, division, golden number and one to spare. */
double claim_silu(double x)
{
    (void)x;
    return 6;
}

/* tanh form, as x / (1 + exp(-2 q)), q = sqrt(2 / pi) (x + 0.044715 x^3): seven roundings of the
 * argument of exp, of which the share of exp in the denominator counts. */
double claim_gelu(double x)
{
    const double q = 0.7978845608028654 * (x + 0.044715 * x * x * x);
    return 6 + 7 * fabs(2 * q) / (1 + exp(2 * q));
}

/* x erfc(-x / sqrt(2)) / 2: erfc 10, two products, the golden number; two roundings of the
 * argument of erfc, which for x < 0 is like exp(-x^2 / 2). */
double claim_gelu_erf(double x)
{
    return 13 + 2 * (x < 0 ? x * x + 1 : 1);
}

/* cap tanh(x / cap): tanh 4, division, product, golden number and one to spare. */
double claim_softcap(double x)
{
    (void)x;
    return 8;
}

/* As silu with 1.702 x, clamped to 7: the argument of exp has two roundings; clamp, up + 1 and
 * the product. */
double claim_swiglu_oai(double x)
{
    const double z = 1.702 * fmin(x, 7);
    return 9 + 2 * fabs(z) / (1 + exp(z));
}

double claim_flat(double units, bool gated, double y)
{
    return (units + (gated ? 1 : 0)) * U64 * fabs(y);
}

/* (n + 7 + gap) u y: exp turns the rounding of x - max, u gap, into a relative error. */
double claim_softmax(size_t n, double gap, double y)
{
    return y == 0 ? 0 : ((double)n + 7 + gap) * U64 * y;
}

double claim_gate_sigmoid(void)
{
    return claim_silu(0);
}

double claim_gate_softmax(size_t n, double top, double x)
{
    return (double)n + 6 + top - x;
}

/* Normalised: the sum is off by no more than its worst term and n additions, then one division;
 * one rounding by the factor. */
double claim_route(double units, double worst, size_t n_used, double weight)
{
    return (units + (n_used ? worst + (double)n_used + 1 : 0) + 1) * U64 * fabs(weight);
}

/* theta (turn ln(base) + 8) u m: pow with its exponent, and the products that make the angle;
 * twice the unscaled theta with YaRN, which mixes two angles. */
double claim_angle(double theta, double turn, double base, double yarn, double m)
{
    return yarn * theta * (turn * log(base) + 8) * U64 * m;
}

/* cos or sin 2, product with m, golden number. */
double claim_table(double angle, double m)
{
    return angle + 4 * U64 * m;
}

/* The engine makes its table in binary64 and rounds it once. */
double claim_table_f32(double angle, double m, double want)
{
    return claim_table(angle, m) + bound_rounded(want);
}

/* Beside the table's, two products and a sum. */
double claim_rope(double angle, double m, double pair)
{
    return pair * (angle + 7 * U64 * m);
}

/* (d / 8 + 11) u M, a sum in eight lanes, with the scale; a cap adds its own 8 u |score|. */
double claim_score(size_t head_dim, double mag, bool capped, double score)
{
    const double own = ((double)head_dim / 8 + 11) * U64 * mag;
    return capped && mag != 0 ? own + 8 * U64 * fabs(score) : own;
}

/* 2 E + (max - s) u: E changes numerator and denominator; the rounding of s - max. */
double claim_gap(double worst, double gap)
{
    return 2 * worst + gap * U64;
}

/* (n + 7) u beside it: the softmax's. */
double claim_weight(double gap_cost, size_t n, double weight)
{
    return (gap_cost + ((double)n + 7) * U64) * weight;
}

/* (2 n + 9) u M beside the worst cell's: the softmax, and a sum of n products. */
double claim_attention(double gap_cost, size_t n, double mag)
{
    return (gap_cost + (2 * (double)n + 9) * U64) * mag;
}
