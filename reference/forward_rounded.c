/* Engines that round the inputs of their products, as llama.cpp's CPU backend does.
 *
 * The pass rounds too. An engine is near that, but where a value lies at the border of two steps,
 * its own rounding errors decide which is taken; and a value that has moved by a step moves others
 * over their borders. So each rounding counts as an error all the same, independent from value to
 * value, of mean zero and of a known size:
 *     F16, BF16     uniform within u |x| (u = 2^-11, 2^-8): variance (u x)^2 / 3
 *     Q8_0, Q8_1    uniform within half a step d = max |x| / 127 of a block of 32: d^2 / 12. d is
 *                   stored as binary16: all values of the block are off by the same part of
 *                   themselves, up to 2^-11. In a sum over the block these errors add up, to no
 *                   more than sqrt(32) times what they would be in squares (Cauchy-Schwarz):
 *                   32 (2^-11 x)^2 / 3
 *     Q8_K          d^2 / 12 with the d of a block of 256, stored as binary32
 * Whether a tie goes up or down and whether 127 or 128 steps are taken makes no difference here.
 * Bounds are six standard deviations: Hoeffding's inequality (uniform variables are sub-gaussian)
 * leaves a sum of such errors beyond them with a probability of 3e-8. As with the other bounds,
 * squares are carried. */
#include "reference/forward_priv.h"
#include "reference/ops_priv.h"

#include <math.h>

static const double SIGMAS = 6;

/* ---- rounding ------------------------------------------------------------------------------- */

/* Blocks as llama.cpp's CPU backend makes them of activations: reference/spec/tensor-types.md,
 * "Q8_0" and "Q8_K". */
static void round_q8_0(double *x, size_t n)
{
    float top = 0;
    for (size_t i = 0; i < n; i++) top = fmaxf(top, fabsf((float)x[i]));
    const float d = top / 127.0f, inverse = d != 0 ? 1.0f / d : 0;
    const float stored = ref_f16_to_f32(ref_f32_to_f16(d));
    for (size_t i = 0; i < n; i++) x[i] = (double)(roundf((float)x[i] * inverse) * stored);
}

static void round_q8_k(double *x, size_t n)
{
    float top = 0;
    for (size_t i = 0; i < n; i++)
        if (fabsf((float)x[i]) > fabsf(top)) top = (float)x[i];
    if (top == 0) return;
    const float scale = -127.0f / top, d = 1.0f / scale;
    for (size_t i = 0; i < n; i++) x[i] = (double)(fminf(127.0f, rintf(scale * (float)x[i])) * d);
}

static void round_plain(enum tensor_type t, double *x, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const float v = (float)x[i];
        if (t == TYPE_F16)
            x[i] = (double)ref_f16_to_f32(ref_f32_to_f16(v));
        else if (t == TYPE_BF16)
            x[i] = (double)ref_bf16_to_f32(ref_f32_to_bf16(v));
        else
            x[i] = (double)v;
    }
}

void ref_round_activations(enum tensor_type t, double *x, size_t rows, size_t n)
{
    const size_t size = type_by_id(t)->block_elems;
    if (size == 1 || n % size != 0) {
        round_plain(t, x, rows * n);
        return;
    }
    for (size_t i = 0; i < rows * n; i += size)
        (t == TYPE_Q8_K ? round_q8_k : round_q8_0)(x + i, size);
}

void ref_round_borders(enum tensor_type t, const double *x, size_t rows, size_t n, double *step)
{
    const size_t size = type_by_id(t)->block_elems;
    const double near = 127 * 8 * REF_U; /* of a step: four roundings of up to 127 of them, twice */
    for (size_t i = 0; i < rows * n; i++) step[i] = 0;
    if (size == 1 || n % size != 0) return;
    for (size_t at = 0; at < rows * n; at += size) {
        double top = 0;
        for (size_t i = at; i < at + size; i++) top = fmax(top, fabs(x[i]));
        for (size_t i = at; i < at + size && top > 0; i++) {
            const double z = fabs(x[i]) / top * 127;
            if (fabs(z - floor(z) - 0.5) <= near) step[i] = top / 127 * (1 + 0x1p-11);
        }
    }
}

/* ---- what it may cost ------------------------------------------------------------------------ */

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

/* What x is rounded to in a product with something of type `other`; TYPE_F32: to nothing less. */
static enum tensor_type rounded_to(const struct ref_pass *p, enum tensor_type other)
{
    const enum tensor_type how = p->f->activations,
                           t = how == TYPE_ID_END ? type_by_id(other)->act : how;
    const bool rounds =
        t == TYPE_F16 || t == TYPE_BF16 || t == TYPE_Q8_0 || t == TYPE_Q8_1 || t == TYPE_Q8_K;
    return rounds ? t : TYPE_F32;
}

void ref_pass_noise(const struct ref_pass *p, enum tensor_type other, const double *x, size_t rows,
                    size_t n, double *var)
{
    const enum tensor_type t = rounded_to(p, other);
    for (size_t i = 0; t != TYPE_F32 && i < rows; i++) add_noise(t, x + i * n, n, var + i * n);
}

struct ref_vals ref_pass_entering(const struct ref_pass *p, enum tensor_type other,
                                  const struct ref_vals *in)
{
    const size_t n = p->rows * in->cols;
    const enum tensor_type t = rounded_to(p, other);
    if (!p->track || t == TYPE_F32) return *in;
    for (size_t i = 0; i < n; i++) {
        p->entering[i] = in->x[i];
        p->noise[i] = in->var[i];
    }
    ref_pass_noise(p, other, in->x, p->rows, in->cols, p->noise);
    ref_round_activations(t, p->entering, p->rows, in->cols);
    return (struct ref_vals){p->entering, p->noise, in->cols};
}
