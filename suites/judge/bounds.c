/* Every tolerance of the project, with its reason; see bounds.h for the arguments.
 *
 * The sources of the constants:
 *
 *   Higham 2002     N. J. Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed., ch. 3. A
 *                   sum of n products, each rounded, in any order, is off by at most gamma_n M,
 *                   gamma_n = n u / (1 - n u), M = sum |a_k b_k|.
 *   Higham & Mary   N. J. Higham, T. Mary, A new approach to probabilistic rounding error analysis,
 *                   SIAM J. Sci. Comput. 41 (2019). Where roundings are independent with mean zero,
 *                   n becomes lambda sqrt(n), with a probability of failure of at most 2
 *                   exp(-lambda^2 / 2) for each rounding.
 *   OpenCL          The OpenCL C specification, relative error as ulps: exp 3, tanh 5, division
 *                   2.5. It is what functions of a device are held to.
 *   format          What a binary format gives: its unit roundoff, its smallest number.
 *   measured        A figure seen on real data; the comment gives it.
 *   chosen          A factor without a derivation; the comment says what it is to cover.
 *
 * No constant depends on the engine that is judged. */
#include "judge/bounds.h"
#include "reference/ref.h"

#include <float.h>
#include <math.h>

/* ---- constants of formats and of the analysis ------------------------------------------------ */

/* Unit roundoff: half the distance from 1 to the next number. A rounding to nearest is off by at
 * most u |y|. */
static const double U32 = 0x1p-24; /* binary32 */
static const double U16 = 0x1p-11; /* binary16 */

/* What one rounding may cost near zero: the smallest subnormal of binary32, or, on a device that
 * may flush subnormals, the smallest normal number. */
static const double SUBNORMAL = 0x1p-149, FLUSHED = 0x1p-126;

/* lambda of Higham & Mary: the probability that a rounding breaks the bound is below 2 exp(-32)
 * = 3e-14. */
static const double LAMBDA = 8;

/* A rounding to nearest: half of an ulp. Format. */
double bound_rounded(double x)
{
    return U32 * fabs(x);
}

/* ---- verdicts -------------------------------------------------------------------------------- */

/* Half of the bound. Chosen: rounding errors lie far below their bounds, so a case that uses
 * half of one deserves a look. It is a remark, not a failure. */
bool bound_is_marginal(double used)
{
    return !(used <= 0.5);
}

/* The errors of a row, all together, may use a quarter of their bounds as rms: that is two
 * standard deviations where the bound is eight of them (lambda). So a fault that moves every
 * element by a little is found although none is over its own bound. Of few elements one may lie
 * near its bound: with fewer than 16 of them, the share is a half. Elements count by how much of
 * the bound they carry, (sum b^2)^2 / sum b^4: a softmax over 66 cells with one large weight is
 * a row of one (measured: 1.12 of the limit without this, 0.28 with it). */
double bound_row(double squares, double fourths)
{
    const double share = squares * squares < 16 * fourths ? 0.5 : 0.25;
    return share * share * squares;
}

/* The smallest error there is, so that it is not 0. Format. */
double bound_of_bits(void)
{
    return SUBNORMAL;
}

/* ---- classes of tolerance -------------------------------------------------------------------- */

/* Terms that are all zero have an exact sum. */
static bool is_exact(enum tol_class cls, double mag)
{
    return cls == TOL_EXACT || (mag == 0 && (cls == TOL_DOT || cls == TOL_REDUCE));
}

/* The bound is the smaller of two: the certain one for short sums, the probable one for long
 * sums, where n u would leave orders of magnitude in which a defect could hide. M is mag; each
 * rounding costs u M and, near zero, the smallest number t of the device.
 *
 *   EXACT   0. Nothing is rounded, or once: then want is rounded likewise before it is compared.
 *   DOT     min((n + 2) (u M + t), 8 sqrt(n) (u M + t)). The first is gamma_n to first order
 *           (Higham 2002) with two more roundings, by a factor and a bias; the second is Higham &
 *           Mary's with lambda = 8. Measured: sums in binary32, term after term, are off by 1.2e-7
 *           M for n = 256 and 3e-8 M for n = 14336, which is 1/60 and 1/1900 of it.
 *   REDUCE  min((n + 8) (u M + t), (sqrt(n) / 2 + 8) (u M + t)). Reductions of terms of one sign
 *           (squares in a norm, exp in a softmax) round relative to partial sums, sqrt(n) u / 3 as
 *           rms; a root halves that, so sqrt(n) / 2 is three standard deviations of a norm. Eight
 *           roundings are for the rest: exp or 1 / sqrt at 2 to 3 ulp, 1 / n, epsilon, and products
 *           with weights.
 *   ULP8    8 ulp of want, or 8 t below the smallest normal number, plus M. An exp, a division and
 *           up to three products and sums make 3 + 2.5 + 1.5 ulp (OpenCL) and leave one. An
 *           infinity or a NaN has no ulp and no bound: the result is the same or wrong. */
static double certain(enum tol_class cls, double want, double mag, size_t n, double tiny)
{
    if (is_exact(cls, mag)) return 0;
    switch (cls) {
    case TOL_EXACT:
        return 0;
    case TOL_DOT:
        return ((double)n + 2) * (U32 * mag + tiny);
    case TOL_REDUCE:
        return ((double)n + 8) * (U32 * mag + tiny);
    case TOL_ULP8: {
        if (!isfinite(want)) return 0;
        const double ulp = fabs(want) < (double)FLT_MIN ? tiny : ldexp(1, ilogb(want) - 23);
        return 8 * ulp + mag;
    }
    }
    return 0;
}

double bound_class(enum tol_class cls, double want, double mag, size_t n, bool flushes)
{
    const double tiny = flushes ? FLUSHED : SUBNORMAL, root = sqrt((double)n);
    const double sure = certain(cls, want, mag, n, tiny);
    if (is_exact(cls, mag)) return 0;
    if (cls == TOL_DOT) return fmin(sure, LAMBDA * root * (U32 * mag + tiny));
    if (cls == TOL_REDUCE) return fmin(sure, (root / 2 + 8) * (U32 * mag + tiny));
    return sure;
}

/* ---- ULP8: functions of one value ------------------------------------------------------------ */

/* x / (1 + exp(-x)): exp(-x) overflows below x = -88.7, where the result is below 89 times
 * FLT_MIN. A device may return 0 there, or what is left of a number that it flushed: 8 FLT_MIN
 * for each unit of x. Format. */
double bound_exp_floor(double x, double gain)
{
    return 8 * (double)FLT_MIN * (1 + fabs(x * gain));
}

/* x (1 + tanh(...)) / 2 and x (1 + erf(...)) / 2: the sum cancels for negative x, and a rounding
 * of it costs u |x| whatever the result is. tanh may err by 5 ulp (OpenCL), which near 1 are 5
 * u, and 2.5 u |x| after the half; the sum and the roundings of the argument fill that up to 4 u
 * |x|. erf is held to the same. */
double bound_tanh_floor(double x, double gain)
{
    return 4 * U32 * fabs(x * gain);
}

/* 1 / (1 + exp(-x)): where exp(-x) overflows the result is below FLT_MIN. Format. */
double bound_sigmoid_floor(double x, double gain)
{
    (void)x, (void)gain;
    return 8 * (double)FLT_MIN;
}

/* cap tanh(x / cap) with tanh z = (1 - e) / (1 + e), e = exp(-2 |z|), cancels near 0, where e is
 * about 1: 3 ulp of e are 1.5 u (numbers just below 1 lie u apart, and e enters by half of its
 * error). Rounded up to 2 u. */
double bound_cap_floor(double x, double cap)
{
    (void)x;
    return 2 * U32 * cap;
}

/* g sigmoid(1.702 g) (up + 1), g = min(x, 7): the product 1.702 g is rounded, and so is the
 * constant 1.702. exp makes of these two roundings a relative error of twice its argument times
 * u, which counts by the share that exp has in 1 + exp, 1 - sigmoid. Beside it the floor of exp. */
double bound_swiglu_oai_floor(double x, double up)
{
    const double g = fmin(x, 7), share = 1 - ref_sigmoid(1.702 * g);
    return 2 * U32 * fabs(1.702 * g * ref_clamped_swiglu(x, up)) * share +
           bound_exp_floor(g, up + 1);
}

/* ---- softmax and attention ------------------------------------------------------------------- */

/* y = exp(x - max) / sum: exp makes a relative error of the absolute error of its argument. x -
 * max is rounded once and the argument of exp2 once more, 2 gap u together. REDUCE allows at
 * least 8 u times the magnitude, so a magnitude of y (1 + gap / 4) has room for it. Results that
 * underflow may be anything up to FLT_MIN = 2^-102 u. */
double bound_softmax_magnitude(double y, double gap)
{
    return (y == 0 ? 0 : y * (1 + gap / 4)) + 0x1p-102;
}

/* The bound of the product q k as DOT; a cap z = cap tanh(s / cap) flattens it by its derivative
 * 1 - (z / cap)^2 and adds its own error, that of the operation softcap (ULP8). Scores of -inf
 * are hidden cells, and exact. */
double bound_score(double score, double cap, double mag, size_t n)
{
    const double own = bound_class(TOL_DOT, 0, mag, n, false);
    if (isinf(score)) return 0;
    if (cap == 0) return own;
    return (1 - score / cap * (score / cap)) * own +
           bound_class(TOL_ULP8, score, bound_cap_floor(score, cap), 1, false);
}

/* A weight is exp(s - max) / sum. An error E of the scores changes numerator and denominator by
 * a factor of exp(E) each, so the weight by 2 E, relative. REDUCE allows at least 8 u times the
 * magnitude, so a factor of 1 + E / (4 u) on the magnitude has room for it. E is the worst of
 * the row. A sink is a score without a cell: its roundings count as 2 |sink| u. */
double bound_attention_gain(const double *score_bounds, size_t n, double sink)
{
    double worst = 2 * fabs(sink);
    for (size_t i = 0; i < n; i++) worst = fmax(worst, score_bounds[i] / U32);
    return 1 + worst / 4;
}

/* ---- choosing experts ------------------------------------------------------------------------ */

/* 8 ulp, as the operation sigmoid (ULP8): an ulp is at most 2 u |y|. */
double bound_gate_sigmoid(void)
{
    return 16 * U32;
}

/* The bound of the operation softmax (REDUCE), relative. */
double bound_gate_softmax(double gap, size_t n)
{
    return U32 * (1 + gap / 4) * (sqrt((double)n) / 2 + 8);
}

/* Adding a bias is one more rounding. */
double bound_selection(double noise, double selection, double bias)
{
    return bias != 0 ? noise + U32 * fabs(selection) : noise;
}

/* Both groups add up two values: four times the noise; and one rounding of each sum, u |score|
 * each. */
double bound_group_score(double noise, double score)
{
    return 4 * noise + 2 * U32 * fabs(score);
}

/* exp makes a relative error of u |logit|; a factor of 64 is far above what two weights can be
 * off by. Chosen: it decides which inputs a case avoids, not what passes. */
double bound_weight_order(double logit, double weight)
{
    return 64 * U32 * (1 + fabs(logit)) * fabs(weight);
}

/* Four times the bounds. Chosen: inputs of a case are drawn again until no rounding can exchange
 * two experts, so that the ids can be compared exactly. */
bool bound_clear(double a, double b, double noise)
{
    return a == b || fabs(a - b) > 4 * noise;
}

/* The sum is off by no more than its worst term, n_used - 1 additions, and the least divisor
 * that may be added; the division rounds once more: n_used + 2 roundings with one to spare. */
double bound_normalised(double own, double worst, size_t n_used)
{
    return own + (worst + (double)(n_used + 2) * U32);
}

/* Two roundings by the factor on all weights; FLT_MIN for weights that a device flushes. */
double bound_route_weight(double relative, double weight)
{
    return (relative + 2 * U32) * fabs(weight) + FLUSHED;
}

/* ---- engines from outside -------------------------------------------------------------------- */

/* Times the room for roundings. Two passes that round, and part where a value lies at a border,
 * differ by sqrt(2) times as much as each from the exact one; and errors that values have in
 * common (that of an attention weight, in all that it brings) add up, while the room is carried
 * in squares. Measured: llama.cpp was 2.05 times the room away from the exact values of
 * primer-4m in Q4_K_M; sqrt(2) * 2.05 = 2.9. */
static const double APART = 3;

/* Times the bounds of operations in binary32: an engine from outside has other approximations of
 * exp and other tables of angles than OpenCL's limits assume. Chosen. Measured, with all factors
 * of this section: sample logs of llama.cpp use 14 % (Q4_K_M) and 32 % (F16) of the whole. */
static const double OUTSIDE = 4;

/* Sums in binary16 are simulated one term after the other; an engine sums in many lanes and
 * loses less. `moved` is what the simulation moved the values of a site, LANES is by how much
 * less the engine loses (chosen), ALLOWED how many standard deviations it may be off (lambda =
 * 6: 2 exp(-18) = 3e-8 for a value). A value whose own bound is above the average of its site
 * (shape) is allowed more. */
static const double LANES = 4, ALLOWED = 6;

double bound_foreign_value(double dev, double exact_dev, double moved, double shape)
{
    const double lost = moved / LANES;
    double bound = APART * dev + (OUTSIDE - 1) * exact_dev;
    if (lost > 0) bound += ALLOWED * lost * fmax(1, shape);
    return bound;
}

/* The product's propagated bound; twice, since q is rounded once more than the reference has it. */
double bound_hidden_score(double scale, double var)
{
    return 2 * scale * sqrt(var);
}

/* The reference's local bound is at the reference's values. Where the engine's own values are
 * larger, the bound of Higham & Mary at those values counts. */
double bound_foreign_op(double local, size_t n, double mag)
{
    return OUTSIDE * fmax(local, LAMBDA * sqrt((double)n) * U32 * mag);
}

/* An angle pos * frequency in binary32 is off by u of itself, pos u at most, for the frequency,
 * the product and the reduction by multiples of pi each; eight of them (lambda). At position
 * 32768, pos u is 2e-3. */
double bound_foreign_angle(size_t pos, double top)
{
    return LAMBDA * U32 * (double)(pos + 1) * top;
}

/* Q8_1 stores the sum of a block as binary16, with a relative error of u = 2^-11, and multiplies
 * it with the offset of the block of weights, which is at most twice the largest of the weights. */
double bound_q8_1_sum(double top, double sum)
{
    return 2 * top * fabs(sum) * U16;
}

/* One part in a million, 16 u: where a recording has no bounds. Chosen: it ranks elements by
 * whether they are worth looking at and fails nothing. */
double bound_unknown(double value)
{
    return 1e-6 * fabs(value);
}

/* ---- printed logs ---------------------------------------------------------------------------- */

/* The log prints values with four decimals, so that they are off by at most 0.5e-4; the rest is
 * for values at a tie. The last digit of a sum, which has six decimals, is worth 1e-6. */
static const double PRINTED = 0.51e-4, PRINTED_SUM = 1e-6;

double bound_printed(void)
{
    return PRINTED;
}

/* A shown value passes through binary32 and, for scores, through a division by their scale: 16 u
 * have room for that. 1e-9 keeps the bound of a padding cell, which is 0, from being missed by a
 * rounding. Chosen. */
double bound_log_value(double want, double dev)
{
    return 0x1p-20 * fabs(want) + dev + 1e-9;
}

/* Each value is off by its last digit, the sum by its own, and n additions in binary32 by n u
 * mag (Higham 2002). */
double bound_log_sum_shown(size_t n, double mag)
{
    return PRINTED * (double)n + PRINTED_SUM + U32 * (double)n * mag;
}

/* The engine added the values in binary32, one after the other: n u mag, which is 1e-3 mag for
 * 16,777 values. Chosen for tensors of any size. Their own errors add up in squares; four
 * standard deviations. */
double bound_log_sum_all(double squares, double mag)
{
    return sqrt(squares) * 4 + 1e-3 * mag + PRINTED;
}

/* ---- two recordings without a model ---------------------------------------------------------- */

/* The user's own number; nothing is derived. */
double bound_share(double share, double rms)
{
    return share * rms;
}

/* 1e-3 of the rms. Chosen: it is what --tolerance replaces. */
double bound_share_default(void)
{
    return 1e-3;
}

/* Both sides have four decimals: twice 0.5e-4, and a tenth for ties. */
double bound_log_share(double share, double rms)
{
    return bound_share(share, rms) + 1.1e-4;
}

/* ---- whole models and encoders --------------------------------------------------------------- */

/* Measured: evaluations in binary32 of models of one or two layers lie within an NMSE of 1e-10
 * of the one in double precision. The limit is ten times that. */
double bound_golden(void)
{
    return 1e-9;
}

/* Measured: `distance`, how far llama.cpp's logits with its own rounding of activations to 8
 * bits are from its logits in binary32; the manifest of the golden files has it for each. The
 * reference is exact, so its distance from the former is this one, up to a tenth. */
double bound_golden_native(double distance)
{
    return 1.1 * distance + bound_golden();
}

/* Chosen: 10 %. The two search for scales in different ways, and neither is better on all data. */
double bound_encoder(double theirs)
{
    return 1.10 * theirs;
}

/* ---- statistics of the self-tests ------------------------------------------------------------ */

/* A binomial count has the standard deviation sqrt(n p (1 - p)). Six of them are exceeded by
 * chance once in 5e8 cases, and the seed is fixed. */
double bound_count(double n, double p)
{
    return 6 * sqrt(n * p * (1 - p));
}

/* lambda = 6 for the roundings of activations, whose errors have the variance d^2 / 12 of a step
 * d (Hoeffding: 2 exp(-18) = 3e-8 for a value). reference/forward_rounded.c derives them. */
double bound_rounding_deviations(void)
{
    return 6;
}
