/* What a KV cache gives back of K and V, and how far an engine's may be from it.
 *
 * The engine rounds x + e, |e| <= dev, where the reference rounds x. If every such value has the
 * same rounding, the cache holds the same number on both sides and no error at all is left. Where
 * one has another, the two differ by e and a step at most. Steps that only some engines take are
 * few and not like a normal variable, so that several at once must fit too: four steps each, added
 * in squares. Roundings of a block's scale or base move all its values together: in a sum over the
 * block the errors add up instead of cancelling, up to sqrt(32) times as much. Eight covers
 * that. */
#include "reference/cache.h"
#include "reference/codebook.h"
#include "reference/forward_priv.h"
#include "reference/ops_priv.h"

#include <math.h>

static const double AT_ONCE = 4, TOGETHER = 8;

static float stored16(enum tensor_type t, float x)
{
    return t == TYPE_F16 ? ref_f16_to_f32(ref_f32_to_f16(x)) : ref_bf16_to_f32(ref_f32_to_bf16(x));
}

/* Rounded to binary16 or bfloat16: the distance of the roundings of x + dev and x - dev is what
 * may lie between. */
static void value16(enum tensor_type t, double *x, double *var)
{
    const double value = *x, kept = (double)stored16(t, (float)value);
    *x = kept;
    if (!var) return;
    const double dev = sqrt(*var);
    const double low = (double)stored16(t, (float)(value - dev));
    const double high = (double)stored16(t, (float)(value + dev));
    const double apart = AT_ONCE * fmax(kept - low, high - kept);
    *var = apart == 0 ? 0 : *var + apart * apart;
}

/* ---- blocks -------------------------------------------------------------------------------- */

/* The interval that a number of the engine's may be in. */
struct range {
    double low, high;
};

/* How far apart its two ends are once they are binary16 numbers. */
static double apart16(struct range r)
{
    return (double)stored16(TYPE_F16, (float)r.high) - (double)stored16(TYPE_F16, (float)r.low);
}

/* Of the largest of +x (sign 1) or -x (sign -1). */
static struct range largest(const double *x, const double *dev, double sign)
{
    struct range r = {-INFINITY, -INFINITY};
    for (size_t i = 0; i < REF_CACHE_BLOCK; i++) {
        r.low = fmax(r.low, sign * x[i] - dev[i]);
        r.high = fmax(r.high, sign * x[i] + dev[i]);
    }
    return r;
}

/* What may be between the engine's block and the reference's. */
struct doubt {
    struct range scale, base; /* of |d| and of base */
    bool sign;                /* whether it is +m or -m that is largest */
};

static struct doubt doubt_of(enum tensor_type t, const double *x, const double *dev)
{
    const struct range top = largest(x, dev, 1), bottom = largest(x, dev, -1);
    const double steps = t == TYPE_Q4_0 ? 8 : 127;
    struct doubt b = {.base = {0, 0}, .sign = false};
    if (t == TYPE_Q5_1) {
        b.base = (struct range){-bottom.high, -bottom.low};
        b.scale = (struct range){(top.low + bottom.low) / 31, (top.high + bottom.high) / 31};
        return b;
    }
    b.scale = (struct range){fmax(0, fmax(top.low, bottom.low) / steps),
                             fmax(top.high, bottom.high) / steps};
    b.sign = t != TYPE_Q8_0 && top.high >= bottom.low && bottom.high >= top.low;
    return b;
}

/* How far y is from where the next code begins, and the width of the step there, in units of d. */
static double to_tie(enum tensor_type t, double y, double *step)
{
    double nearest = INFINITY;
    *step = 1;
    if (t != TYPE_IQ4_NL) return 0.5 - fabs(y - nearbyint(y));
    for (size_t i = 0; i + 1 < 16; i++) {
        const double a = ref_levels_iq4nl[i], b = ref_levels_iq4nl[i + 1];
        const double far = fabs(y - (a + b) / 2);
        if (far < nearest) nearest = far, *step = b - a;
    }
    return nearest;
}

/* Widest difference of two roundings of the same value, one with d of the other sign: half a step
 * each, and what the shorter end of the codes does not reach. */
static double widest_step(enum tensor_type t)
{
    return t == TYPE_IQ4_NL ? 26 : 2;
}

/* kept: the values as the cache gives them back. */
static void block_var(enum tensor_type t, const struct ref_cache_fit *f, const double *x,
                      const float *kept, double *var)
{
    double dev[REF_CACHE_BLOCK];
    for (size_t i = 0; i < REF_CACHE_BLOCK; i++) dev[i] = sqrt(var[i]) + REF_U * fabs(x[i]);
    const struct doubt b = doubt_of(t, x, dev);
    const double d = fabs((double)f->d), id = fabs((double)f->id);
    const double scale = TOGETHER * apart16(b.scale), base = TOGETHER * apart16(b.base);
    const double slack = b.scale.high > 0 ? (b.scale.high - b.scale.low) / b.scale.high : 0;
    for (size_t i = 0; i < REF_CACHE_BLOCK; i++) {
        double step;
        const double y = (x[i] - (double)f->base) * (double)f->id;
        const double moves =
            (dev[i] + b.base.high - b.base.low) * id + fabs(y) * (slack + 4 * REF_U) + 16 * REF_U;
        const bool may = !(moves < to_tie(t, y, &step)) || b.sign;
        const double width = AT_ONCE * d * (b.sign ? widest_step(t) : step);
        const double level = d > 0 ? fabs((double)kept[i] - (double)f->base) / d : 0;
        var[i] = (may ? var[i] + width * width : 0) + level * level * scale * scale + base * base;
    }
}

static void block(enum tensor_type t, double *x, double *var)
{
    float values[REF_CACHE_BLOCK], kept[REF_CACHE_BLOCK];
    uint8_t bytes[REF_CACHE_BLOCK * sizeof(float)];
    for (size_t i = 0; i < REF_CACHE_BLOCK; i++) values[i] = (float)x[i];
    const struct ref_cache_fit f = ref_cache_fit(t, values);
    ref_cache_encode(t, values, REF_CACHE_BLOCK, bytes);
    ref_decode(t, bytes, REF_CACHE_BLOCK, kept);
    if (var) block_var(t, &f, x, kept, var);
    for (size_t i = 0; i < REF_CACHE_BLOCK; i++) x[i] = (double)kept[i];
}

/* local has no part of it: from the same K and V both sides cache the same. */
void ref_pass_cache(struct ref_pass *p, enum tensor_type type, struct ref_vals *v)
{
    if (type == TYPE_F32) return;
    const bool single = type == TYPE_F16 || type == TYPE_BF16;
    const size_t n = p->rows * v->cols;
    for (size_t i = 0; i < n; i += single ? 1 : REF_CACHE_BLOCK) {
        double *var = p->track ? v->var + i : NULL;
        if (single)
            value16(type, v->x + i, var);
        else
            block(type, v->x + i, var);
    }
}
