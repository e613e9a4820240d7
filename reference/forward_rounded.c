/* What an engine loses that rounds the inputs of its products, as llama.cpp's CPU backend does.
 *
 * The pass goes on with exact values; the rounding of x counts as an error of its own, independent
 * from value to value, of mean zero and of a known size:
 *     F16, BF16     uniform within u |x| (u = 2^-11, 2^-8): variance (u x)^2 / 3
 *     Q8_0, Q8_1    uniform within half a step d = max |x| / 127 of a block of 32: d^2 / 12. d is stored
 *                   as binary16: all values of the block are off by the same part of themselves, up to
 *                   2^-11. In a sum over the block these errors add up, to no more than sqrt(32) times
 *                   what they would be in squares (Cauchy-Schwarz): 32 (2^-11 x)^2 / 3
 *     Q8_K          d^2 / 12 with the d of a block of 256, stored as binary32
 * Whether a tie goes up or down and whether 127 or 128 steps are taken makes no difference here.
 * Six standard deviations: Hoeffding's inequality (uniform variables are sub-gaussian) leaves a sum of
 * such errors beyond them with a probability of 3e-8. As with the other bounds, squares are carried. */
#include "forward_priv.h"

#include <math.h>

static const double SIGMAS = 6;

static double block_noise(enum tensor_type t, double x, double top)
{
    const double step = top / 127, stored = t == TYPE_Q8_K ? 0 : 32 * 0x1p-22 * x * x / 3;
    return step * step / 12 + stored;
}

static void add_noise(enum tensor_type t, const double *x, size_t n, double *var)
{
    const double unit = t == TYPE_F16 ? 0x1p-11 : 0x1p-8, all = SIGMAS * SIGMAS;
    const size_t size = type_by_id(t)->block_elems;
    if (t == TYPE_F16 || t == TYPE_BF16) {
        for (size_t i = 0; i < n; i++) var[i] += all * unit * unit * x[i] * x[i] / 3;
        return;
    }
    for (size_t at = 0; at < n; at += size) {
        const size_t end = n - at < size ? n : at + size;
        double top = 0;
        for (size_t i = at; i < end; i++) top = fmax(top, fabs(x[i]));
        for (size_t i = at; i < end; i++) var[i] += all * block_noise(t, x[i], top);
    }
}

static enum tensor_type rounded_to(const struct ref_pass *p, enum tensor_type other)
{
    const enum tensor_type how = p->f->activations;
    return how == TYPE_ID_END ? type_by_id(other)->act : how;
}

void ref_pass_round(const struct ref_pass *p, enum tensor_type other, const double *x, size_t rows,
                    size_t n, double *var)
{
    const enum tensor_type t = p->f->activations == TYPE_F32 ? TYPE_F32 : rounded_to(p, other);
    const bool rounds =
        t == TYPE_F16 || t == TYPE_BF16 || t == TYPE_Q8_0 || t == TYPE_Q8_1 || t == TYPE_Q8_K;
    for (size_t i = 0; rounds && i < rows; i++) add_noise(t, x + i * n, n, var + i * n);
}

const double *ref_pass_rounded(const struct ref_pass *p, enum tensor_type other,
                               const struct ref_vals *in)
{
    const size_t n = p->rows * in->cols;
    if (!p->track || p->f->activations == TYPE_F32) return in->var;
    for (size_t i = 0; i < n; i++) p->rounded[i] = in->var[i];
    ref_pass_round(p, other, in->x, p->rows, in->cols, p->rounded);
    return p->rounded;
}
