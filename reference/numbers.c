/* The two 16-bit float formats, by integer bits: no result depends on a processor mode. */
#include "reference/ref.h"

#include <string.h>

static float f32_of_bits(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static uint32_t bits_of_f32(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

/* binary16   |s|eeeee|mmmmmmmmmm|      e = 0: m * 2^-24; e = 31: infinity or NaN;
 *             15    10         0       otherwise (1 + m/1024) * 2^(e-15)
 * binary32   |s|eeeeeeee|mmmmmmmmmmmmmmmmmmmmmmm|, exponent bias 127 = 15 + 112 */
float ref_f16_to_f32(uint16_t h)
{
    uint32_t sign = (uint32_t)(h & 0x8000) << 16;
    uint32_t e = (h >> 10) & 31, m = h & 1023;
    if (e == 0) {
        float x = (float)m * 0x1p-24f;
        return f32_of_bits(bits_of_f32(x) | sign);
    }
    uint32_t e32 = e == 31 ? 255 : e + 112;
    return f32_of_bits(sign | e32 << 23 | m << 13);
}

float ref_bf16_to_f32(uint16_t b)
{
    return f32_of_bits((uint32_t)b << 16);
}

/* x / 2^shift, rounded to nearest, ties to even; 1 <= shift <= 31. */
static uint32_t shift_right_rounded(uint32_t x, uint32_t shift)
{
    uint32_t half = (uint32_t)1 << (shift - 1), odd = (x >> shift) & 1;
    return (x + (half - 1) + odd) >> shift;
}

uint16_t ref_f32_to_f16(float x)
{
    uint32_t bits = bits_of_f32(x);
    uint32_t sign = (bits >> 16) & 0x8000, a = bits & 0x7fffffff;
    uint32_t h;
    if (a > 0x7f800000) { /* NaN stays NaN: quiet bit set, upper payload kept */
        h = 0x7e00 | ((a >> 13) & 0x3ff);
    } else if (a >= 0x477ff000) { /* 65520, half way past the largest finite value, 65504 */
        h = 0x7c00;
    } else if (a >= 0x38800000) { /* 2^-14: normal in both; a carry moves into the exponent */
        h = shift_right_rounded(a - ((uint32_t)112 << 23), 13);
    } else if (a >= 0x33000000) { /* 2^-25: a multiple of 2^-24 is nearest */
        h = shift_right_rounded((a & 0x7fffff) | 0x800000, 126 - (a >> 23));
    } else {
        h = 0;
    }
    return (uint16_t)(sign | h);
}

uint16_t ref_f32_to_bf16(float x)
{
    uint32_t bits = bits_of_f32(x);
    if ((bits & 0x7fffffff) > 0x7f800000) return (uint16_t)(bits >> 16 | 64);
    return (uint16_t)((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}
