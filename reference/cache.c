/* Rows of a KV cache as they are stored: the rounding of each type, in binary32, every operation
 * rounded to nearest even. Blocks are those of reference/spec/tensor-types.md, "Simple blocks of
 * 32"; id is 1/d, or 0 where d is 0 or 1/d not finite. The scale that is stored is d rounded to
 * binary16; codes go by d itself. */
#include "reference/cache.h"
#include "reference/codebook.h"
#include "reference/encode_priv.h"

#include <math.h>
#include <string.h>

enum { BLOCK = REF_CACHE_BLOCK };

static float reciprocal(float d)
{
    const float id = d != 0 ? 1 / d : 0;
    return isfinite(id) ? id : 0;
}

/* The value of largest magnitude, with its sign; the first of equals. */
static float extreme(const float *x)
{
    float most = x[0];
    for (size_t i = 1; i < BLOCK; i++)
        if (fabsf(x[i]) > fabsf(most)) most = x[i];
    return most;
}

struct ref_cache_fit ref_cache_fit(enum tensor_type t, const float *x)
{
    float lo = x[0], hi = x[0], m = extreme(x);
    for (size_t i = 1; i < BLOCK; i++) {
        lo = x[i] < lo ? x[i] : lo;
        hi = x[i] > hi ? x[i] : hi;
    }
    struct ref_cache_fit f = {.d = 0, .base = 0};
    if (t == TYPE_Q8_0) f.d = fabsf(m) / 127;
    if (t == TYPE_Q4_0) f.d = m / -8;
    if (t == TYPE_IQ4_NL) f.d = m / -127;
    if (t == TYPE_Q5_1) {
        f.d = (hi - lo) / 31;
        f.base = lo;
    }
    f.id = reciprocal(f.d);
    return f;
}

/* y cut towards 0, at most `most`; what is no number counts as that. */
static int cut(float y, int most)
{
    return y < (float)most + 1 ? (int)y : most;
}

static int nearest_level(float y)
{
    int best = 0;
    for (int i = 1; i < 16; i++)
        if (fabsf(y - (float)ref_levels_iq4nl[i]) < fabsf(y - (float)ref_levels_iq4nl[best]))
            best = i;
    return best;
}

static int code_of(enum tensor_type t, const struct ref_cache_fit *f, float x)
{
    const float y = (x - f->base) * f->id;
    if (t == TYPE_Q8_0) return cut(roundf(y), 127);
    if (t == TYPE_Q4_0) return cut(y + 8.5f, 15);
    if (t == TYPE_Q5_1) return cut(y + 0.5f, 31);
    return nearest_level(y);
}

static void put_block(enum tensor_type t, const float *x, uint8_t *out)
{
    const struct ref_cache_fit f = ref_cache_fit(t, x);
    int q[BLOCK];
    uint32_t high = 0;
    for (size_t i = 0; i < BLOCK; i++) {
        q[i] = code_of(t, &f, x[i]);
        high |= (uint32_t)(q[i] >> 4 & 1) << i;
    }
    enc_put16(out, ref_f32_to_f16(f.d));
    uint8_t *codes = out + 2;
    if (t == TYPE_Q5_1) {
        enc_put16(out + 2, ref_f32_to_f16(f.base));
        enc_put32(out + 4, high);
        codes = out + 8;
    }
    for (size_t i = 0; t == TYPE_Q8_0 && i < BLOCK; i++) codes[i] = (uint8_t)q[i];
    for (size_t i = 0; t != TYPE_Q8_0 && i < BLOCK / 2; i++)
        codes[i] = (uint8_t)((q[i] & 15) | (q[i + BLOCK / 2] & 15) << 4);
}

bool ref_cache_type(enum tensor_type t)
{
    return t == TYPE_F32 || t == TYPE_F16 || t == TYPE_BF16 || t == TYPE_Q8_0 || t == TYPE_Q4_0 ||
           t == TYPE_Q5_1 || t == TYPE_IQ4_NL;
}

bool ref_cache_encode(enum tensor_type t, const float *x, size_t n, uint8_t *out)
{
    if (!ref_cache_type(t)) return false;
    const struct type_spec *spec = type_by_id(t);
    for (size_t i = 0; i < n; i += spec->block_elems, out += spec->block_bytes) {
        uint32_t bits;
        memcpy(&bits, x + i, sizeof bits);
        if (t == TYPE_F32)
            enc_put32(out, bits);
        else if (t == TYPE_F16)
            enc_put16(out, ref_f32_to_f16(x[i]));
        else if (t == TYPE_BF16)
            enc_put16(out, ref_f32_to_bf16(x[i]));
        else
            put_block(t, x + i, out);
    }
    return true;
}
